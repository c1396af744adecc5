package chiobs

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		trust        Trust
		header       []string
		continued    bool
		links        int
		baggage      string
		parentRemote bool
	}{
		{name: "internal", trust: TrustInternal, header: []string{"Traceparent", traceparent, "Baggage", "user=7"},
			continued: true, baggage: "user=7", parentRemote: true},
		{name: "internal, no trace", trust: TrustInternal, header: []string{"Baggage", "user=7"}, baggage: "user=7"},
		{name: "public", trust: TrustPublic, header: []string{"Traceparent", traceparent, "Baggage", "user=7"}, links: 1},
		{name: "public, no trace", trust: TrustPublic, header: []string{"Baggage", "user=7"}},
		{name: "public, broken trace", trust: TrustPublic, header: []string{"Traceparent", "00-xyz"}},
		{name: "neither", trust: 7, header: []string{"Traceparent", traceparent, "Baggage", "user=7"}, links: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			var bag string
			local(Config{Provider: g, Trust: tt.trust}.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				bag = baggage.FromContext(r.Context()).String()
			})), "GET", "/", tt.header...)
			span := g.span(t)
			if got := span.SpanContext().TraceID().String() == callersTrace; got != tt.continued {
				t.Errorf("the caller's trace goes on: got %t, want %t", got, tt.continued)
			}
			if got := span.Parent().IsRemote(); got != tt.parentRemote {
				t.Errorf("remote parent: got %t, want %t", got, tt.parentRemote)
			}
			if len(span.Links()) != tt.links {
				t.Fatalf("links: got %v, want %d", span.Links(), tt.links)
			}
			if tt.links > 0 && span.Links()[0].SpanContext.SpanID().String() != callersSpan {
				t.Errorf("link: got %v, want one to the caller's span", span.Links()[0])
			}
			if bag != tt.baggage {
				t.Errorf("baggage: got %q, want %q", bag, tt.baggage)
			}
		})
	}
}

// frontEnd stands for the ingress propagator of a platform whose front end
// starts traces of its own.
type frontEnd struct{ propagation.TextMapPropagator }

var frontEndsID = trace.TraceID{15: 7}

func (f frontEnd) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	ctx = f.TextMapPropagator.Extract(ctx, c)
	sc := trace.SpanContextFromContext(ctx)
	if sc.IsValid() {
		return obsctx.WithTrace(ctx, &obsctx.Trace{ID: sc.TraceID(), Remote: true, FrontEnd: frontEndsID})
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc.WithTraceID(frontEndsID))
}

// TestFrontEnd: a restarted trace still knows the platform's own log.
func TestFrontEnd(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][]string{"with a caller's trace": {"Traceparent", traceparent}, "alone": nil} {
		g := newRig()
		g.ingress = frontEnd{g.ingress}
		var state *obsctx.Trace
		local(Config{Provider: g, Trust: TrustPublic}.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			state = obsctx.TraceFrom(r.Context())
		})), "GET", "/", header...)
		if state == nil || state.FrontEnd != frontEndsID || state.ID.IsValid() {
			t.Errorf("%s: got %+v, want the front end's id alone", name, state)
		}
		if id := g.span(t).SpanContext().TraceID(); id == frontEndsID || id.String() == callersTrace {
			t.Errorf("%s: trace: got %v, want a new one", name, id)
		}
		if got, want := len(g.span(t).Links()), len(header)/2; got != want {
			t.Errorf("%s: got %d links, want %d", name, got, want)
		}
	}
}

// TestFrontEndOfAnotherTrace: state left by an older extraction says nothing.
func TestFrontEndOfAnotherTrace(t *testing.T) {
	t.Parallel()
	ctx := obsctx.WithTrace(t.Context(), &obsctx.Trace{ID: trace.TraceID{1}, Remote: true, FrontEnd: frontEndsID})
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{2}, SpanID: trace.SpanID{2}})
	if got := frontEndsTrace(ctx, caller); got.IsValid() {
		t.Errorf("got %v, want none", got)
	}
}

// TestSkip: no telemetry, but the caller's trace stays known.
func TestSkip(t *testing.T) {
	t.Parallel()
	for trust, want := range map[Trust]string{TrustInternal: callersTrace, TrustPublic: trace.TraceID{}.String()} {
		g := newRig()
		var sc trace.SpanContext
		r := chi.NewRouter()
		r.Use(Config{Provider: g, Trust: trust, Skip: func(r *http.Request) bool { return r.URL.Path == "/healthz" }}.Middleware)
		r.Get("/healthz", func(w http.ResponseWriter, r *http.Request) {
			if _, wrapped := w.(*responseWriter); wrapped {
				t.Error("the writer is wrapped for nothing")
			}
			sc = spanOf(r)
		})
		r.Get("/other", func(http.ResponseWriter, *http.Request) {})
		local(r, "GET", "/healthz", "Traceparent", traceparent)
		if n, m := len(g.spans.Started()), len(g.records.all()); n != 0 || m != 0 {
			t.Errorf("got %d spans and %d records, want none", n, m)
		}
		if got := sc.TraceID().String(); got != want {
			t.Errorf("trust %d: trace in the handler: got %s, want %s", trust, got, want)
		}
		local(r, "GET", "/other")
		g.access(t)
		g.span(t)
	}
}

// TestLocalParent: a span started by an outer middleware stays the parent,
// though the headers are still there.
func TestLocalParent(t *testing.T) {
	t.Parallel()
	for _, trust := range []Trust{TrustInternal, TrustPublic} {
		g := newRig()
		h := Config{Provider: g, Trust: trust}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Traceparent", traceparent)
		ctx, outer := g.Tracer("outer").Start(r.Context(), "outer")
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		if got, want := g.span(t).Parent().SpanID(), outer.SpanContext().SpanID(); got != want {
			t.Errorf("trust %d: parent: got %v, want %v", trust, got, want)
		}
	}
}

// TestTwoPipelines serves two pipelines in one process, one inside the other's reach.
func TestTwoPipelines(t *testing.T) {
	t.Parallel()
	shop, inventory := newRig(), newRig()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	a, b := Config{Provider: shop}.Middleware(ok), Config{Provider: inventory}.Middleware(ok)
	local(a, "GET", "/shop")
	local(b, "POST", "/inventory")
	got := []string{shop.span(t).Name(), shop.access(t).message, inventory.span(t).Name(), inventory.access(t).message}
	if diff := cmp.Diff([]string{"GET", "GET 200", "POST", "POST 200"}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// TestLoggerOfConfig takes the records in the pipeline's place.
func TestLoggerOfConfig(t *testing.T) {
	t.Parallel()
	g, own := newRig(), &recorder{}
	local(Config{Provider: g, Logger: slog.New(own)}.Middleware(http.NotFoundHandler()), "GET", "/")
	if n, m := len(g.records.all()), len(own.all()); n != 0 || m != 1 {
		t.Errorf("got %d records at the pipeline's logger and %d at the config's, want 0 and 1", n, m)
	}
}

// uncomparable is a provider that must not be compared.
type uncomparable struct {
	*sdktrace.TracerProvider
	_ []int
}

// TestPlainProvider has no pipeline behind it: a span is all it gives.
func TestPlainProvider(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	for _, p := range []trace.TracerProvider{sdk, uncomparable{TracerProvider: sdk}} {
		records := &recorder{}
		h := Config{Provider: p, Logger: slog.New(records)}.Middleware(http.NotFoundHandler())
		local(h, "GET", "/?sig=planted")
		local(h, "GET", "/?sig=planted")
		for _, r := range records.all() {
			if got, want := r.http().URL, "http://example.com/?sig=REDACTED"; got != want {
				t.Errorf("URL: got %s, want %s", got, want)
			}
		}
	}
	if got := len(spans.Ended()); got != 4 {
		t.Errorf("got %d spans, want 4", got)
	}
	if got := spans.Ended()[0].InstrumentationScope().Name; got != scope {
		t.Errorf("scope: got %s, want %s", got, scope)
	}
}

// TestConfigIsNotWritten to: what a request finds out stays with the request.
func TestConfigIsNotWritten(t *testing.T) {
	t.Parallel()
	logger := slog.New(discard{})
	c := Config{Trust: TrustPublic, Logger: logger}
	local(c.Middleware(http.NotFoundHandler()), "GET", "/")
	if c.Provider != nil || c.Logger != logger || c.Skip != nil || c.Trust != TrustPublic {
		t.Errorf("got %+v", c)
	}
}

// TestOutlivingGoroutines keep the writer and the context of a request while
// later requests are served: what they hold must be theirs alone.
func TestOutlivingGoroutines(t *testing.T) {
	t.Parallel()
	g := newRig()
	release := make(chan struct{})
	var kept sync.WaitGroup
	r := chi.NewRouter()
	r.Use(Config{Provider: g}.Middleware)
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		sc := spanOf(r)
		kept.Go(func() {
			<-release
			w.Header().Set("X-Late", "yes")
			w.Write([]byte("late"))
			if !spanOf(r).Equal(sc) {
				t.Errorf("the context's span changed from %v to %v", sc, spanOf(r))
			}
		})
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { local(r, "GET", "/users/7") })
	}
	all.Wait()
	close(release)
	kept.Wait()
	for _, r := range g.records.all() {
		if r.http().ResponseSize != 0 {
			t.Errorf("a late write reached the record: %+v", r.http())
		}
	}
}
