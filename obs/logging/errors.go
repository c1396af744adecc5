package logging

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

const (
	// errorBudget bounds the errors looked at in one chain, which can branch,
	// and return to itself.
	errorBudget = 32

	// maxCauseDepth bounds how far causes are nested.
	maxCauseDepth = 8
)

// plainWrapper is the type that fmt.Errorf makes of one %w: its text is all
// that it adds.
const plainWrapper = "*fmt.wrapError"

// onlyText reports whether an error's type says nothing of it.
func onlyText(kind string) bool {
	return kind == plainWrapper || kind == "*fmt.wrapErrors" || kind == "*errors.joinError"
}

// A cause is an error in another's chain.
type cause struct {
	text, kind string
	depth      int // from 0, for what the error itself wraps
}

// causes returns what err's chain holds beneath it, depth first. One that is
// only text, which its parent's has too, is passed over.
func (l *line) causes(err error) []cause {
	w := causeWalk{line: l, left: errorBudget}
	w.walk(err, l.errorText(err), 0)
	return w.found
}

type causeWalk struct {
	*line
	found []cause
	left  int
}

func (w *causeWalk) walk(err error, text string, depth int) {
	if depth == maxCauseDepth {
		return
	}
	for _, c := range unwrap(err) {
		if c == nil || w.left == 0 {
			continue
		}
		w.left--
		t, kind, below := w.errorText(c), reflect.TypeOf(c).String(), depth
		if !onlyText(kind) || !strings.Contains(text, t) {
			w.found = append(w.found, cause{t, kind, depth})
			below++
		}
		w.walk(c, t, below)
	}
}

// errorKind is the type of err beneath the wrappers that say nothing of it.
func errorKind(err error) string {
	kind := reflect.TypeOf(err).String()
	for range errorBudget {
		if kind != plainWrapper {
			break
		}
		next := unwrap(err)
		if len(next) == 0 || next[0] == nil {
			break
		}
		err = next[0]
		kind = reflect.TypeOf(err).String()
	}
	return kind
}

// errorText is err's text, with the URLs of its chain's url.Errors less their
// secrets: net/http puts a request's whole query there.
func (l *line) errorText(err error) string {
	text := errorText(err)
	if !strings.Contains(text, "://") {
		return text
	}
	budget := errorBudget
	l.eachURL(err, &budget, func(raw string) {
		clean := l.red.URL(raw)
		if clean == raw {
			return
		}
		text = strings.ReplaceAll(text, raw, clean)
		if quoted := strconv.Quote(raw); quoted[1:len(quoted)-1] != raw {
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], clean)
		}
	})
	return l.red.Text(text)
}

func (l *line) eachURL(err error, budget *int, f func(string)) {
	if *budget--; err == nil || *budget < 0 {
		return
	}
	if e, ok := err.(*url.Error); ok && e != nil && e.URL != "" { //nolint:errorlint // each link of the chain is looked at
		f(e.URL)
	}
	for _, c := range unwrap(err) {
		l.eachURL(c, budget, f)
	}
}

// errorChain returns err's text with what it leaves out of its chain: a cause
// that the text does not quote follows an arrow, joined errors stand on one
// line in brackets.
func (l *line) errorChain(err error) string {
	budget := errorBudget
	return l.chain(err, &budget)
}

func (l *line) chain(err error, budget *int) string {
	text := l.errorText(err)
	if *budget--; *budget <= 0 {
		return text
	}
	var texts, chains []string
	for _, c := range unwrap(err) {
		if c != nil && *budget > 0 {
			texts = append(texts, l.errorText(c))
			chains = append(chains, l.chain(c, budget))
		}
	}
	if len(texts) > 1 && text == strings.Join(texts, "\n") {
		return "[" + strings.Join(chains, "; ") + "]"
	}
	for i, t := range texts {
		switch {
		case t == "" || t == chains[i] && strings.Contains(text, t):
		case strings.Contains(text, t):
			text = strings.Replace(text, t, chains[i], 1)
		default:
			text += " ← " + chains[i]
		}
	}
	return text
}

// errorStack returns the program counters, as runtime.Callers has them, of the
// innermost error of err's chain that keeps some: it was nearest to the fault.
func errorStack(err error) (pcs []uintptr) {
	for range errorBudget {
		if s := stackOf(err); len(s) > 0 {
			pcs = s
		}
		next := unwrap(err)
		if len(next) == 0 || next[0] == nil {
			break
		}
		err = next[0]
	}
	return pcs
}

// stackOf knows the two shapes that packages of errors agree on: Callers
// []uintptr, and github.com/pkg/errors' StackTrace, a slice whose elements are
// uintptrs by another name. The types of the latter all format themselves,
// which spares other errors the reflection.
func stackOf(err error) (pcs []uintptr) {
	defer func() {
		if recover() != nil {
			pcs = nil
		}
	}()
	switch x := err.(type) { //nolint:errorlint // each link of the chain is looked at
	case interface{ Callers() []uintptr }:
		return x.Callers()
	case fmt.Formatter:
		m := reflect.ValueOf(err).MethodByName("StackTrace")
		if !m.IsValid() || m.Type().NumIn() != 0 || m.Type().NumOut() != 1 {
			return nil
		}
		frames := m.Call(nil)[0]
		if frames.Kind() != reflect.Slice || frames.Type().Elem().Kind() != reflect.Uintptr {
			return nil
		}
		for i := range frames.Len() {
			pcs = append(pcs, uintptr(frames.Index(i).Uint()))
		}
	}
	return pcs
}
