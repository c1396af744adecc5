package chiobs

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// behave registers a handler for every row of the behaviour matrix.
func behave(r chi.Router) {
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "user "+chi.URLParam(r, "id")) })
	r.Get("/missing/{id}", http.NotFound)
	r.Get("/error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	r.Get("/panic", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "7")
		panic("boom")
	})
	r.Get("/panic/error", func(http.ResponseWriter, *http.Request) { panic(os.ErrDeadlineExceeded) })
	r.Get("/panic/written", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic("boom")
	})
	r.Get("/panic/flushed", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic("boom")
	})
	r.Get("/panic/status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(1000) })
	r.Get("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	r.Get("/abort/written", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	r.Get("/goexit", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	r.Get("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
	})
	r.Get("/nothing", func(http.ResponseWriter, *http.Request) {})
	r.Get("/twice", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusAccepted)
	})
	r.Get("/copy", func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 200_000)), 100_000))
	})
	r.Get("/hijack", hijack)
	r.Get("/named", func(w http.ResponseWriter, r *http.Request) { trace.SpanFromContext(r.Context()).SetName("mine") })
	r.Head("/head", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "unsent") })
	r.Mount("/static", http.StripPrefix("/static", http.FileServerFS(fstest.MapFS{"a.txt": {Data: []byte("a")}})))
	r.With(copying).Get("/copied/{id}", func(http.ResponseWriter, *http.Request) {})
	r.Route("/api", func(r chi.Router) {
		r.Use(copying)
		r.Route("/v1", func(r chi.Router) {
			r.Get("/users/{id}", func(http.ResponseWriter, *http.Request) {})
			r.Get("/", func(http.ResponseWriter, *http.Request) {})
			r.Get("/panic/{id}", func(http.ResponseWriter, *http.Request) { panic(errors.New("boom")) })
		})
		r.Mount("/", chi.NewRouter().Group(func(r chi.Router) { r.Get("/root/{id}", func(http.ResponseWriter, *http.Request) {}) }))
	})
}

// copying is a middleware that hides the request that the router writes the
// route to.
func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.WithContext(r.Context())) })
}

func hijack(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	rw.Flush()
}

// seen is what came of a request.
type seen struct {
	Answer    answer
	Span      string // its name
	Route     string
	Status    string // http.response.status_code
	ErrorType string
	Code      codes.Code
	Exception string // type: message
	Level     slog.Level
	Message   string
	Logged    int   // httpRequest's status
	Size      int64 // httpRequest's response size
	Others    []string
}

func TestBehaviour(t *testing.T) {
	t.Parallel()
	const broken = "Internal Server Error\n"
	tests := []struct {
		name   string
		method string // GET if empty
		path   string
		want   seen
	}{
		{name: "routed", path: "/users/7", want: seen{
			Answer: answer{200, "user 7"}, Span: "GET /users/{id}", Route: "/users/{id}", Status: "200",
			Message: "GET /users/{id} 200", Logged: 200, Size: 6}},
		{name: "panic", path: "/panic", want: seen{
			Answer: answer{500, broken}, Span: "GET /panic", Route: "/panic", Status: "500",
			ErrorType: "string", Code: codes.Error, Exception: "string: boom",
			Level: slog.LevelError, Message: "GET /panic 500", Logged: 500, Size: 22, Others: []string{"ERROR panic: boom"}}},
		{name: "panic with an error", path: "/panic/error", want: seen{
			Answer: answer{500, broken}, Span: "GET /panic/error", Route: "/panic/error", Status: "500",
			ErrorType: "*poll.DeadlineExceededError", Code: codes.Error, Exception: "*poll.DeadlineExceededError: i/o timeout",
			Level: slog.LevelError, Message: "GET /panic/error 500", Logged: 500, Size: 22, Others: []string{"ERROR panic: i/o timeout"}}},
		{name: "panic after writing", path: "/panic/written", want: seen{
			Span: "GET /panic/written", Route: "/panic/written", Status: "200",
			ErrorType: "string", Code: codes.Error, Exception: "string: boom",
			Level: slog.LevelError, Message: "GET /panic/written 500", Logged: 500, Size: 4, Others: []string{"ERROR panic: boom"}}},
		{name: "panic after flushing", path: "/panic/flushed", want: seen{
			Answer: answer{200, "half" + brokenOff}, Span: "GET /panic/flushed", Route: "/panic/flushed", Status: "200",
			ErrorType: "string", Code: codes.Error, Exception: "string: boom",
			Level: slog.LevelError, Message: "GET /panic/flushed 500", Logged: 500, Size: 4, Others: []string{"ERROR panic: boom"}}},
		{name: "status out of range", path: "/panic/status", want: seen{
			Answer: answer{500, broken}, Span: "GET /panic/status", Route: "/panic/status", Status: "500",
			ErrorType: "string", Code: codes.Error, Exception: "string: invalid WriteHeader code 1000",
			Level: slog.LevelError, Message: "GET /panic/status 500", Logged: 500, Size: 22,
			Others: []string{"ERROR panic: invalid WriteHeader code 1000"}}},
		{name: "abort", path: "/abort", want: seen{
			Span: "GET /abort", Route: "/abort", Level: slog.LevelWarn, Message: "GET /abort aborted"}},
		{name: "abort after writing", path: "/abort/written", want: seen{
			Answer: answer{200, "half" + brokenOff}, Span: "GET /abort/written", Route: "/abort/written", Status: "200",
			Message: "GET /abort/written 200 aborted", Logged: 200, Size: 4}},
		{name: "goexit", path: "/goexit", want: seen{
			Span: "GET /goexit", Route: "/goexit", ErrorType: "runtime.Goexit", Code: codes.Error,
			Level: slog.LevelError, Message: "GET /goexit 500", Logged: 500}},
		{name: "103 then 201", path: "/early", want: seen{
			Answer: answer{201, ""}, Span: "GET /early", Route: "/early", Status: "201", Message: "GET /early 201", Logged: 201}},
		{name: "404", path: "/wp-login.php", want: seen{
			Answer: answer{404, "404 page not found\n"}, Span: "GET", Status: "404",
			Level: slog.LevelWarn, Message: "GET 404", Logged: 404, Size: 19}},
		{name: "404 in a mounted router", path: "/api/v1/wp-login.php", want: seen{
			Answer: answer{404, "404 page not found\n"}, Span: "GET", Status: "404",
			Level: slog.LevelWarn, Message: "GET 404", Logged: 404, Size: 19}},
		{name: "404 of a handler", path: "/missing/7", want: seen{
			Answer: answer{404, "404 page not found\n"}, Span: "GET /missing/{id}", Route: "/missing/{id}", Status: "404",
			Level: slog.LevelWarn, Message: "GET /missing/{id} 404", Logged: 404, Size: 19}},
		{name: "405", method: "POST", path: "/users/7", want: seen{
			Answer: answer{405, ""}, Span: "POST", Status: "405", Level: slog.LevelWarn, Message: "POST 405", Logged: 405}},
		{name: "405 in a mounted router", method: "POST", path: "/api/v1/users/7", want: seen{
			Answer: answer{405, ""}, Span: "POST", Status: "405", Level: slog.LevelWarn, Message: "POST 405", Logged: 405}},
		{name: "unknown method", method: "BREW", path: "/users/7", want: seen{
			Answer: answer{405, ""}, Span: "HTTP", Status: "405", Level: slog.LevelWarn, Message: "HTTP 405", Logged: 405}},
		{name: "routers in routers", path: "/api/v1/users/7", want: seen{
			Answer: answer{200, ""}, Span: "GET /api/v1/users/{id}", Route: "/api/v1/users/{id}", Status: "200",
			Message: "GET /api/v1/users/{id} 200", Logged: 200}},
		{name: "root of a router", path: "/api/v1/", want: seen{
			Answer: answer{200, ""}, Span: "GET /api/v1", Route: "/api/v1", Status: "200", Message: "GET /api/v1 200", Logged: 200}},
		{name: "router mounted at the root", path: "/api/root/7", want: seen{
			Answer: answer{200, ""}, Span: "GET /api/root/{id}", Route: "/api/root/{id}", Status: "200",
			Message: "GET /api/root/{id} 200", Logged: 200}},
		{name: "panic in a router", path: "/api/v1/panic/7", want: seen{
			Answer: answer{500, broken}, Span: "GET /api/v1/panic/{id}", Route: "/api/v1/panic/{id}", Status: "500",
			ErrorType: "*errors.errorString", Code: codes.Error, Exception: "*errors.errorString: boom",
			Level: slog.LevelError, Message: "GET /api/v1/panic/{id} 500", Logged: 500, Size: 22, Others: []string{"ERROR panic: boom"}}},
		{name: "copied request", path: "/copied/7", want: seen{
			Answer: answer{200, ""}, Span: "GET /copied/{id}", Route: "/copied/{id}", Status: "200",
			Message: "GET /copied/{id} 200", Logged: 200}},
		{name: "mounted handler", path: "/static/a.txt", want: seen{
			Answer: answer{200, "a"}, Span: "GET /static/*", Route: "/static/*", Status: "200",
			Message: "GET /static/* 200", Logged: 200, Size: 1}},
		{name: "failure without a panic", path: "/error", want: seen{
			Answer: answer{502, "no\n"}, Span: "GET /error", Route: "/error", Status: "502", ErrorType: "502", Code: codes.Error,
			Level: slog.LevelError, Message: "GET /error 502", Logged: 502, Size: 3}},
		{name: "nothing written", path: "/nothing", want: seen{
			Answer: answer{200, ""}, Span: "GET /nothing", Route: "/nothing", Status: "200", Message: "GET /nothing 200", Logged: 200}},
		{name: "two statuses", path: "/twice", want: seen{
			Answer: answer{201, ""}, Span: "GET /twice", Route: "/twice", Status: "201", Message: "GET /twice 201", Logged: 201}},
		{name: "copied body", path: "/copy", want: seen{
			Answer: answer{200, strings.Repeat("x", 100_000)}, Span: "GET /copy", Route: "/copy", Status: "200",
			Message: "GET /copy 200", Logged: 200, Size: 100_000}},
		{name: "hijacked", path: "/hijack", want: seen{
			Answer: answer{204, ""}, Span: "GET /hijack", Route: "/hijack", Status: "101", Message: "GET /hijack 101", Logged: 101}},
		{name: "span named by the handler", path: "/named", want: seen{
			Answer: answer{200, ""}, Span: "mine", Route: "/named", Status: "200", Message: "GET /named 200", Logged: 200}},
		{name: "HEAD", method: "HEAD", path: "/head", want: seen{
			Answer: answer{200, ""}, Span: "HEAD /head", Route: "/head", Status: "200", Message: "HEAD /head 200", Logged: 200}},
	}
	for _, tt := range tests {
		method := tt.method
		if method == "" {
			method = http.MethodGet
		}
		for place, serve := range places {
			t.Run(tt.name+"/"+place, func(t *testing.T) {
				t.Parallel()
				g := newRig()
				s := newServer(t, serve(Config{Provider: g}.Middleware), false)
				a := s.ask(t, s.request(t, method, tt.path))
				if diff := cmp.Diff(tt.want, g.seen(t, a)); diff != "" {
					t.Errorf("want -, got +:\n%s", diff)
				}
			})
		}
	}
}

// places are where a middleware may stand.
var places = map[string]func(func(http.Handler) http.Handler) http.Handler{
	"inside": func(mw func(http.Handler) http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(mw)
		behave(r)
		return r
	},
	"inside, before a copy": func(mw func(http.Handler) http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(mw, copying)
		behave(r)
		return r
	},
	"outside": func(mw func(http.Handler) http.Handler) http.Handler {
		r := chi.NewRouter()
		behave(r)
		return mw(r)
	},
}

func (g *rig) seen(t *testing.T, a answer) seen {
	t.Helper()
	span, access := g.span(t), g.access(t)
	attrs := attrsOf(span.Attributes())
	s := seen{
		Answer: a, Span: span.Name(), Route: attrs["http.route"], Status: attrs["http.response.status_code"],
		ErrorType: attrs["error.type"], Code: span.Status().Code,
		Level: access.level, Message: access.message, Logged: access.http().Status, Size: access.http().ResponseSize,
		Others: g.others(),
	}
	for _, e := range span.Events() {
		x := attrsOf(e.Attributes)
		s.Exception += x["exception.type"] + ": " + x["exception.message"]
		if e.Name != "exception" || !strings.Contains(x["exception.stacktrace"], "matrix_test.go") {
			t.Errorf("event %s without the place of the panic:\n%s", e.Name, x["exception.stacktrace"])
		}
	}
	if got := access.route(); got != s.Route {
		t.Errorf("http.route of the record: got %q, want the span's %q", got, s.Route)
	}
	if got, want := trace.SpanContextFromContext(access.ctx), span.SpanContext(); !got.Equal(want) {
		t.Errorf("span of the record: got %v, want %v", got, want)
	}
	if span.SpanKind() != trace.SpanKindServer {
		t.Errorf("span kind: got %v, want server", span.SpanKind())
	}
	return s
}

// TestSecondStatusWarns shows that net/http still sees, and reports, the mistake.
func TestSecondStatusWarns(t *testing.T) {
	t.Parallel()
	g := newRig()
	s := newServer(t, places["inside"](Config{Provider: g}.Middleware), false)
	s.ask(t, s.request(t, "GET", "/twice"))
	s.Close()
	if got := s.log.String(); !strings.Contains(got, "superfluous response.WriteHeader") {
		t.Errorf("net/http's log: got %q, want its warning", got)
	}
}

// TestEarlyHintsArrive reads the answer's bytes: a client may hide them.
func TestEarlyHintsArrive(t *testing.T) {
	t.Parallel()
	g := newRig()
	s := newServer(t, places["inside"](Config{Provider: g}.Middleware), false)
	s.running.Add(1)
	conn := dial(t, s)
	io.WriteString(conn, "GET /early HTTP/1.1\r\nHost: x\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || line != "HTTP/1.1 103 Early Hints\r\n" {
		t.Errorf("first line: got %q, %v", line, err)
	}
	s.running.Wait()
}
