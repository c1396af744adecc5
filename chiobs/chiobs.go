// Package chiobs is the middleware that gives every request of a chi router a
// server span and one access record, both under the trace the request came
// with.
//
//	r := chi.NewRouter()
//	r.Use(chiobs.Middleware)
//	r.Get("/users/{id}", user)
//
// The span is named by the route, "GET /users/{id}", and carries
// OpenTelemetry's stable HTTP conventions; the record carries Cloud Logging's
// httpRequest. Both are made when the handler is through, however it got
// there: it returned, panicked, aborted, hijacked the connection or ended its
// goroutine.
//
// Read chiobs.go for the configuration, request.go for a request's life, and
// then what it is made of: trust.go (whose trace), attributes.go and route.go
// (what the span says), writer.go (what was answered), failure.go (panics),
// record.go (the access record).
package chiobs

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// scope is the instrumentation scope of the server spans.
const scope = "github.com/kumihimo/kumihimo/chiobs"

// Middleware is the middleware of the zero [Config].
func Middleware(next http.Handler) http.Handler {
	return Config{}.Middleware(next)
}

// Config says how requests are traced and logged. The zero value suits a
// service behind others of the same owner; see Trust for one that faces the
// internet.
type Config struct {
	// Provider makes the spans, and names the pipeline they belong to if it
	// is one of obs. Nil is OpenTelemetry's global one, looked up at each
	// request, so that the middleware may be made before obs.Init.
	Provider trace.TracerProvider

	// Logger takes the access records. Nil is the pipeline's logger, without
	// a pipeline slog.Default().
	Logger *slog.Logger

	// Trust says what the trace a caller sends is good for.
	Trust Trust

	// Skip reports requests that get neither a span nor an access record,
	// such as health checks. The trace they came with (from a trusted caller)
	// still shows in logs and goes out with outgoing requests. Nil skips none.
	Skip func(*http.Request) bool
}

// Middleware returns next with a span and an access record around each
// request. It belongs in the Use of the outermost router, or around that router
// itself: with another handler between it and the router the route stays
// unknown.
func (c Config) Middleware(next http.Handler) http.Handler {
	h := &handler{config: c, next: next, kind: trace.WithSpanKind(trace.SpanKindServer)}
	h.routes, _ = next.(chi.Routes)
	return h
}

type handler struct {
	config Config
	next   http.Handler
	routes chi.Routes            // next, if that is a router
	kind   trace.SpanStartOption // made once, as it is an allocation
	tracer atomic.Pointer[providersTracer]
	forced bucket // of requests that force their trace to be kept
}

// providersTracer remembers the tracer of a provider, which takes a lock to
// find it.
type providersTracer struct {
	provider trace.TracerProvider
	trace.Tracer
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	provider := h.config.Provider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	p := h.pipeline(r.Context(), provider)
	ctx, caller := h.incoming(r, p.propagator)
	if h.config.Skip != nil && h.config.Skip(r) {
		h.next.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	ctx = h.withRoutes(ctx)

	q := newRequest(w, r, p)
	opts := q.startOptions(append(q.options[:0], h.kind), r, caller)
	ctx, q.span = h.tracerOf(provider).Start(ctx, q.name, opts...)
	ctx, q.flight = p.recorder.Begin(ctx)
	q.ctx, q.r = ctx, r.WithContext(ctx)
	defer q.finish()
	h.next.ServeHTTP(&q.w, q.r)
	q.returned = true
}

// pipeline is where a request's telemetry goes to, and how the trace comes in.
type pipeline struct {
	propagator propagation.TextMapPropagator
	redactor   *redact.Redactor
	logger     *slog.Logger
	recorder   *flight.Recorder // nil if there is none
}

func (h *handler) pipeline(ctx context.Context, provider trace.TracerProvider) pipeline {
	p := pipeline{logger: h.config.Logger}
	if s, ok := provider.(obsctx.Source); ok {
		if from := s.Pipeline(ctx); from != nil {
			p.propagator, p.redactor, p.recorder = from.Ingress, from.Redactor, from.Flight
			if p.logger == nil {
				p.logger = from.Logger
			}
		}
	}
	if p.propagator == nil {
		p.propagator = otel.GetTextMapPropagator()
	}
	if p.logger == nil {
		p.logger = slog.Default()
	}
	return p
}

func (h *handler) tracerOf(provider trace.TracerProvider) trace.Tracer {
	if t := h.tracer.Load(); t != nil && t.provider == provider {
		return t.Tracer
	}
	t := &providersTracer{provider, provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}
	// The comparison above panics on a provider that cannot be compared, so
	// such a one is never remembered.
	if reflect.ValueOf(provider).Comparable() {
		h.tracer.Store(t)
	}
	return t.Tracer
}
