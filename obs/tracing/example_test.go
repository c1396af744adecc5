package tracing_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs/tracing"
)

// A request that another service has decided to keep.
func request() http.Header {
	h := http.Header{}
	h.Set("x-datadog-trace-id", "11803532876627986230")
	h.Set("x-datadog-parent-id", "67667974448284343")
	h.Set("x-datadog-sampling-priority", "2")
	h.Set("x-datadog-tags", "_dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4")
	return h
}

func ExampleNewProvider() {
	recorder := tracetest.NewSpanRecorder()
	provider := tracing.NewProvider(tracing.Options{
		SpanProcessors: []sdktrace.SpanProcessor{recorder}, // in production: ddagent.NewProcessor(…)
	})

	in := tracing.NewPropagator(tracing.PropagatorOptions{}).Extract(context.Background(), propagation.HeaderCarrier(request()))
	ctx, server := provider.Tracer("shop").Start(in, "GET /cart", trace.WithSpanKind(trace.SpanKindServer))
	_, query := provider.Tracer("shop").Start(ctx, "load cart")
	query.End()
	server.End()

	for _, s := range recorder.Ended() {
		fmt.Println(s.Name(), s.SpanContext().TraceID(), s.SpanContext().IsSampled())
	}
	// Output:
	// load cart 4bf92f3577b34da6a3ce929d0e0e4736 true
	// GET /cart 4bf92f3577b34da6a3ce929d0e0e4736 true
}

func ExampleNewPropagator() {
	p := tracing.NewPropagator(tracing.PropagatorOptions{})
	ctx := p.Extract(context.Background(), propagation.HeaderCarrier(request()))

	out := propagation.MapCarrier{}
	p.Inject(ctx, out)
	keys := out.Keys()
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Println(k+":", out[k])
	}
	// Output:
	// traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
	// tracestate: dd=s:2;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6
	// x-datadog-parent-id: 67667974448284343
	// x-datadog-sampling-priority: 2
	// x-datadog-tags: _dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4
	// x-datadog-trace-id: 11803532876627986230
}

// Styles as DD_TRACE_PROPAGATION_STYLE has them.
func ExampleParseStyles() {
	styles, err := tracing.ParseStyles("datadog, B3 single header")
	fmt.Printf("%q %v\n", styles, err)
	_, err = tracing.ParseStyles("jaeger")
	fmt.Println(err)
	// Output:
	// ["datadog" "b3 single header"] <nil>
	// tracing: unknown propagation style "jaeger": want datadog, tracecontext, baggage, b3multi, b3 single header or none
}

func ExampleNewSampler() {
	none := 0.0
	provider := tracing.NewProvider(tracing.Options{Sampler: tracing.NewSampler(tracing.SamplerOptions{Rate: &none})})
	tracer := provider.Tracer("shop")

	_, span := tracer.Start(context.Background(), "a trace of our own")
	fmt.Println("sampled:", span.SpanContext().IsSampled(), "recorded:", span.IsRecording())

	in := tracing.NewPropagator(tracing.PropagatorOptions{}).Extract(context.Background(), propagation.HeaderCarrier(request()))
	_, span = tracer.Start(in, "one that upstream keeps")
	fmt.Println("sampled:", span.SpanContext().IsSampled(), "recorded:", span.IsRecording())
	// Output:
	// sampled: false recorded: true
	// sampled: true recorded: true
}

// On Cloud Run every request has a traceparent of Google's front end. Its trace
// id is worth having, its span is none of ours, and its flag no decision.
func ExampleNewIngress() {
	propagator := tracing.NewPropagator(tracing.PropagatorOptions{})
	ingress := tracing.NewIngress(propagator)
	recorder := tracetest.NewSpanRecorder()
	provider := tracing.NewProvider(tracing.Options{
		SpanProcessors: []sdktrace.SpanProcessor{recorder},
		Propagator:     propagator,
		Ingress:        ingress,
	})

	h := http.Header{}
	h.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ff-00")
	in := ingress.Extract(context.Background(), propagation.HeaderCarrier(h))
	_, span := provider.Tracer("shop").Start(in, "GET /cart")
	span.End()

	root := recorder.Ended()[0]
	fmt.Println("trace:", root.SpanContext().TraceID())
	fmt.Println("root:", !root.Parent().IsValid(), "sampled:", root.SpanContext().IsSampled())
	// Output:
	// trace: 4bf92f3577b34da6a3ce929d0e0e4736
	// root: true sampled: true
}

func ExampleParseSamplingRules() {
	rules, err := tracing.ParseSamplingRules(`[
		{"resource": "GET /healthz", "sample_rate": 0},
		{"service": "shop", "tags": {"tenant": "acme*"}},
		{"sample_rate": 0.1}
	]`)
	fmt.Println(len(rules), err)

	_, err = tracing.ParseSamplingRules(`[{"sample_rate": 1.5}]`)
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// tracing: sampling rules, at byte 2 ("{\"sample_rate\": 1.5}"): sample_rate 1.5: want a number from 0 to 1 (rule 1)
}
