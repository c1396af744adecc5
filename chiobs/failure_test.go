package chiobs

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

//go:noinline
func culprit() { panic("boom") }

//go:noinline
func passOn() {
	defer func() { panic(recover()) }()
	culprit()
}

// TestStackBeginsAtThePanic, the first if it was passed on: it is what groups
// equal failures.
func TestStackBeginsAtThePanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){"direct": culprit, "passed on": passOn} {
		g := newRig()
		r := chi.NewRouter()
		r.Use(Config{Provider: g}.Middleware)
		r.Get("/", func(http.ResponseWriter, *http.Request) { f() })
		local(r, "GET", "/")

		event := attrsOf(g.span(t).Events()[0].Attributes)["exception.stacktrace"]
		logged := g.records.all()[0].attrs["stack_trace"].String()
		if logged != "panic: boom\n\n"+event {
			t.Errorf("%s: the log's stack is not the message and the span's:\n%s\n%s", name, logged, event)
		}
		lines := strings.SplitN(event, "\n", 3)
		if !strings.HasPrefix(lines[0], "goroutine ") || !strings.HasPrefix(lines[1], scope+".culprit(") {
			t.Errorf("%s: got\n%s", name, event)
		}
	}
}

func deep(n int) {
	if n == 0 {
		panic("deep")
	}
	deep(n - 1)
}

func TestLongStackIsBounded(t *testing.T) {
	t.Parallel()
	g := newRig()
	local(Config{Provider: g}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { deep(500) })), "GET", "/")
	if got := len(g.records.all()[0].attrs["stack_trace"].String()); got != maxStack {
		t.Errorf("got %d bytes, want %d", got, maxStack)
	}
	if got := len(attrsOf(g.span(t).Events()[0].Attributes)["exception.stacktrace"]); got != maxStack {
		t.Errorf("on the span: got %d bytes, want %d", got, maxStack)
	}
}

// hostile panics when printed.
type hostile struct{}

func (hostile) Error() string { panic("no") }

// worse panics with itself, which fmt cannot print either.
type worse struct{}

func (w worse) Error() string { panic(w) }

// TestOddPanics: whatever is panicked with, the client gets its 500.
func TestOddPanics(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		value any
		kind  string
	}{
		{"hostile error", hostile{}, "chiobs.hostile"},
		{"worse", worse{}, "chiobs.worse"},
		{"nil", nil, "*runtime.PanicNilError"},
		{"uncomparable", []int{1}, "[]int"},
		{"wraps the abort", errors.Join(http.ErrAbortHandler), "*errors.joinError"},
		{"not UTF-8", "\xff", "string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			w := local(Config{Provider: g}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(tt.value) })), "GET", "/")
			if got := attrsOf(g.span(t).Attributes())["error.type"]; w.Code != 500 || got != tt.kind {
				t.Errorf("got %d, error.type %q, want 500, %q", w.Code, got, tt.kind)
			}
		})
	}
}

// brokenWriter panics where it is written to.
type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) WriteHeader(int) { panic("broken writer") }

// TestWriterThatPanics: even then the span ends and the record is written.
func TestWriterThatPanics(t *testing.T) {
	t.Parallel()
	g := newRig()
	h := Config{Provider: g}.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	func() {
		defer func() {
			if p := recover(); p != "broken writer" {
				t.Errorf("panic: got %v, want the writer's", p)
			}
		}()
		h.ServeHTTP(brokenWriter{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil))
	}()
	g.span(t)
	g.access(t)
}

// TestPanicAfterHijack: the connection is no longer the server's to answer on.
func TestPanicAfterHijack(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := chi.NewRouter()
	r.Use(Config{Provider: g}.Middleware)
	r.Get("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		panic("boom")
	})
	s := newServer(t, r, false)
	s.running.Add(1)
	conn := dial(t, s)
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
	got, err := io.ReadAll(conn)
	s.running.Wait()
	if err != nil || string(got) != "HTTP/1.1 101 Switching Protocols\r\n\r\n" {
		t.Errorf("the client read %q, %v", got, err)
	}
	if a := g.access(t); a.http().Status != 500 || a.message != "GET /ws 500" {
		t.Errorf("record: got %v", a)
	}
	if got := attrsOf(g.span(t).Attributes())["http.response.status_code"]; got != "101" {
		t.Errorf("status on the span: got %s, want 101", got)
	}
}

// TestLongMessageLeavesRoom for the stack, without which it groups nothing.
func TestLongMessageLeavesRoom(t *testing.T) {
	t.Parallel()
	g := newRig()
	long := strings.Repeat("x", 2*maxStackMessage)
	local(Config{Provider: g}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(long) })), "GET", "/")
	stack := g.records.all()[0].attrs["stack_trace"].String()
	if got := strings.Index(stack, "\n\ngoroutine "); got != maxStackMessage {
		t.Errorf("the stack begins at %d, want %d", got, maxStackMessage)
	}
}
