package chiobs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/obs/logging"
)

// line is what a failing request must look like to Cloud Logging.
type line struct {
	Severity    string
	Message     string
	Trace       string `json:"logging.googleapis.com/trace"`
	Span        string `json:"logging.googleapis.com/spanId"`
	Route       string `json:"http.route"`
	Kind        string `json:"error.kind"`
	Stack       string `json:"stack_trace"`
	HTTPRequest *struct {
		RequestMethod, RequestURL, ResponseSize, Latency string
		Status                                           int
	}
}

// TestThroughLogging shows the bytes: a panicking request is two lines under
// the span's ids, of which one has the stack, and neither has a secret.
func TestThroughLogging(t *testing.T) {
	t.Parallel()
	g := newRig()
	var buf bytes.Buffer
	r := chi.NewRouter()
	r.Use(Config{Provider: g, Logger: slog.New(logging.NewHandler(&buf, nil))}.Middleware)
	r.Get("/users/{id}", func(http.ResponseWriter, *http.Request) { panic("boom") })
	local(r, "GET", "/users/7?page=2&access_token=planted", "Referer", "https://a.example/?sig=planted", "Traceparent", traceparent)

	out := buf.String()
	if strings.Contains(out, "planted") {
		t.Errorf("a secret was logged:\n%s", out)
	}
	var failure, access line
	dec := json.NewDecoder(&buf)
	for _, l := range []*line{&failure, &access} {
		if err := dec.Decode(l); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if l.Severity != "ERROR" || l.Trace != callersTrace || l.Span != g.span(t).SpanContext().SpanID().String() {
			t.Errorf("got %s, trace %s, span %s, want an ERROR of the span", l.Severity, l.Trace, l.Span)
		}
	}
	if dec.More() {
		t.Errorf("more than two lines:\n%s", out)
	}
	if failure.Message != "panic: boom" || failure.Kind != "string" || !strings.HasPrefix(failure.Stack, "panic: boom\n\ngoroutine ") {
		t.Errorf("the panic's line: got %+v", failure)
	}
	h := access.HTTPRequest
	if h == nil || access.Message != "GET /users/{id} 500" || access.Route != "/users/{id}" || access.Stack != "" {
		t.Fatalf("the access record: got %+v", access)
	}
	if h.RequestMethod != "GET" || h.Status != 500 || h.ResponseSize != "22" || !strings.HasSuffix(h.Latency, "s") ||
		h.RequestURL != "http://example.com/users/7?page=2&access_token=REDACTED" {
		t.Errorf("httpRequest: got %+v", h)
	}
}
