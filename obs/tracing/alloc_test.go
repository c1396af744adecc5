package tracing

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// sdkAlone is the SDK as we set it up, without what is ours.
func sdkAlone() trace.Tracer {
	return sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(nothing{}), sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithIDGenerator(idGenerator{}),
	).Tracer("t")
}

func allocsOf(t *testing.T, f func()) float64 {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates for itself")
	}
	return testing.AllocsPerRun(200, f)
}

// nothing is a processor that does nothing.
type nothing struct{}

func (nothing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nothing) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nothing) Shutdown(context.Context) error                  { return nil }
func (nothing) ForceFlush(context.Context) error                { return nil }

// A local root costs the state, which is also the context that carries it. Any
// span costs ours and its context, instead of the SDK's copy and the second
// copy of its attributes; with more than eight, its map is saved too.
func TestSpanAllocations(t *testing.T) {
	sdk, ours := sdkAlone(), NewProvider(Options{SpanProcessors: []sdktrace.SpanProcessor{nothing{}}}).Tracer("t")
	attrs := trace.WithAttributes(attribute.String("a", "b"), attribute.Int("c", 1))
	kind := trace.WithSpanKind(trace.SpanKindClient)
	incoming := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	remote := NewPropagator(PropagatorOptions{}).Extract(t.Context(), propagation.HeaderCarrier(incoming))
	child := func(tr trace.Tracer) context.Context {
		ctx, _ := tr.Start(t.Context(), "root")
		return ctx
	}
	tests := []struct {
		name      string
		sdk, ours context.Context
		above     float64
	}{
		{"root", t.Context(), t.Context(), 1},
		{"root under a remote parent", remote, remote, 1},
		{"child", child(sdk), child(ours), 0},
	}
	for _, tt := range tests {
		run := func(tr trace.Tracer, ctx context.Context) float64 {
			return allocsOf(t, func() {
				_, s := tr.Start(ctx, "span", kind, attrs)
				s.End()
			})
		}
		if alone, with := run(sdk, tt.sdk), run(ours, tt.ours); with > alone+tt.above {
			t.Errorf("%s: %v allocations, want at most the SDK's %v and %v more", tt.name, with, alone, tt.above)
		}
	}
}

func TestTracerAllocations(t *testing.T) {
	p := NewProvider(Options{})
	p.Tracer("t")
	if n := allocsOf(t, func() { p.Tracer("t") }); n != 0 {
		t.Errorf("%v allocations for a known tracer, want 0", n)
	}
}

func TestSamplerAllocations(t *testing.T) {
	agent := func(string, string) (float64, bool) { return 0.5, true }
	attrs := []attribute.KeyValue{attribute.String("http.route", "/a"), attribute.Bool("manual.kept", true)}
	for _, s := range []sdktrace.Sampler{NewSampler(SamplerOptions{}), NewSampler(SamplerOptions{AgentRate: agent})} {
		state := &obsctx.Trace{ID: trace.TraceID{1}}
		p := sdktrace.SamplingParameters{ParentContext: obsctx.WithTrace(t.Context(), state), TraceID: state.ID, Attributes: attrs}
		s.ShouldSample(p)
		if n := allocsOf(t, func() { s.ShouldSample(p) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s.Description(), n)
		}
	}
}

// The budget is 8 each; what is reached is held here.
func TestPropagatorAllocations(t *testing.T) {
	plain, vendors := benchHeaders(), benchHeaders()
	vendors.Set("tracestate", vendors.Get("tracestate")+",congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
	p := NewPropagator(PropagatorOptions{})
	ctx, _ := NewProvider(Options{}).Tracer("t").Start(p.Extract(t.Context(), propagation.HeaderCarrier(vendors)), "root")
	out := propagation.HeaderCarrier{}
	if n := allocsOf(t, func() { p.Inject(ctx, out) }); n > 2 {
		t.Errorf("inject: %v allocations, want 2: a string and the slices of the header", n)
	}
	for _, tt := range []struct {
		name    string
		headers http.Header
		want    float64
	}{
		{"none", http.Header{"Accept": {"*/*"}}, 0},
		{"datadog and tracecontext", plain, 3},
		{"with other vendors", vendors, 7},
	} {
		c := propagation.HeaderCarrier(tt.headers)
		if n := allocsOf(t, func() { p.Extract(t.Context(), c) }); n > tt.want {
			t.Errorf("extract, %s: %v allocations, want %v", tt.name, n, tt.want)
		}
	}
}

// benchHeaders are those of a request from a service of ours.
func benchHeaders() http.Header {
	h := http.Header{}
	for k, v := range map[string]string{
		"x-datadog-trace-id":          "11803532876627986230",
		"x-datadog-parent-id":         "67667974448284343",
		"x-datadog-sampling-priority": "2",
		"x-datadog-tags":              "_dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4,_dd.p.usr.id=u1",
		"traceparent":                 "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"tracestate":                  "dd=s:2;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6;t.usr.id:u1",
	} {
		h.Set(k, v)
	}
	return h
}

func BenchmarkInject(b *testing.B) {
	p := NewPropagator(PropagatorOptions{})
	ctx := p.Extract(b.Context(), propagation.HeaderCarrier(benchHeaders()))
	ctx, _ = NewProvider(Options{}).Tracer("t").Start(ctx, "root")
	out := propagation.HeaderCarrier{}
	p.Inject(ctx, out)
	if got := out.Get("x-datadog-sampling-priority"); got != "2" {
		b.Fatalf("priority %q, want 2", got)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Inject(ctx, out)
	}
}

func BenchmarkExtract(b *testing.B) {
	vendors := benchHeaders()
	vendors.Set("tracestate", vendors.Get("tracestate")+",congo=t61rcWkgMzE")
	own := NewPropagator(PropagatorOptions{})
	for _, bb := range []struct {
		name    string
		p       propagation.TextMapPropagator
		headers http.Header
	}{
		{"none", own, http.Header{"Accept": {"*/*"}}},
		{"both", own, benchHeaders()},
		{"vendors", own, vendors},
		{"ingress", NewIngress(own), benchHeaders()},
		{"otel", propagation.TraceContext{}, benchHeaders()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := propagation.HeaderCarrier(bb.headers)
			b.ReportAllocs()
			for b.Loop() {
				bb.p.Extract(b.Context(), c)
			}
		})
	}
}

func BenchmarkStart(b *testing.B) {
	for _, bb := range []struct {
		name   string
		tracer trace.Tracer
	}{{"sdk", sdkAlone()}, {"ours", NewProvider(Options{}).Tracer("t")}} {
		child, _ := bb.tracer.Start(b.Context(), "root")
		for name, ctx := range map[string]context.Context{"root": b.Context(), "child": child} {
			b.Run(bb.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, span := bb.tracer.Start(ctx, "span")
					span.End()
				}
			})
		}
	}
}

// A local root pays for its state, too; a child for nothing.
func BenchmarkSampler(b *testing.B) {
	rate := 0.5
	for _, bb := range []struct {
		name string
		opts SamplerOptions
	}{
		{"plain", SamplerOptions{}},
		{"rate", SamplerOptions{Rate: &rate}},
		{"rules", SamplerOptions{Rate: &rate, Rules: []SamplingRule{{Resource: "GET /health*"}, {Tags: map[string]string{"tenant": "acme"}, Rate: 1}}}},
	} {
		s := NewSampler(bb.opts)
		attrs := []attribute.KeyValue{attribute.String("http.request.method", "GET"), attribute.String("url.path", "/users/7")}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, state := obsctx.NewTrace(b.Context())
				state.ID = trace.TraceID{1}
				s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: state.ID, Attributes: attrs})
			}
		})
	}
}
