package logging

import (
	"fmt"
	"log/slog"
	"reflect"
)

// maxResolve bounds LogValuers that return LogValuers, as slog does.
const maxResolve = 100

// The functions of this file run methods of the values that are logged: these
// may panic, and a nil pointer's usually do.

// resolve returns what the LogValuer v stands for.
func resolve(v slog.Value) (rv slog.Value) {
	orig := v
	defer func() {
		if p := recover(); p != nil {
			rv = slog.StringValue(panicText(orig.Any(), p))
		}
	}()
	for range maxResolve {
		if v.Kind() != slog.KindLogValuer {
			return v
		}
		v = v.LogValuer().LogValue()
	}
	return slog.StringValue(fmt.Sprintf("!ERROR: LogValue of %T returns ever more LogValuers", orig.Any()))
}

func errorText(err error) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = panicText(err, p)
		}
	}()
	return err.Error()
}

func stringText(v fmt.Stringer) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = panicText(v, p)
		}
	}()
	return v.String()
}

// marshal calls f, which encodes v.
func marshal(v any, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &marshalPanic{panicText(v, p)}
		}
	}()
	return f()
}

type marshalPanic struct{ text string }

func (e *marshalPanic) Error() string { return e.text }

// failureText is what stands in place of a value that could not be encoded.
func failureText(err error) string {
	if p, ok := err.(*marshalPanic); ok { //nolint:errorlint // made by marshal and never wrapped; a foreign Unwrap might panic
		return p.text
	}
	return "!ERROR: " + errorText(err)
}

func unwrap(err error) (next []error) {
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

// panicText is what stands in place of v, a method of which panicked with p.
func panicText(v, p any) string {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return "<nil>"
	}
	return "!PANIC: " + printed(p)
}

// printed prints the value of a panic. A composite value is only named: fmt
// would follow its cycles. So is one whose own methods panic in turn.
func printed(p any) (s string) {
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
