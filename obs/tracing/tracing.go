// Package tracing makes OpenTelemetry spans that think in Datadog's terms: one
// sampling decision a trace, with a priority and who made it, kept beside the
// trace's origin and tags and carried on by every header style in use.
//
//	provider := tracing.NewProvider(tracing.Options{
//		SpanProcessors: []sdktrace.SpanProcessor{processor},
//	})
//	ctx, span := provider.Tracer("shop").Start(ctx, "checkout")
//	defer span.End()
//
// A program has it from package obs, which makes the processor too. By itself it
// is for those who have OpenTelemetry's SDK and want its traces to agree with
// Datadog's tracers.
//
// OpenTelemetry's SDK makes the spans, their attributes and their way to the
// processors aside; all around it is ours, because a SpanContext cannot hold what
// Datadog knows of a trace, and a sampler cannot write to a context. What it
// cannot hold is in one state a local root, which the context carries to the
// sampler, the processors and the propagators.
//
// Read provider.go for how that state comes about, span.go for what is not the
// SDK's of a span, sampler.go and traceid.go for what the SDK asks of it, rules.go,
// glob.go, limiter.go and span_rules.go for what a sampler goes by, recorded.go for
// samplers of others, propagator.go for what leaves a service and how several
// styles agree, style.go, carrier.go and hop.go for the form that has, the
// propagator_*.go files and tracestate.go for each style's headers, and ingress.go
// for Google's front end.
package tracing

import (
	"log/slog"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// Options says what a [Provider] is made of. The zero value records every
// trace for nobody.
type Options struct {
	// Resource describes the service. Nil is the SDK's default.
	Resource *resource.Resource

	// Sampler decides what is kept. Nil is NewSampler(SamplerOptions{}). What
	// another sampler decides for a trace that came without a decision becomes
	// the trace's.
	Sampler sdktrace.Sampler

	// IDGenerator makes the ids. Nil makes them as Datadog's tracers do.
	IDGenerator sdktrace.IDGenerator

	// SpanProcessors see every span. The provider never shuts them down.
	SpanProcessors []sdktrace.SpanProcessor

	// Propagator is the pipeline's way out and, between services of one's own,
	// in. Nil is NewPropagator(PropagatorOptions{}).
	Propagator propagation.TextMapPropagator

	// Ingress is the pipeline's way in through the platform's front end. Nil
	// is Propagator; see [NewIngress].
	Ingress propagation.TextMapPropagator

	// Logger and Redactor are the pipeline's, for instrumentation to take. The
	// fields of a context become attributes less what Redactor hides.
	// Nil is none.
	Logger   *slog.Logger
	Redactor *redact.Redactor

	// Disabled makes no span. The ids of a caller still show in logs and go on
	// with outgoing requests.
	Disabled bool
}

func (o Options) withDefaults() Options {
	if o.Sampler == nil {
		o.Sampler = NewSampler(SamplerOptions{})
	}
	if o.IDGenerator == nil {
		o.IDGenerator = idGenerator{}
	}
	if o.Propagator == nil {
		o.Propagator = NewPropagator(PropagatorOptions{})
	}
	if o.Ingress == nil {
		o.Ingress = o.Propagator
	}
	return o
}
