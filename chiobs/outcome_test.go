package chiobs

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
)

// TestRepanic: the panic is recorded and goes on, and nobody but the middleware
// further out answers.
func TestRepanic(t *testing.T) {
	t.Parallel()
	g := newRig()
	boom := errors.New("boom")
	var outcome Outcome
	c := Config{Provider: g, Repanic: true, OnEnd: func(_ *http.Request, o Outcome) []slog.Attr { outcome = o; return nil }}
	h := routed(c, func(http.ResponseWriter, *http.Request) { panic(boom) })
	w := local(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != any(boom) {
				t.Errorf("got %v, want the handler's own value", p)
			}
			w.WriteHeader(http.StatusTeapot)
		}()
		h.ServeHTTP(w, r)
	}), "GET", "/users/7")
	if w.Code != http.StatusTeapot || w.Body.Len() != 0 {
		t.Errorf("got %d %q, want the outer one's answer", w.Code, w.Body)
	}
	if s := g.span(t); s.Status().Code != codes.Error || len(s.Events()) != 1 {
		t.Errorf("span: got %v with %d events", s.Status(), len(s.Events()))
	}
	if got := g.access(t).http().Status; got != 500 || len(g.others()) != 1 {
		t.Errorf("log: got %d and %q", got, g.others())
	}
	if outcome.Status != 500 || outcome.Panic != any(boom) || outcome.Route != "/users/{id}" {
		t.Errorf("outcome: got %+v", outcome)
	}
}

// TestFirstByte: an answer that streams says when it began.
func TestFirstByte(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig()
		var outcome Outcome
		c := Config{Provider: g, OnEnd: func(_ *http.Request, o Outcome) []slog.Attr { outcome = o; return nil }}
		local(routed(c, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(20 * time.Millisecond)
			io.WriteString(w, "a")
			time.Sleep(30 * time.Millisecond)
			io.WriteString(w, "b")
		}), "GET", "/users/7")
		if outcome.FirstByte != 20*time.Millisecond || outcome.Duration != 50*time.Millisecond {
			t.Errorf("got %v of %v, want 20ms of 50ms", outcome.FirstByte, outcome.Duration)
		}
		if got := attrsOf(g.span(t).Attributes())[keyFirstByte]; got != "20000000" || g.access(t).value(keyFirstByte) != "20ms" {
			t.Errorf("got %q and %q", got, g.access(t).value(keyFirstByte))
		}
	})
}

type pusher struct {
	http.ResponseWriter
	pushed string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error { p.pushed = target; return nil }

func TestWriterPushes(t *testing.T) {
	t.Parallel()
	inner := &pusher{ResponseWriter: httptest.NewRecorder()}
	for _, w := range []http.ResponseWriter{inner, &responseWriter{inner: inner}} { // at once, and behind another's
		inner.pushed = ""
		if err := (&responseWriter{inner: w}).Push("/app.js", nil); err != nil || inner.pushed != "/app.js" {
			t.Errorf("got %v, pushed %q", err, inner.pushed)
		}
	}
	if err := (&responseWriter{inner: httptest.NewRecorder()}).Push("/app.js", nil); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v, want http.ErrNotSupported", err)
	}
}

// TestUpgrade: after an upgrade both sides talk over the connection itself.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	g := newRig()
	var outcome Outcome
	c := Config{Provider: g, OnEnd: func(_ *http.Request, o Outcome) []slog.Attr { outcome = o; return nil }}
	s := newServer(t, routed(c, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, err := rw.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		io.WriteString(conn, "echo "+line)
	}), false)
	s.running.Add(1)
	resp, err := s.Client().Do(s.request(t, "GET", "/users/7", "Connection", "Upgrade", "Upgrade", "websocket"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	conn, isConn := resp.Body.(io.ReadWriter)
	if resp.StatusCode != http.StatusSwitchingProtocols || !isConn {
		t.Fatalf("got %s, %T", resp.Status, resp.Body)
	}
	io.WriteString(conn, "hello\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("got %q, %v", line, err)
	}
	s.running.Wait()
	if got := g.access(t).http().Status; got != 101 || !outcome.Hijacked || outcome.Status != 101 {
		t.Errorf("got %d, %+v", got, outcome)
	}
}
