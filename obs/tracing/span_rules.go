package tracing

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// What tells the agent to keep a single span of a trace that is not kept.
const (
	keySpanMechanism = attribute.Key("_dd.span_sampling.mechanism")
	keySpanRate      = attribute.Key("_dd.span_sampling.rule_rate")
	keySpanMax       = attribute.Key("_dd.span_sampling.max_per_second")

	mechanismSingleSpan = 8
)

// withSpanRules returns next behind the sampler's rules for single spans, if
// it has any.
func withSpanRules(s *sampler, next []sdktrace.SpanProcessor) []sdktrace.SpanProcessor {
	if s == nil || len(s.spanRules) == 0 {
		return next
	}
	return []sdktrace.SpanProcessor{&spanRules{sampler: s, next: next}}
}

// spanRules marks spans before other processors see their end. By then a span
// can no longer be written to, so they see it through a wrapper. It goes by the
// decision of that time: the exporter takes the marks off a trace that is kept
// after all.
type spanRules struct {
	sampler *sampler
	next    []sdktrace.SpanProcessor
	states  sync.Map // of *obsctx.Trace, by the spanKey of open spans: OnEnd has no context
}

type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

func keyOf(s sdktrace.ReadOnlySpan) spanKey {
	sc := s.SpanContext()
	return spanKey{sc.TraceID(), sc.SpanID()}
}

func (p *spanRules) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	key := keyOf(s)
	if state := obsctx.TraceFrom(ctx); state != nil && state.ID == key.trace {
		p.states.Store(key, state)
	}
	for _, sp := range p.next {
		sp.OnStart(ctx, s)
	}
}

func (p *spanRules) OnEnd(s sdktrace.ReadOnlySpan) {
	kept := s.SpanContext().IsSampled()
	if state, ok := p.states.LoadAndDelete(keyOf(s)); ok {
		d, _ := state.(*obsctx.Trace).Decision()
		kept = d.Priority > 0
	}
	if !kept {
		s = p.sampler.single(s)
	}
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

// single returns s with the mark of the first rule it matches, if that keeps
// it.
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
		attrs := []attribute.KeyValue{keySpanMechanism.Int(mechanismSingleSpan), keySpanRate.Float64(r.rate)}
		if r.limiter != nil {
			if ok, _ := r.limiter.allow(time.Now()); !ok {
				return span
			}
			attrs = append(attrs, keySpanMax.Float64(r.max))
		}
		return &markedSpan{span, append(slices.Clip(span.Attributes()), attrs...)}
	}
	return span
}

// markedSpan is an ended span with more attributes.
type markedSpan struct {
	sdktrace.ReadOnlySpan
	attrs []attribute.KeyValue
}

func (s *markedSpan) Attributes() []attribute.KeyValue { return s.attrs }
