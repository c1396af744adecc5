package fault

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

type pointer struct{ text string }

func (p *pointer) Error() string { return p.text }

type panics struct{}

func (panics) Error() string { panic("no text") }
func (panics) Unwrap() error { panic("no cause") }

type worse struct{}

func (w worse) Error() string { panic(w) }

func TestText(t *testing.T) {
	t.Parallel()
	cycle := map[string]any{}
	cycle["self"] = cycle
	for want, v := range map[string]any{
		"EOF": io.EOF, "boom": "boom", "7": 7, "<nil>": (*pointer)(nil),
		"!PANIC: no text": panics{}, "!PANIC: fault.worse": worse{}, "map[string]interface {}": cycle,
	} {
		if got := Text(v); got != want {
			t.Errorf("%T: got %q, want %q", v, got, want)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	loop := &self{}
	loop.err = fmt.Errorf("%w", loop)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{io.EOF, "*errors.errorString"},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", &pointer{})), "*fault.pointer"},
		{fmt.Errorf("a: %w", panics{}), "fault.panics"},
		{errors.Join(io.EOF), "*errors.joinError"},
		{fmt.Errorf("a: %w and %w", io.EOF, io.EOF), "*fmt.wrapErrors"},
		{loop.err, "*fault.self"},
		{fmt.Errorf("%w", error(nil)), "*fmt.wrapError"},
	} {
		if got := Kind(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// self wraps itself.
type self struct{ err error }

func (*self) Error() string   { return "self" }
func (s *self) Unwrap() error { return s.err }

type keeps struct {
	error
	pcs []uintptr
}

func (k keeps) Callers() []uintptr { return k.pcs }
func (k keeps) Unwrap() error      { return k.error }

func TestCallers(t *testing.T) {
	t.Parallel()
	inner, outer := []uintptr{1}, []uintptr{2}
	if got := Callers(keeps{keeps{io.EOF, inner}, outer}); len(got) != 1 || got[0] != 1 {
		t.Errorf("got %v, want the innermost error's", got)
	}
	if got := Callers(keeps{io.EOF, outer}); len(got) != 1 || got[0] != 2 {
		t.Errorf("got %v", got)
	}
	if got := Callers(errors.Join(panics{})); got != nil {
		t.Errorf("got %v, want none", got)
	}
	if got := Callers(nil); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

//go:noinline
func culprit(n int) {
	if n > 0 {
		culprit(n - 1)
	}
	s := make([]int, n)
	s[n]++
}

func TestStack(t *testing.T) {
	t.Parallel()
	here := func() []uintptr {
		pcs := make([]uintptr, 512)
		return pcs[:runtime.Callers(0, pcs)]
	}
	panicked := func(depth int) (stack string) {
		defer func() {
			_ = recover()
			stack = string(Stack(here()))
		}()
		func() {
			defer func() { panic(recover()) }() // passes it on
			culprit(depth)
		}()
		return ""
	}
	for name, got := range map[string]string{"shallow": panicked(0), "deep": panicked(200)} {
		if !strings.HasPrefix(got, Header+"github.com/kumihimo/kumihimo/internal/fault.culprit(...)\n\t") || len(got) > MaxStack || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: got %d bytes\n%s", name, len(got), got)
		}
	}
	if got := string(Stack(here())); !strings.HasPrefix(got, Header+"github.com/kumihimo/kumihimo/internal/fault.TestStack.func1(...)\n") {
		t.Errorf("got\n%s", got)
	}
	if got := string(Stack(nil)); got != Header {
		t.Errorf("got %q", got)
	}
	if got := string(Frames(nil)); got != "" {
		t.Errorf("got %q", got)
	}
}
