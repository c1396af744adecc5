package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/fault"
)

// Errors that bring their stack along: as github.com/pkg/errors has it, and by
// Callers.
type (
	pkgFrame uintptr
	pkgStack []pkgFrame
	pkgError struct {
		error
		pcs []uintptr
	}
	callersError struct {
		error
		pcs []uintptr
	}
	panickingStack struct{ error }
	otherStack     struct{ error }
)

func (e *pkgError) StackTrace() (s pkgStack) {
	for _, pc := range e.pcs {
		s = append(s, pkgFrame(pc))
	}
	return s
}
func (e *pkgError) Format(f fmt.State, _ rune)       { io.WriteString(f, e.Error()) } //nolint:errcheck // fmt's own
func (e *pkgError) Unwrap() error                    { return e.error }
func (e *callersError) Callers() []uintptr           { return e.pcs }
func (panickingStack) StackTrace() pkgStack          { panic("no stack") }
func (panickingStack) Format(f fmt.State, _ rune)    { io.WriteString(f, "e") } //nolint:errcheck // fmt's own
func (otherStack) StackTrace(all bool) (string, int) { return "text", 1 }
func (otherStack) Format(f fmt.State, _ rune)        { io.WriteString(f, "e") } //nolint:errcheck // fmt's own

//go:noinline
func faultPCs() []uintptr {
	pcs := make([]uintptr, 8)
	return pcs[:runtime.Callers(1, pcs)]
}

// TestCauses: the chain beneath an error, as JSON has it and as lines of text.
func TestCauses(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a"), errors.New("b")
	loop := &quietError{text: "loop"}
	loop.cause = loop
	wide := a
	for range 40 {
		wide = twice{wide}
	}
	const plain = "*errors.errorString"
	cause := func(text, kind string, depth int) fault.Cause {
		return fault.Cause{Text: text, Kind: kind, Depth: depth}
	}
	for _, tt := range []struct {
		name string
		err  error
		want []fault.Cause
	}{
		{"no cause", a, nil},
		{"a plain wrapper", fmt.Errorf("load: %w", a), []fault.Cause{cause("a", plain, 0)}},
		{"plain wrappers", fmt.Errorf("x: %w", fmt.Errorf("load: %w", syscall.ENOENT)), []fault.Cause{cause("no such file or directory", "syscall.Errno", 0)}},
		{"a wrapper that is not quoted", &quietError{"cannot save", fmt.Errorf("write: %w", a)},
			[]fault.Cause{cause("write: a", "*fmt.wrapError", 0), cause("a", plain, 1)}},
		{"joined", errors.Join(a, nil, b), []fault.Cause{cause("a", plain, 0), cause("b", plain, 0)}},
		{"joined within", fmt.Errorf("save: %w", errors.Join(a, b)), []fault.Cause{cause("a", plain, 0), cause("b", plain, 0)}},
		{"two of fmt's", fmt.Errorf("%w and %w", a, b), []fault.Cause{cause("a", plain, 0), cause("b", plain, 0)}},
		{"a tree", errors.Join(&quietError{"x", a}, b), []fault.Cause{cause("x", "*logging.quietError", 0), cause("a", plain, 1), cause("b", plain, 0)}},
		{"unwraps to nothing", nilUnwrap{}, nil},
		{"panics", &quietError{"x", panicError{}}, []fault.Cause{cause("!PANIC: Error blew up", "logging.panicError", 0)}},
		{"a typed nil", &quietError{"x", (*pointerError)(nil)}, []fault.Cause{cause("<nil>", "*logging.pointerError", 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := new(line).causes(tt.err); !cmp.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			var want []any
			var lines string
			for _, c := range tt.want {
				want = append(want, map[string]any{"kind": c.Kind, "message": c.Text})
				lines += strings.Repeat("  ", c.Depth+2) + "↳ " + c.Text + "  " + c.Kind + "\n"
			}
			var buf bytes.Buffer
			slog.New(NewHandler(&buf, nil)).Error("m", "err", tt.err)
			if got, _ := decode(t, buf.Bytes())["error.causes"].([]any); !cmp.Equal(got, want) {
				t.Errorf("error.causes: got %v, want %v", got, want)
			}
			for _, bound := range []bool{false, true} {
				buf.Reset()
				l := slog.New(NewTextHandler(&buf, nil))
				if bound {
					l.With("err", tt.err).Warn("m")
				} else {
					l.Warn("m", "err", tt.err)
				}
				if _, got, _ := strings.Cut(buf.String(), "\n"); got != lines {
					t.Errorf("got\n%swant\n%s", got, lines)
				}
				buf.Reset()
				l.Info("m", "err", tt.err)
				if strings.Count(buf.String(), "\n") != 1 {
					t.Errorf("at INFO: %s", &buf)
				}
			}
		})
	}
	for _, endless := range []error{loop, wide} {
		if n := len(new(line).causes(endless)); n == 0 || n > errorBudget {
			t.Errorf("%v: %d causes", endless, n)
		}
	}
}

// TestErrorURL: net/http's errors quote the request's URL.
func TestErrorURL(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"https://bucket.example/o?X-Amz-Signature=hunter2&part=1",
		"https://u:hunter2@a.example/",
		"https://a.example/\"q\"?token=hunter2",
	} {
		err := fmt.Errorf("fetch: %w", errors.Join(errors.New("first"), &url.Error{Op: "Get", URL: raw, Err: io.ErrUnexpectedEOF}))
		for _, newHandler := range []func(io.Writer, *Options) slog.Handler{NewHandler, NewTextHandler} {
			var buf bytes.Buffer
			slog.New(newHandler(&buf, nil)).Error("m", "err", err)
			if out := buf.String(); strings.Contains(out, "hunter2") || !strings.Contains(out, "REDACTED") || !strings.Contains(out, "unexpected EOF") {
				t.Errorf("%s: %s", raw, out)
			}
		}
	}
	if got, want := new(line).errorText(&url.Error{Op: "Get", URL: "https://a.example/?q=1", Err: io.EOF}), `Get "https://a.example/?q=1": EOF`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestErrorStack: the stack of an error goes before that of the call.
func TestErrorStack(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		err  error
		own  bool
	}{
		{"pkg/errors", &pkgError{boom, faultPCs()}, true},
		{"wrapped", fmt.Errorf("load: %w", &pkgError{boom, faultPCs()}), true},
		{"Callers", &callersError{boom, faultPCs()}, true},
		{"the innermost", &pkgError{&callersError{boom, faultPCs()}, []uintptr{1}}, true},
		{"none", boom, false},
		{"empty", &callersError{boom, nil}, false},
		{"panics", panickingStack{boom}, false},
		{"another method of that name", otherStack{boom}, false},
		{"typed nil", (*pkgError)(nil), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			slog.New(NewHandler(&buf, nil)).Error("m", "err", tt.err)
			stack, _ := decode(t, buf.Bytes())["stack_trace"].(string)
			_, frames, _ := strings.Cut(stack, "[running]:\n")
			if own := strings.HasPrefix(frames, "github.com/kumihimo/kumihimo/obs/logging.faultPCs("); own != tt.own || !crash.MatchString(stack) {
				t.Errorf("got\n%s", stack)
			}
		})
	}
}

// FuzzErrors: whatever texts a chain has, the line is one, and valid.
func FuzzErrors(f *testing.F) {
	f.Add("load", "a\nb", "https://u:p@h/?token=x", uint8(5))
	f.Add("", "", "\xff\x1b[2J", uint8(255))
	f.Fuzz(func(t *testing.T, a, b, u string, shape uint8) {
		var err error = &url.Error{Op: a, URL: u, Err: errors.New(b)}
		for ; shape > 0; shape >>= 1 {
			switch shape & 3 {
			case 0:
				err = fmt.Errorf("%s: %w", a, err)
			case 1:
				err = errors.Join(err, errors.New(b))
			case 2:
				err = &quietError{b, err}
			default:
				err = fmt.Errorf("%w%s%w", err, b, io.EOF)
			}
		}
		var buf bytes.Buffer
		if err := NewHandler(&buf, nil).Handle(context.Background(), record(slog.LevelError, a, slog.Any("err", err))); err != nil {
			t.Fatal(err)
		}
		m := decode(t, buf.Bytes())
		if want := strings.ToValidUTF8(m["error.message"].(string), "\ufffd"); m["err"] != want {
			t.Errorf("err %q, error.message %q", m["err"], want)
		}
		if causes, err := json.Marshal(m["error.causes"]); err != nil || !bytes.Contains(causes, []byte("*url.Error")) && m["error.kind"] != "*url.Error" {
			t.Errorf("causes %s, kind %v", causes, m["error.kind"])
		}
		buf.Reset()
		if err := NewTextHandler(&buf, nil).Handle(context.Background(), record(slog.LevelError, a, slog.Any("err", err))); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
		for _, l := range lines[1:] {
			if !strings.HasPrefix(strings.TrimLeft(l, " "), "↳ ") || strings.ContainsRune(l, 0x1b) {
				t.Errorf("text: %q", l)
			}
		}
	})
}
