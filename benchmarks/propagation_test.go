package benchmarks

import (
	"context"
	"encoding/binary"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// propagationPeers carry a trace in Datadog's and W3C's headers. OpenTelemetry's
// own carries W3C's alone and knows no priority: it is there for the scale.
var propagationPeers = []struct {
	name string
	new  func() propagation.TextMapPropagator
}{
	{"kumihimo", func() propagation.TextMapPropagator {
		return tracing.NewPropagator(tracing.PropagatorOptions{})
	}},
	{"dd-trace-go", newDatadogPropagator},
	{"otel-w3c-alone", func() propagation.TextMapPropagator { return propagation.TraceContext{} }},
}

// datadogPropagator is dd-trace-go's propagator behind OpenTelemetry's
// interface, as an OpenTelemetry program would have to use it: what its
// SpanContext does not show (origin, tags, tracestate) is had by injecting it
// again, and a span of ours goes back in as a foreign context, whose tracestate
// is that of the OpenTelemetry span. Both are in their default styles.
type datadogPropagator struct {
	tracer.Propagator
}

func newDatadogPropagator() propagation.TextMapPropagator {
	return &datadogPropagator{tracer.NewPropagator(&tracer.PropagatorConfig{MaxTagsHeaderLen: 512})}
}

// anyCarrier is OpenTelemetry's carrier as dd-trace-go wants one.
type anyCarrier struct{ propagation.TextMapCarrier }

func (c anyCarrier) ForeachKey(f func(key, value string) error) error {
	for _, k := range c.Keys() {
		if err := f(k, c.Get(k)); err != nil {
			return err
		}
	}
	return nil
}

// tagTracestate is the propagating tag in which dd-trace-go keeps the header.
const tagTracestate = "tracestate"

type datadogKey struct{}

// datadogState is what goes beside a SpanContext.
type datadogState struct {
	priority *float64
	origin   string
	tags     map[string]string
}

// foreignContext satisfies the unexported interfaces of tracer.FromGenericCtx.
type foreignContext struct {
	span  trace.SpanContext
	state *datadogState
}

func (c foreignContext) SpanID() uint64         { id := c.span.SpanID(); return binary.BigEndian.Uint64(id[:]) }
func (c foreignContext) TraceID() string        { return c.span.TraceID().String() }
func (c foreignContext) TraceIDBytes() [16]byte { return c.span.TraceID() }
func (c foreignContext) TraceIDLower() uint64 {
	id := c.span.TraceID()
	return binary.BigEndian.Uint64(id[8:])
}
func (c foreignContext) ForeachBaggageItem(func(k, v string) bool) {}
func (c foreignContext) SamplingDecision() uint32                  { return 2 } // keep
func (c foreignContext) Priority() *float64                        { return c.state.priority }
func (c foreignContext) Origin() string                            { return c.state.origin }
func (c foreignContext) PropagatingTags() map[string]string        { return c.state.tags }
func (c foreignContext) Tags() map[string]string                   { return nil }
func (p *datadogPropagator) Fields() []string                      { return nil }

func (p *datadogPropagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	state, _ := ctx.Value(datadogKey{}).(*datadogState)
	if state == nil {
		state = &datadogState{}
	}
	span := trace.SpanContextFromContext(ctx)
	if ts := span.TraceState().String(); ts != state.tags[tagTracestate] { // someone has put a member in
		changed := *state
		changed.tags = maps.Clone(state.tags)
		if changed.tags == nil {
			changed.tags = map[string]string{}
		}
		changed.tags[tagTracestate] = ts
		state = &changed
	}
	sc := tracer.FromGenericCtx(foreignContext{span, state})
	if err := p.Propagator.Inject(sc, anyCarrier{c}); err != nil {
		panic(err)
	}
}

func (p *datadogPropagator) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	sc, err := p.Propagator.Extract(anyCarrier{c})
	if err != nil {
		return ctx
	}
	again := tracer.TextMapCarrier{}
	if err := p.Propagator.Inject(sc, again); err != nil {
		return ctx
	}
	state := &datadogState{origin: again["x-datadog-origin"], tags: map[string]string{}}
	for tag := range strings.SplitSeq(again["x-datadog-tags"], ",") {
		if k, v, ok := strings.Cut(tag, "="); ok {
			state.tags[k] = v
		}
	}
	ts, err := trace.ParseTraceState(again["tracestate"])
	if err != nil {
		return ctx
	}
	state.tags[tagTracestate] = again["tracestate"]
	cfg := trace.SpanContextConfig{TraceID: sc.TraceIDBytes(), TraceState: ts, Remote: true}
	binary.BigEndian.PutUint64(cfg.SpanID[:], sc.SpanID())
	if priority, ok := sc.SamplingPriority(); ok {
		f := float64(priority)
		state.priority = &f
		cfg.TraceFlags = cfg.TraceFlags.WithSampled(priority > 0)
	}
	ctx = context.WithValue(ctx, datadogKey{}, state)
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(cfg))
}

// incomingHeaders are those of a request from a Datadog service, with a decision, two
// tags and another vendor's member.
func incomingHeaders() http.Header {
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"test"}, "Content-Type": {"application/json"}}
	for k, v := range map[string]string{
		"x-datadog-trace-id":          "11803532876627986230",
		"x-datadog-parent-id":         "67667974448284343",
		"x-datadog-sampling-priority": "2",
		"x-datadog-origin":            "rum",
		"x-datadog-tags":              "_dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4,_dd.p.usr.id=u1",
		"traceparent":                 "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"tracestate":                  "dd=s:2;o:rum;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6;t.usr.id:u1,congo=t61rcWkgMzE",
	} {
		h.Set(k, v)
	}
	return h
}

// inSpan is the context of a span of ours under what was extracted.
func inSpan(p propagation.TextMapPropagator) context.Context {
	ctx := p.Extract(context.Background(), propagation.HeaderCarrier(incomingHeaders()))
	remote := trace.SpanContextFromContext(ctx)
	return trace.ContextWithSpanContext(ctx, remote.WithRemote(false).WithSpanID(trace.SpanID{0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31}))
}

// BenchmarkExtract reads a request's headers.
func BenchmarkExtract(b *testing.B) {
	for _, peer := range propagationPeers {
		b.Run(peer.name, func(b *testing.B) {
			p, c := peer.new(), propagation.HeaderCarrier(incomingHeaders())
			b.ReportAllocs()
			for b.Loop() {
				p.Extract(b.Context(), c)
			}
		})
	}
}

// BenchmarkInject writes them; the header map is warm.
func BenchmarkInject(b *testing.B) {
	for _, peer := range propagationPeers {
		b.Run(peer.name, func(b *testing.B) {
			p := peer.new()
			ctx, c := inSpan(p), propagation.HeaderCarrier{}
			b.ReportAllocs()
			for b.Loop() {
				p.Inject(ctx, c)
			}
		})
	}
}

// TestPropagationParity: both peers read the same and send the same on, but for
// the order of tags; the span's tracestate goes with it, and what is put into it.
func TestPropagationParity(t *testing.T) {
	sent := map[string]map[string]string{}
	for _, peer := range propagationPeers[:2] {
		p := peer.new()
		out := http.Header{}
		ctx := inSpan(p)
		sc := trace.SpanContextFromContext(ctx)
		ts, err := sc.TraceState().Insert("rojo", "00f067aa0ba902b7")
		if err != nil || ts.Get("congo") != "t61rcWkgMzE" || !sc.IsSampled() {
			t.Errorf("%s: tracestate %q, %v, flags %v", peer.name, ts, err, sc.TraceFlags())
		}
		p.Inject(trace.ContextWithSpanContext(ctx, sc.WithTraceState(ts)), propagation.HeaderCarrier(out))
		if got := out.Get("tracestate"); !strings.HasSuffix(got, ",rojo=00f067aa0ba902b7,congo=t61rcWkgMzE") {
			t.Errorf("%s: sent tracestate %q, want both vendors", peer.name, got)
		}
		p.Inject(ctx, propagation.HeaderCarrier(out))
		m := map[string]string{}
		for k := range out {
			m[k] = sorted(sorted(out.Get(k), ","), ";")
		}
		sent[peer.name] = m
	}
	if diff := cmp.Diff(sent["dd-trace-go"], sent["kumihimo"]); diff != "" {
		t.Errorf("-dd-trace-go +kumihimo:\n%s", diff)
	}
	if n := len(slices.Collect(maps.Keys(sent["kumihimo"]))); n != 7 {
		t.Errorf("%d headers, want 7: %v", n, sent["kumihimo"])
	}
}

func sorted(list, sep string) string {
	parts := strings.Split(list, sep)
	slices.Sort(parts)
	return strings.Join(parts, sep)
}

// BenchmarkSampler is what a root span's decision takes, state included,
// without rules and with them; the SDK's sampler is there for the scale.
func BenchmarkSampler(b *testing.B) {
	rate := 0.5
	for _, peer := range []struct {
		name    string
		sampler sdktrace.Sampler
	}{
		{"kumihimo", tracing.NewSampler(tracing.SamplerOptions{})},
		{"kumihimo-rules", tracing.NewSampler(tracing.SamplerOptions{Rate: &rate, Rules: []tracing.SamplingRule{{Resource: "GET /health*"}, {Service: "other", Rate: 1}}})},
		{"otel-parentbased-ratio", sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.5))},
	} {
		b.Run(peer.name, func(b *testing.B) {
			p := sdktrace.SamplingParameters{
				TraceID: trace.TraceID{15: 42}, Name: "GET /users/{id}", Kind: trace.SpanKindServer,
				Attributes: []attribute.KeyValue{attribute.String("http.request.method", "GET"), attribute.String("url.path", "/users/7")},
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx, state := obsctx.NewTrace(b.Context()) // what a provider makes at a root
				state.ID = p.TraceID
				p.ParentContext = ctx
				peer.sampler.ShouldSample(p)
			}
		})
	}
}
