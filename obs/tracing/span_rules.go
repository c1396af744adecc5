package tracing

import (
	"context"
	"encoding/binary"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// withSpanRules returns next behind the sampler's rules for single spans, if
// it has any.
func withSpanRules(s *sampler, next []sdktrace.SpanProcessor) []sdktrace.SpanProcessor {
	if s == nil || len(s.spanRules) == 0 {
		return next
	}
	return []sdktrace.SpanProcessor{&spanRules{sampler: s, next: next}}
}

// spanRules hands ended spans that a rule has chosen to other processors as
// obsctx.SingleSpan. It does so whatever the trace's decision is: that may
// change until the trace leaves the process, and only the processor that sends
// it there knows when.
type spanRules struct {
	sampler *sampler
	next    []sdktrace.SpanProcessor
}

func (p *spanRules) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	for _, sp := range p.next {
		sp.OnStart(ctx, s)
	}
}

func (p *spanRules) OnEnd(s sdktrace.ReadOnlySpan) {
	s = p.sampler.single(s)
	for _, sp := range p.next {
		sp.OnEnd(s)
	}
}

// Shutdown and ForceFlush are those of whoever made the processors behind.
func (p *spanRules) Shutdown(context.Context) error { return nil }

func (p *spanRules) ForceFlush(ctx context.Context) (first error) {
	for _, sp := range p.next {
		if err := sp.ForceFlush(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// single returns span as an obsctx.SingleSpan if the first rule it matches
// chooses it.
func (s *sampler) single(span sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	sub := s.subject(span.SpanKind(), span.Name(), span.Attributes(), span.Resource())
	for _, r := range s.spanRules {
		if !r.matches(&sub) {
			continue
		}
		id := span.SpanContext().SpanID()
		if !keeps(r.rate, binary.BigEndian.Uint64(id[:])) {
			return span
		}
		return &singleSpan{span, r}
	}
	return span
}

type singleSpan struct {
	sdktrace.ReadOnlySpan
	rule *rule
}

var _ obsctx.SingleSpan = (*singleSpan)(nil)

func (s *singleSpan) Single() obsctx.Single { return s.rule.single }
