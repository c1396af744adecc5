// Package fault asks errors and panics what they know: type, text, what lies
// beneath, and the stack they bring along. Whatever their own methods do, it
// does not panic, and it looks at a bounded part of a chain, which can branch,
// and return to itself.
//
// It is a leaf, for the log and for the spans, which say the same of an error.
package fault

import (
	"fmt"
	"reflect"
	"strings"
)

const (
	// budget bounds the errors looked at in one chain.
	budget = 32

	// maxDepth bounds how far causes are nested.
	maxDepth = 8
)

// plainWrapper is the type that fmt.Errorf makes of one %w: its text is all
// that it adds.
const plainWrapper = "*fmt.wrapError"

// onlyText reports whether an error's type says nothing of it.
func onlyText(kind string) bool {
	return kind == plainWrapper || kind == "*fmt.wrapErrors" || kind == "*errors.joinError"
}

// Kind is the type of err beneath the wrappers that say nothing of it.
func Kind(err error) string {
	kind := TypeOf(err)
	for range budget {
		if kind != plainWrapper {
			break
		}
		next := Unwrap(err)
		if len(next) == 0 || next[0] == nil {
			break
		}
		err = next[0]
		kind = TypeOf(err)
	}
	return kind
}

// TypeOf is the type of v.
func TypeOf(v any) string {
	if v == nil {
		return "<nil>"
	}
	return reflect.TypeOf(v).String()
}

// Unwrap returns what err wraps, one step down.
func Unwrap(err error) (next []error) {
	defer func() {
		if recover() != nil {
			next = nil
		}
	}()
	switch x := err.(type) { //nolint:errorlint // it takes one step of what errors.As would walk
	case interface{ Unwrap() error }:
		if e := x.Unwrap(); e != nil {
			return []error{e}
		}
	case interface{ Unwrap() []error }:
		return x.Unwrap()
	}
	return nil
}

// A Cause is an error in another's chain.
type Cause struct {
	Text, Kind string
	Depth      int // from 0, for what the error itself wraps
}

// Causes returns what err's chain holds beneath it, depth first, each with the
// text that text makes of it. One that is only text, which its parent's has
// too, is passed over.
func Causes(err error, text func(error) string) []Cause {
	w := walk{text: text, left: budget}
	w.down(err, text(err), 0)
	return w.found
}

type walk struct {
	text  func(error) string
	found []Cause
	left  int
}

func (w *walk) down(err error, text string, depth int) {
	if depth == maxDepth {
		return
	}
	for _, c := range Unwrap(err) {
		if c == nil || w.left == 0 {
			continue
		}
		w.left--
		t, kind, below := w.text(c), TypeOf(c), depth
		if !onlyText(kind) || !strings.Contains(text, t) {
			w.found = append(w.found, Cause{t, kind, depth})
			below++
		}
		w.down(c, t, below)
	}
}

// Text prints an error, or the value of a panic.
func Text(v any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = PanicText(v, p)
		}
	}()
	if err, ok := v.(error); ok {
		return err.Error()
	}
	return Printed(v)
}

// PanicText is what stands in place of v, a method of which panicked with p.
func PanicText(v, p any) string {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return "<nil>"
	}
	return "!PANIC: " + Printed(p)
}

// Printed prints the value of a panic. A composite value is only named: fmt
// would follow its cycles. So is one whose own methods panic in turn.
func Printed(p any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("%T", p)
		}
	}()
	switch x := p.(type) {
	case error:
		return x.Error()
	case fmt.Stringer:
		return x.String()
	}
	switch reflect.ValueOf(p).Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Func, reflect.Chan:
		return fmt.Sprintf("%T", p)
	}
	return fmt.Sprint(p)
}
