package obstest

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// routes are the process's globals and the recorders they lead to. Globals
// cannot be swapped for each test: a tracer got at package level keeps the
// provider of that moment, and tests run in parallel.
type routes struct {
	once      sync.Once
	recorders atomic.Int64    // how many there have been
	pipeline  obsctx.Pipeline // of what belongs to no test, until a context says more

	mu     sync.Mutex // guards what follows
	traces map[trace.TraceID]*Recorder
	strays []string // spans and records that belonged to no test, the first of them
}

// maxStrays bounds how many are kept.
const maxStrays = 20

func (r *routes) stray(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.strays) < maxStrays && !slices.Contains(r.strays, what) {
		r.strays = append(r.strays, what)
	}
}

var router = routes{traces: make(map[trace.TraceID]*Recorder)}

func (r *routes) install() {
	logger := slog.New(routingHandler{fallback: slog.NewTextHandler(os.Stderr, nil)})
	r.pipeline = obsctx.Pipeline{
		Provider: routingProvider{}, Propagator: routingPropagator{}, Ingress: routingPropagator{}, Logger: logger,
	}
	slog.SetDefault(logger)
	otel.SetTracerProvider(routingProvider{})
	otel.SetTextMapPropagator(routingPropagator{})
}

// remember lets telemetry that knows a trace, but no context of the test's,
// find the recorder.
func (r *routes) remember(id trace.TraceID, rec *Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.traces[id] = rec
}

func (r *routes) forget(ids []trace.TraceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		delete(r.traces, id)
	}
}

// of returns the recorder of a trace, or nil.
func (r *routes) of(id trace.TraceID) *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.traces[id]
}

type recorderKey struct{}

// recorderOf returns the recorder of ctx, or nil.
func recorderOf(ctx context.Context) *Recorder {
	if r, ok := ctx.Value(recorderKey{}).(*Recorder); ok {
		return r
	}
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return router.of(id)
	}
	return nil
}

// pipelineOf returns that of ctx's recorder, or the one of no test.
func pipelineOf(ctx context.Context) *obsctx.Pipeline {
	if r := recorderOf(ctx); r != nil {
		if s, ok := r.tel.TracerProvider().(obsctx.Source); ok {
			return s.Pipeline(ctx)
		}
	}
	return &router.pipeline
}

// routingProvider is the global trace.TracerProvider.
type routingProvider struct{ embedded.TracerProvider }

func (routingProvider) Pipeline(ctx context.Context) *obsctx.Pipeline { return pipelineOf(ctx) }

func (routingProvider) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return routingTracer{name: name, opts: opts}
}

type routingTracer struct {
	embedded.Tracer
	name string
	opts []trace.TracerOption
}

func (t routingTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	r := recorderOf(ctx)
	if r == nil {
		router.stray(name)
		return noop.NewTracerProvider().Tracer(t.name).Start(ctx, name, opts...)
	}
	return r.tel.TracerProvider().Tracer(t.name, t.opts...).Start(ctx, name, opts...)
}

// routingPropagator is the global propagation.TextMapPropagator. A request
// that came over a wire finds its recorder by the trace it continues.
type routingPropagator struct{}

// traceOf reads the trace id of what a recorder's client sends by default.
func traceOf(ctx context.Context, c propagation.TextMapCarrier) trace.TraceID {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, c)).TraceID()
}

func (routingPropagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	if p := pipelineOf(ctx).Propagator; p != (routingPropagator{}) {
		p.Inject(ctx, c)
	}
}

func (routingPropagator) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if recorderOf(ctx) == nil {
		r := router.of(traceOf(ctx, c))
		if r == nil {
			return ctx
		}
		ctx = context.WithValue(ctx, recorderKey{}, r)
	}
	if p := pipelineOf(ctx).Ingress; p != (routingPropagator{}) {
		return p.Extract(ctx, c)
	}
	return ctx
}

func (routingPropagator) Fields() []string {
	return []string{"traceparent", "tracestate", "baggage", http.CanonicalHeaderKey("x-datadog-trace-id")}
}

// routingHandler is the global slog.Handler.
type routingHandler struct {
	fallback slog.Handler
	bound    []func(slog.Handler) slog.Handler // what was bound to the logger
}

func (h routingHandler) handler(ctx context.Context) slog.Handler {
	r := recorderOf(ctx)
	if r == nil {
		return h.fallback
	}
	out := r.tel.Logger().Handler()
	for _, bind := range h.bound {
		out = bind(out)
	}
	return out
}

func (h routingHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.handler(ctx).Enabled(ctx, l)
}

func (h routingHandler) Handle(ctx context.Context, r slog.Record) error {
	if recorderOf(ctx) == nil {
		router.stray(r.Level.String() + " " + r.Message)
	}
	return h.handler(ctx).Handle(ctx, r)
}

func (h routingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.bind(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (h routingHandler) WithGroup(name string) slog.Handler {
	return h.bind(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h routingHandler) bind(f func(slog.Handler) slog.Handler) slog.Handler {
	return routingHandler{f(h.fallback), append(h.bound[:len(h.bound):len(h.bound)], f)}
}
