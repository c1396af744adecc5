package chiobs

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/logging"
)

// A rig is a pipeline that keeps what goes into it. It implements
// obsctx.Source as obs's own provider does.
type rig struct {
	*sdktrace.TracerProvider
	spans   *tracetest.SpanRecorder
	records *recorder
	ingress propagation.TextMapPropagator
}

func newRig() *rig {
	spans := tracetest.NewSpanRecorder()
	return &rig{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		spans:          spans,
		records:        &recorder{},
		ingress:        propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
}

func (g *rig) Pipeline(context.Context) *obsctx.Pipeline {
	return &obsctx.Pipeline{
		Provider: g, Propagator: g.ingress, Ingress: g.ingress,
		Logger: slog.New(g.records), Redactor: redact.New([]string{"voucher"}),
	}
}

// span returns the only span that has ended.
func (g *rig) span(t *testing.T) sdktrace.ReadOnlySpan {
	t.Helper()
	ended := g.spans.Ended()
	if len(ended) != 1 {
		t.Fatalf("got %d spans, want 1: %v", len(ended), ended)
	}
	return ended[0]
}

// access returns the only access record.
func (g *rig) access(t *testing.T) *record {
	t.Helper()
	var found []*record
	for _, r := range g.records.all() {
		if r.http() != nil {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d access records, want 1: %v", len(found), found)
	}
	return found[0]
}

// others returns the messages of the records that are not access records.
func (g *rig) others() (messages []string) {
	for _, r := range g.records.all() {
		if r.http() == nil {
			messages = append(messages, r.level.String()+" "+r.message)
		}
	}
	return messages
}

// recorder is a slog.Handler that keeps records.
type recorder struct {
	mu      sync.Mutex // guards records
	records []*record
}

type record struct {
	ctx     context.Context
	level   slog.Level
	message string
	attrs   map[string]slog.Value
}

func (h *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (h *recorder) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *recorder) WithGroup(string) slog.Handler            { return h }

func (h *recorder) Handle(ctx context.Context, r slog.Record) error {
	kept := &record{ctx: ctx, level: r.Level, message: r.Message, attrs: make(map[string]slog.Value)}
	r.Attrs(func(a slog.Attr) bool { kept.attrs[a.Key] = a.Value; return true })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, kept)
	return nil
}

func (h *recorder) all() []*record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

func (r *record) http() *logging.HTTPRequest {
	v, ok := r.attrs["httpRequest"]
	if !ok {
		return nil
	}
	return v.Any().(*logging.HTTPRequest)
}

func (r *record) route() string {
	if v, ok := r.attrs["http.route"]; ok {
		return v.String()
	}
	return ""
}

func (r *record) String() string { return r.level.String() + " " + r.message }

// attrsOf are the attributes of a span, printed.
func attrsOf(kvs []attribute.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

// A server runs a handler and knows when it is through with its requests,
// which is later than the client knows its answer.
type server struct {
	*httptest.Server
	running sync.WaitGroup
	log     bytes.Buffer // net/http's own complaints; read after wait
}

func newServer(t *testing.T, h http.Handler, http2 bool) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.running.Done()
		h.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(&s.log, "", 0)
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// An answer is what a client got. Its status is 0 if it got none, and its body
// is marked if it broke off.
type answer struct {
	Status int
	Body   string
}

const brokenOff = "!broken off"

func (s *server) ask(t *testing.T, r *http.Request) answer {
	t.Helper()
	s.running.Add(1)
	defer s.running.Wait()
	resp, err := s.Client().Do(r)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		body = append(body, brokenOff...)
	}
	return answer{resp.StatusCode, string(body)}
}

func (s *server) request(t *testing.T, method, target string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "test/1.0")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// local serves one request without a network.
func local(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(""))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A caller sends this traceparent.
const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	traceparent  = "00-" + callersTrace + "-" + callersSpan + "-01"
)

func spanOf(r *http.Request) trace.SpanContext { return trace.SpanContextFromContext(r.Context()) }
