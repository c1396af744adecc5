package ddagent

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// span is a decoded span of a payload.
type span map[string]any

func (s span) id() uint64              { return s["span_id"].(uint64) }
func (s span) meta() map[string]any    { return s["meta"].(map[string]any) }
func (s span) metrics() map[string]any { return s["metrics"].(map[string]any) }

// tracesOf decodes a /v0.4/traces payload.
func tracesOf(body []byte) ([][]span, error) {
	v, err := decode(body)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("no array of traces")
	}
	var traces [][]span
	for _, t := range list {
		var spans []span
		for _, s := range t.([]any) {
			spans = append(spans, s.(map[string]any))
		}
		traces = append(traces, spans)
	}
	return traces, nil
}

// fakeAgent is an agent on an in-memory network, so that it runs in a
// synctest bubble with the real net/http on both sides. It is the oracle: it
// keeps the spans it has accepted.
type fakeAgent struct {
	mu       sync.Mutex
	accepted map[uint64]int // times each span id was accepted
	traces   [][]span
	requests int
	infos    int                       // times /info was read
	info     func(http.ResponseWriter) // answers /info; nil: 404
	state    string                    // Datadog-Agent-State of what it accepts
	paths    []string                  // of each request
	bodies   []int                     // length of each
	headers  []http.Header
	at       []time.Time
	fault    func(w http.ResponseWriter, r *http.Request, n int, body []byte) bool // true: it has answered request n
	conns    chan net.Conn
	server   *http.Server
	down     bool
}

func newFakeAgent(t *testing.T) *fakeAgent {
	t.Helper()
	a := &fakeAgent{accepted: make(map[uint64]int), conns: make(chan net.Conn)}
	a.server = &http.Server{Handler: a, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	closed := make(chan struct{})
	go a.server.Serve(&pipeListener{conns: a.conns, closed: closed, once: sync.OnceFunc(func() { close(closed) })})
	t.Cleanup(func() { a.server.Close() })
	return a
}

// client returns an http.Client that reaches the agent and nothing else.
func (a *fakeAgent) client(t *testing.T) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		a.mu.Lock()
		down := a.down
		a.mu.Unlock()
		if down {
			return nil, errors.New("connection refused")
		}
		ours, theirs := net.Pipe()
		select {
		case a.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	if r.URL.Path == "/info" {
		w.Header().Set(headerState, a.state)
		a.infos++
		info := a.info
		a.mu.Unlock()
		if info == nil {
			http.NotFound(w, r)
			return
		}
		info(w)
		return
	}
	a.requests++
	a.paths = append(a.paths, r.URL.Path)
	n := a.requests
	a.bodies = append(a.bodies, len(body))
	a.headers = append(a.headers, r.Header.Clone())
	a.at = append(a.at, time.Now())
	fault := a.fault
	a.mu.Unlock()
	if fault != nil && fault(w, r, n, body) {
		return
	}
	a.accept(w, r, body)
}

func (a *fakeAgent) accept(w http.ResponseWriter, r *http.Request, body []byte) {
	decode := tracesOf
	if r.URL.Path == "/v1.0/traces" {
		decode = tracesOfV1
	} else if r.URL.Path != "/v0.4/traces" {
		http.NotFound(w, r)
		return
	}
	traces, err := decode(body)
	if err != nil {
		http.Error(w, "cannot decode", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	for _, t := range traces {
		for _, s := range t {
			a.accepted[s.id()]++
		}
	}
	a.traces = append(a.traces, traces...)
	w.Header().Set(headerState, a.state)
	a.mu.Unlock()
	w.Header().Set("Datadog-Agent-Version", "7.80.0")
	io.WriteString(w, `{"rate_by_service":{"service:,env:":1}}`)
}

// speak lets /info list v1.0 from now on, or not, under a state of its own.
func (a *fakeAgent) speak(state string, v1 bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = state
	a.info = func(w http.ResponseWriter) {
		if v1 {
			io.WriteString(w, `{"version":"7.80.0","endpoints":["/v0.4/traces","/v1.0/traces"]}`)
		} else {
			io.WriteString(w, `{"version":"7.60.0","endpoints":["/v0.4/traces"]}`)
		}
	}
}

func (a *fakeAgent) set(fault func(http.ResponseWriter, *http.Request, int, []byte) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = fault
}

func (a *fakeAgent) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *fakeAgent) count() (requests int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

func (a *fakeAgent) ids() map[uint64]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.accepted)
}

func (a *fakeAgent) chunks() [][]span {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.traces)
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   func()
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once(); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// rig is an exporter with a provider above it and an agent below.
type rig struct {
	t        *testing.T
	agent    *fakeAgent
	exporter *Exporter
	proc     *Processor
	provider *sdktrace.TracerProvider
	logs     *logCounter
}

func newRig(t *testing.T, opts Options, po ProcessorOptions) *rig {
	t.Helper()
	r := &rig{t: t, agent: newFakeAgent(t), logs: &logCounter{}}
	opts.URL = "http://agent:8126"
	if opts.HTTPClient == nil {
		opts.HTTPClient = r.agent.client(t)
	}
	opts.Logger = slog.New(r.logs)
	if opts.Service == "" {
		opts.Service = "shop"
	}
	r.exporter = NewExporter(opts)
	r.proc = NewProcessor(r.exporter, po)
	r.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.proc),
		sdktrace.WithResource(resource.Empty()), sdktrace.WithIDGenerator(&counterIDs{}))
	return r
}

// trace starts a local root with a per-trace state, as obs/tracing does.
func (r *rig) trace(d obsctx.Decision) (context.Context, trace.Span, *obsctx.Trace) {
	return localRoot(context.Background(), r.provider.Tracer("test"), d)
}

var keepIt = obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismDefault}

func localRoot(ctx context.Context, tracer trace.Tracer, d obsctx.Decision, opts ...trace.SpanStartOption) (context.Context, trace.Span, *obsctx.Trace) {
	// The id is not known before Start; a front end's adopted trace id is, and
	// that is the form the provider uses as well: a trace id without a span.
	id := trace.SpanContextFromContext(ctx).TraceID()
	if !id.IsValid() {
		id = randomID()
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
	}
	state := &obsctx.Trace{ID: id}
	state.Init(d)
	ctx, span := tracer.Start(obsctx.WithTrace(ctx, state), "root", opts...)
	return ctx, span, state
}

// check compares the exporter's account with itself and with the agent's.
func (r *rig) check(wantEnded int) Stats {
	r.t.Helper()
	s := r.exporter.Stats()
	if s.Ended != int64(wantEnded) {
		r.t.Errorf("ended %d spans, counted %d", wantEnded, s.Ended)
	}
	if sum := s.Sent + s.Dropped.Total() + s.Queued + s.InFlight; s.Ended != sum {
		r.t.Errorf("ended %d, but sent+dropped+queued+in flight = %d: %+v", s.Ended, sum, s)
	}
	if s.Queued+s.InFlight == 0 && s.QueueBytes != 0 {
		r.t.Errorf("nothing queued, but %d bytes in use", s.QueueBytes)
	}
	if got := len(r.agent.ids()); int64(got) != s.Sent {
		r.t.Errorf("the agent accepted %d spans, the exporter counted %d", got, s.Sent)
	}
	return s
}

type counterIDs struct {
	mu sync.Mutex
	n  uint64
}

func (g *counterIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	g.mu.Lock()
	g.n++
	n := g.n
	g.mu.Unlock()
	var t trace.TraceID
	copy(t[:4], "kumi")
	copy(t[8:], be(n))
	return t, g.NewSpanID(ctx, t)
}

func (g *counterIDs) NewSpanID(context.Context, trace.TraceID) (s trace.SpanID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	copy(s[:], be(g.n))
	return s
}

func be(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return b
}

func randomID() (t trace.TraceID) {
	rand.Read(t[:])
	return t
}

// logCounter is a slog.Handler that keeps the records.
type logCounter struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logCounter) Enabled(context.Context, slog.Level) bool { return true }
func (l *logCounter) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logCounter) WithGroup(string) slog.Handler            { return l }
func (l *logCounter) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

func (l *logCounter) at(level slog.Level) (found []slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Level == level {
			found = append(found, r)
		}
	}
	return found
}

func attrOf(r slog.Record, key string) (v slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return true
	})
	return v
}

func attrs(kv ...attribute.KeyValue) trace.SpanStartOption { return trace.WithAttributes(kv...) }
