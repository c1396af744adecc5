package tracing

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// front is what Google's front end writes: a span of its own, not sampled.
const front = "traceparent: 00-" + idA + "-00000000000000ff-00\nx-cloud-trace-context: " + idA + "/255\n"

func TestIngress(t *testing.T) {
	t.Parallel()
	ddSame := ddA + "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + "\n"
	kept := taken{Span: fullA, Decision: "2/-1", Sampled: true, Last: "00f067aa0ba902b7"}
	rootless := taken{Span: idA + "/0000000000000000"}
	with := func(v taken, f func(*taken)) taken { f(&v); return v }
	tests := []struct {
		name, headers string
		opts          PropagatorOptions
		want          taken
	}{
		{"the front end alone", front, PropagatorOptions{}, rootless},
		{"the front end's flag decides nothing", "traceparent: 00-" + idA + "-00000000000000ff-01", PropagatorOptions{}, rootless},
		{"the older header", "x-cloud-trace-context: " + idA + "/255;o=1", PropagatorOptions{}, rootless},
		{"the older header without a span", "x-cloud-trace-context: " + idA + ";o=0", PropagatorOptions{}, rootless},
		{"the older header beside a malformed traceparent", "traceparent: 00-" + idA + "-00000000000000ff-zz\nx-cloud-trace-context: 0b000000000000000000000000000000/1", PropagatorOptions{Extract: []string{"datadog"}},
			taken{Span: "0b000000000000000000000000000000/0000000000000000"}},
		{"malformed", "x-cloud-trace-context: " + idA[:30] + "/255", PropagatorOptions{}, taken{}},
		{"nothing", "accept: */*", PropagatorOptions{}, taken{}},
		{"Datadog's headers win", ddSame + front + "tracestate: dd=s:0;p:000000000000000c,congo=1", PropagatorOptions{},
			with(kept, func(v *taken) { v.State = "congo=1" })},
		{"Datadog's trace is another", ddA + "x-datadog-sampling-priority: 2\n" + front, PropagatorOptions{},
			with(kept, func(v *taken) { v.Span, v.FrontEnd = idLow+"/00f067aa0ba902b7", idA })},
		{"Datadog's headers alone", ddSame, PropagatorOptions{}, kept},
		{"synthetics", "x-datadog-trace-id: 1\nx-datadog-parent-id: 0\nx-datadog-origin: synthetics\n" + front, PropagatorOptions{},
			taken{Span: "00000000000000000000000000000001/0000000000000000", Origin: "synthetics", FrontEnd: idA}},
		{"the parent in tracestate", front + "tracestate: congo=1,dd=s:2;p:00f067aa0ba902b7;t.dm:-4;t.a:1", PropagatorOptions{},
			taken{Span: fullA, Decision: "2/4", Sampled: true, Last: "00f067aa0ba902b7", Tags: "_dd.p.a=1", State: "congo=1"}},
		{"and its decision against the front end's flag", "traceparent: 00-" + idA + "-00000000000000ff-01\ntracestate: dd=s:-1;p:00f067aa0ba902b7", PropagatorOptions{},
			taken{Span: fullA, Decision: "-1/-1", Last: "00f067aa0ba902b7"}},
		{"tracestate without a decision", front + "tracestate: dd=p:00f067aa0ba902b7", PropagatorOptions{},
			taken{Span: fullA, Last: "00f067aa0ba902b7"}},
		{"tracestate without a parent", front + "tracestate: dd=s:2;o:rum,congo=1", PropagatorOptions{},
			with(rootless, func(v *taken) { v.Decision, v.Sampled, v.Origin, v.State = "2/-1", true, "rum", "congo=1" })},
		{"tracestate of others", front + "tracestate: congo=1", PropagatorOptions{}, with(rootless, func(v *taken) { v.State = "congo=1" })},
		{"without tracecontext", front + "tracestate: dd=s:2;p:00f067aa0ba902b7", PropagatorOptions{Extract: []string{"datadog"}}, rootless},
		{"b3", "b3: " + idA + "-00f067aa0ba902b7-1\n" + front, PropagatorOptions{Extract: []string{"b3", "tracecontext"}},
			taken{Span: fullA, Decision: "1/-1", Sampled: true}},
		{"no style", ddSame + front, PropagatorOptions{Extract: []string{"none"}}, taken{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := NewIngress(NewPropagator(tt.opts))
			got := takenFrom(t, p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The front end's trace id reaches the span and the logs, and the decision is
// ours.
func TestIngressRoot(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	in := NewIngress(NewPropagator(PropagatorOptions{})).Extract(t.Context(), propagation.HeaderCarrier(headers(front+"baggage: a=1")))
	ctx, span := tr.Start(in, "root")
	span.End()
	got := o.Ended()[0]
	if got.SpanContext().TraceID() != traceA || got.Parent().IsValid() || !got.SpanContext().IsSampled() || o.starts["root"].decision != auto {
		t.Errorf("got span %v under %v, decision %+v, want a sampled root in %s", got.SpanContext(), got.Parent(), o.starts["root"].decision, traceA)
	}
	if baggage.FromContext(ctx).Member("a").Value() != "1" {
		t.Error("the baggage is missing")
	}
}

func TestIngressAroundAnotherPropagator(t *testing.T) {
	t.Parallel()
	foreign := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	p := NewIngress(foreign)
	in := p.Extract(t.Context(), propagation.HeaderCarrier(headers(front+"tracestate: dd=s:2;p:00f067aa0ba902b7\nbaggage: a=1\nbaggage: b=2")))
	want := taken{Span: fullA, Decision: "2/-1", Sampled: true, Last: "00f067aa0ba902b7"}
	if diff := cmp.Diff(want, takenFrom(t, in)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := baggage.FromContext(in).Len(); n != 2 {
		t.Errorf("got %d members of baggage, want 2", n)
	}
	out := propagation.MapCarrier{}
	p.Inject(in, out)
	if got, want := out["traceparent"], "00-"+idA+"-00f067aa0ba902b7-01"; got != want {
		t.Errorf("injected %q, want the wrapped propagator's %q", got, want)
	}

	b3 := NewIngress(wrapped{NewPropagator(PropagatorOptions{Extract: []string{"b3"}})})
	in = b3.Extract(t.Context(), propagation.MapCarrier{"b3": "0b000000000000000000000000000000-0b00000000000000-1", "traceparent": "00-" + idA + "-00000000000000ff-00"})
	if got := trace.SpanContextFromContext(in); got.TraceID() != traceB || obsctx.TraceFrom(in).ID != traceB {
		t.Errorf("got %v, want the trace the wrapped propagator found", got)
	}
}

// wrapped is a propagator whose type is not ours.
type wrapped struct{ propagation.TextMapPropagator }
