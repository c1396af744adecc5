// Package chiobs is the middleware that gives every request of a chi router a
// server span and one access record, both under the trace the request came
// with.
//
//	r := chi.NewRouter()
//	r.Use(chiobs.Middleware)
//	r.Get("/users/{id}", user)
//
// A service that faces the internet, or wants more, has a [Config]:
//
//	r.Use(chiobs.Config{
//		Trust: chiobs.TrustPublic, // callers' traces are linked to, not continued
//		Skip:  func(r *http.Request) bool { return r.URL.Path == "/healthz" },
//	}.Middleware)
//
// What handlers know more goes onto both by [Add]. The pipeline is that of
// obs.Init; one of obs.New is given as Config.Provider.
//
// The span is named by the route, "GET /users/{id}", and carries
// OpenTelemetry's stable HTTP conventions
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server); the
// record carries Cloud Logging's httpRequest. Both are made when the handler is
// through, however it got there: it returned, panicked, aborted, hijacked the
// connection or ended its goroutine.
//
// Read config.go for the configuration, request.go for a request's life, and
// then what it is made of: trust.go (whose trace), client.go (whose request),
// attributes.go, headers.go and route.go (what the span says), writer.go (what
// was answered), ending.go (how it ended), failure.go (panics), record.go (the
// access record), holder.go (what handlers and hooks add), nested.go (one
// middleware within another), flush.go (the last request in flight).
package chiobs

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
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

// Middleware returns next with a span and an access record around each
// request. It belongs in the Use of the outermost router, or around that router
// itself: with another handler between it and the router the route stays
// unknown, as it does without a router.
func (c Config) Middleware(next http.Handler) http.Handler {
	h := &handler{next: next, kind: trace.WithSpanKind(trace.SpanKindServer), place: place()}
	h.settings = newSettings(c, h)
	h.routes, _ = next.(chi.Routes)
	return h
}

type handler struct {
	settings  *settings
	next      http.Handler
	routes    chi.Routes            // next, if that is a router
	kind      trace.SpanStartOption // made once, as it is an allocation
	place     uintptr               // of the access records in the source
	tracer    atomic.Pointer[providersTracer]
	forced    bucket    // of requests that force their trace to be kept
	scratches sync.Pool // of *scratch, which no handler gets to see

	inFlight   atomic.Int64 // requests, where the last is to flush
	flushAgain atomic.Int64 // when to flush again, in nanoseconds since 1970

	nested, failed atomic.Bool // a mistake has been reported: two in one, a hook
}

// providersTracer remembers the tracer of a provider, which takes a lock to
// find it.
type providersTracer struct {
	provider trace.TracerProvider
	trace.Tracer
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	provider := h.settings.Provider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if outer := requestOf(r.Context()); outer != nil && outer.serves(w, r, provider) {
		h.refine(outer, r)
		h.next.ServeHTTP(w, r)
		return
	}
	p := h.pipeline(r.Context(), provider)
	ctx, caller := h.incoming(r, p.propagator)
	if h.skips(r, p.logger) {
		h.next.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	q := newRequest(ctx, h, w, p)
	q.start(r, caller, p.recorder)
	defer q.finish()
	h.next.ServeHTTP(&q.w, q.r)
	q.w.returned = true
}

// pipeline is how a request's trace comes in, and where its telemetry goes to.
type pipeline struct {
	propagator propagation.TextMapPropagator
	recorder   *flight.Recorder // nil if there is none
	outlet
}

// outlet is what a request needs until its end.
type outlet struct {
	provider trace.TracerProvider
	redactor *redact.Redactor
	logger   *slog.Logger
	flush    func(context.Context) error
	disabled bool // provider starts no spans
	copies   bool // provider keeps no slice it gets
}

func (h *handler) pipeline(ctx context.Context, provider trace.TracerProvider) (p pipeline) {
	p.provider, p.logger = provider, h.settings.Logger
	if s, ok := provider.(obsctx.Source); ok {
		if from := s.Pipeline(ctx); from != nil {
			p.propagator, p.redactor, p.recorder, p.flush = from.Ingress, from.Redactor, from.Flight, from.Flush
			p.disabled, p.copies = from.Disabled, true
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
	if canCompare(provider) {
		h.tracer.Store(t)
	}
	return t.Tracer
}

func canCompare(p trace.TracerProvider) bool { return reflect.ValueOf(p).Comparable() }
