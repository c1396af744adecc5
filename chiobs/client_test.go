package chiobs

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel/codes"
)

func dial(t *testing.T, s *server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestClientGone closes the connection while the handler runs.
func TestClientGone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		handler   func(w http.ResponseWriter, head func())
		logged    int
		message   string
		status    string // of the span
		errorType string
	}{
		{"nothing written", func(_ http.ResponseWriter, head func()) { head() },
			499, "GET /x 499", "", "client_closed_request"},
		{"partly written", func(w http.ResponseWriter, head func()) { io.WriteString(w, "half"); head() },
			499, "GET /x 499", "200", "client_closed_request"},
		{"written too late", func(w http.ResponseWriter, head func()) { head(); w.WriteHeader(http.StatusCreated) },
			499, "GET /x 499", "201", "client_closed_request"},
		{"aborted for it", func(w http.ResponseWriter, head func()) { head(); panic(http.ErrAbortHandler) },
			499, "GET /x 499 aborted", "", "client_closed_request"},
		{"all written before", func(w http.ResponseWriter, head func()) {
			w.Header().Set("Content-Length", "4")
			io.WriteString(w, "full")
			head()
		}, 200, "GET /x 200", "200", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			started := make(chan struct{})
			r := chi.NewRouter()
			r.Use(Config{Provider: g}.Middleware)
			r.Get("/x", func(w http.ResponseWriter, r *http.Request) {
				tt.handler(w, func() {
					close(started)
					<-r.Context().Done()
				})
			})
			s := newServer(t, r, false)
			s.running.Add(1)
			conn := dial(t, s)
			io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
			<-started
			conn.Close()
			s.running.Wait()

			access, attrs := g.access(t), attrsOf(g.span(t).Attributes())
			if access.http().Status != tt.logged || access.message != tt.message {
				t.Errorf("record: got %d %q, want %d %q", access.http().Status, access.message, tt.logged, tt.message)
			}
			if attrs["http.response.status_code"] != tt.status || attrs["error.type"] != tt.errorType {
				t.Errorf("span: got status %q, error.type %q, want %q, %q",
					attrs["http.response.status_code"], attrs["error.type"], tt.status, tt.errorType)
			}
			if got := g.span(t).Status().Code; got != codes.Unset {
				t.Errorf("the span's status: got %v, want unset: the service has not failed", got)
			}
		})
	}
}

// TestTimeoutIsNotTheClient: a deadline of an outer middleware is the
// service's own.
func TestTimeoutIsNotTheClient(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 0)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}, Config{Provider: g}.Middleware)
	r.Get("/x", func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusGatewayTimeout)
	})
	local(r, "GET", "/x")
	if got := g.access(t); got.http().Status != 504 || got.level != slog.LevelError {
		t.Errorf("record: got %v with status %d, want 504 at ERROR", got, got.http().Status)
	}
}

// TestHijackedConnectionHasNoClientToLose: its end is the handler's affair.
func TestHijackedConnectionHasNoClientToLose(t *testing.T) {
	t.Parallel()
	g := newRig()
	h := Config{Provider: g}.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
			t.Error(err)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.ServeHTTP(&full{ResponseWriter: httptest.NewRecorder()}, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	if got := g.access(t).http().Status; got != 101 {
		t.Errorf("record: got %d, want 101", got)
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	g := newRig()
	s := newServer(t, places["inside"](Config{Provider: g}.Middleware), true)
	s.running.Add(1)
	resp, err := s.Client().Do(s.request(t, "GET", "/copy?token=planted"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	s.running.Wait()
	if err != nil || n != 100_000 || resp.ProtoMajor != 2 {
		t.Errorf("got %d bytes over HTTP/%d, %v", n, resp.ProtoMajor, err)
	}
	attrs := attrsOf(g.span(t).Attributes())
	if attrs["network.protocol.version"] != "2" || attrs["url.scheme"] != "https" || attrs["url.query"] != "token=REDACTED" {
		t.Errorf("got %v", attrs)
	}
	if got := g.access(t).http(); got.ResponseSize != 100_000 || got.Protocol != "HTTP/2.0" {
		t.Errorf("httpRequest: got %+v", got)
	}
}

// TestHTTP2PanicResetsTheStream: the client must see that the answer is not whole.
func TestHTTP2PanicResetsTheStream(t *testing.T) {
	t.Parallel()
	g := newRig()
	s := newServer(t, places["inside"](Config{Provider: g}.Middleware), true)
	if got, want := s.ask(t, s.request(t, "GET", "/panic/flushed")), (answer{200, "half" + brokenOff}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := g.others(); len(got) != 1 || got[0] != "ERROR panic: boom" {
		t.Errorf("records: got %v", got)
	}
}
