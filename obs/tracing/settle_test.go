package tracing

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func drop(resource string) SamplingRule { return SamplingRule{Resource: resource} }

// priorityIn is what an inject sends now.
func priorityIn(t *testing.T, p *Provider, s *obsctx.Trace, span trace.Span) string {
	t.Helper()
	c := propagation.MapCarrier{}
	p.pipeline.Propagator.Inject(obsctx.WithTrace(trace.ContextWithSpan(t.Context(), span), s), c)
	return c["x-datadog-sampling-priority"]
}

func TestRulesAreSettledAtTheFirstInject(t *testing.T) {
	t.Parallel()
	p := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rules: []SamplingRule{drop("GET /health*"), {Tags: map[string]string{"tenant": "acme"}, Rate: 0}, {Rate: 1}}})})
	tr := p.Tracer("t")
	tests := []struct {
		name   string
		change func(trace.Span)
		want   string
		late   func(trace.Span) // after the inject
	}{
		{"no change", func(trace.Span) {}, "2", func(s trace.Span) { s.SetName("GET /health") }},
		{"the name", func(s trace.Span) { s.SetName("GET /healthz") }, "-1", func(s trace.Span) { s.SetName("GET /users") }},
		{"a tag", func(s trace.Span) { s.SetAttributes(attribute.String("tenant", "acme")) }, "-1", func(trace.Span) {}},
		{"the end", func(s trace.Span) { s.SetName("GET /health"); s.End(); s.SetName("GET /users") }, "-1", func(trace.Span) {}},
	}
	for _, tt := range tests {
		ctx, span := tr.Start(t.Context(), "GET")
		if !span.SpanContext().IsSampled() {
			t.Errorf("%s: not sampled for the time being", tt.name)
		}
		tt.change(span)
		s := obsctx.TraceFrom(ctx)
		if got := priorityIn(t, p, s, span); got != tt.want {
			t.Errorf("%s: sent priority %q, want %q", tt.name, got, tt.want)
		}
		tt.late(span)
		if got := priorityIn(t, p, s, span); got != tt.want {
			t.Errorf("%s: sent priority %q later, want it locked", tt.name, got)
		}
		_, child := tr.Start(ctx, "child")
		if child.SpanContext().IsSampled() != (tt.want == "2") {
			t.Errorf("%s: a later child is sampled: %v", tt.name, child.SpanContext().IsSampled())
		}
	}
}

func TestKeepOverrulesWhatIsPending(t *testing.T) {
	t.Parallel()
	p := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rules: []SamplingRule{drop("*")}})})
	p2 := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rules: []SamplingRule{drop("a*")}})})
	for _, p := range []*Provider{p, p2} {
		ctx, span := p.Tracer("t").Start(t.Context(), "a")
		s := obsctx.TraceFrom(ctx)
		s.Decide(keep)
		if got := priorityIn(t, p, s, span); got != "2" {
			t.Errorf("sent priority %q, want 2", got)
		}
	}
}

// Rules that go by nothing that changes are settled at once, and upstream's
// decision always is.
func TestWhatIsPending(t *testing.T) {
	t.Parallel()
	one := 1.0
	tests := []struct {
		name string
		opts SamplerOptions
		want bool
	}{
		{"no rules", SamplerOptions{}, false},
		{"a rate", SamplerOptions{Rate: &one}, false},
		{"the service", SamplerOptions{Service: "shop", Rules: []SamplingRule{{Service: "shop"}, drop("x")}}, false},
		{"another service", SamplerOptions{Service: "shop", Rules: []SamplingRule{{Service: "other"}}}, false},
		{"a name that may come", SamplerOptions{Rules: []SamplingRule{drop("x"), {}}}, true},
		{"a name that may go", SamplerOptions{Rules: []SamplingRule{drop("root")}}, true},
	}
	for _, tt := range tests {
		tr := NewProvider(Options{Sampler: NewSampler(tt.opts)}).Tracer("t")
		ctx, _ := tr.Start(t.Context(), "root")
		if got := obsctx.TraceFrom(ctx).Pending != nil; got != tt.want {
			t.Errorf("%s: pending %v, want %v", tt.name, got, tt.want)
		}
		in, _ := remote(t.Context(), traceA, spanA, &auto)
		ctx, _ = tr.Start(in, "root")
		if obsctx.TraceFrom(ctx).Pending != nil {
			t.Errorf("%s: upstream's decision is pending", tt.name)
		}
	}
}

func TestFirstRuleCounts(t *testing.T) {
	t.Parallel()
	zero := 0.0
	opts := SamplerOptions{
		Service: "shop", Rate: &zero,
		Rules: []SamplingRule{{Service: "other", Rate: 1}, {Name: "op.*", Resource: "res", Rate: 1}, {Service: "SHOP", Name: "op.b", Rate: 0.5}, {Service: "third", Rate: 1}},
		Names: func(_ trace.SpanKind, name string, attrs []attribute.KeyValue) (service, operation, resource string) {
			for _, kv := range attrs {
				if kv.Key == "service.name" {
					service = kv.Value.AsString()
				}
			}
			return service, "op." + name, "res"
		},
	}
	tr := NewProvider(Options{Sampler: NewSampler(opts)}).Tracer("t")
	for _, tt := range []struct {
		name  string
		attrs []attribute.KeyValue
		rate  float64
	}{
		{"a", nil, 1},
		{"b", nil, 1},
		{"third", []attribute.KeyValue{attribute.String("service.name", "other")}, 1},
	} {
		ctx, _ := tr.Start(t.Context(), tt.name, trace.WithAttributes(tt.attrs...))
		d, _ := obsctx.TraceFrom(ctx).Settle()
		if d.Rates == nil || d.Rates.Rate != tt.rate || d.Mechanism != obsctx.MechanismRule {
			t.Errorf("%s: got %+v", tt.name, d)
		}
	}
}

func TestManualAttributesAtStart(t *testing.T) {
	t.Parallel()
	zero := 0.0
	p := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rate: &zero})})
	tests := []struct {
		attr attribute.KeyValue
		want obsctx.Decision
	}{
		{attribute.Bool("manual.keep", true), keep},
		{attribute.String("manual.keep", "true"), keep},
		{attribute.Int("manual.keep", 1), keep},
		{attribute.Bool("manual.drop", true), refused},
	}
	for _, tt := range tests {
		ctx, span := p.Tracer("t").Start(t.Context(), "root", trace.WithAttributes(tt.attr))
		if d, _ := obsctx.TraceFrom(ctx).Decision(); d != tt.want || span.SpanContext().IsSampled() != (tt.want == keep) {
			t.Errorf("%v at the root: got %+v, want %+v", tt.attr, d, tt.want)
		}
		ctx, _ = p.Tracer("t").Start(t.Context(), "root")
		ctx, span = p.Tracer("t").Start(ctx, "child", trace.WithAttributes(tt.attr))
		if d, _ := obsctx.TraceFrom(ctx).Decision(); d != tt.want || span.SpanContext().IsSampled() != (tt.want == keep) {
			t.Errorf("%v at a child: got %+v, want %+v", tt.attr, d, tt.want)
		}
	}
	ctx, _ := p.Tracer("t").Start(t.Context(), "root", trace.WithAttributes(attribute.Bool("manual.keep", false), attribute.String("manual.keep", "no"), attribute.Float64("manual.keep", 1)))
	if d, _ := obsctx.TraceFrom(ctx).Decision(); d.Mechanism != obsctx.MechanismRule {
		t.Errorf("what is not true: got %+v", d)
	}
}

func TestAgentRates(t *testing.T) {
	t.Parallel()
	rates := map[string]float64{"shop/prod": 0, "full/prod": 1}
	agentRate := func(service, env string) (float64, bool) {
		r, ok := rates[service+"/"+env]
		return r, ok
	}
	for _, tt := range []struct {
		service string
		want    obsctx.Decision
		tags    string
	}{
		{"shop", obsctx.Decision{Priority: 0, Mechanism: obsctx.MechanismAgent}, "_dd.p.ksr=0"},
		{"full", obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismAgent}, "_dd.p.ksr=1"},
		{"unknown", auto, ""},
	} {
		p := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Service: tt.service, Env: "prod", AgentRate: agentRate})})
		ctx, span := p.Tracer("t").Start(t.Context(), "root")
		d, _ := obsctx.TraceFrom(ctx).Settle()
		tags := d.TagsWith("")
		c := propagation.MapCarrier{}
		p.pipeline.Propagator.Inject(ctx, c)
		if tags != "" && !strings.Contains(c["x-datadog-tags"], tags) {
			t.Errorf("%s: sent %q, want %q in it", tt.service, c["x-datadog-tags"], tags)
		}
		if d.Rates = nil; d != tt.want || tags != tt.tags || span.SpanContext().IsSampled() != (d.Priority > 0) {
			t.Errorf("%s: got %+v, tags %q", tt.service, d, tags)
		}
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	one, limit := 1.0, 5.0
	tr := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rate: &one, RateLimit: &limit})}).Tracer("t")
	kept, share := 0, 0.0
	for range 50 {
		ctx, _ := tr.Start(t.Context(), "root")
		d, _ := obsctx.TraceFrom(ctx).Settle()
		if d.Priority > 0 {
			kept++
		}
		share = d.Rates.Limit
	}
	// Another token comes every 200 ms, and this may be a slow machine.
	if kept < 5 || kept > 25 || share > 0.5 {
		t.Errorf("kept %d of 50, share %v, want 5 or a few more", kept, share)
	}
}

// A limit is asked once a trace, however often the decision is looked at.
func TestLimitIsAskedOnce(t *testing.T) {
	t.Parallel()
	limit := 10.0
	s := NewSampler(SamplerOptions{Rules: []SamplingRule{{Resource: "r*", Rate: 1}}, RateLimit: &limit}).(*sampler)
	p := NewProvider(Options{Sampler: s})
	ctx, span := p.Tracer("t").Start(t.Context(), "root")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { priorityIn(t, p, obsctx.TraceFrom(ctx), span) })
	}
	wg.Wait()
	if s.limiter.seen != 1 {
		t.Errorf("asked %v times, want once", s.limiter.seen)
	}
}

// Through provider and rules the share kept is the rule's rate, to within five
// standard deviations: a false alarm in some 1.7 million runs.
func TestRulesKeepTheirShare(t *testing.T) {
	t.Parallel()
	const n = 20_000
	unlimited := math.Inf(1)
	tr := NewProvider(Options{Sampler: NewSampler(SamplerOptions{
		RateLimit: &unlimited,
		Rules:     []SamplingRule{{Resource: "a", Rate: 0.3}, {Resource: "b", Rate: 0.05}},
	})}).Tracer("t")
	for name, rate := range map[string]float64{"a": 0.3, "b": 0.05} {
		kept := 0.0
		for range n {
			ctx, span := tr.Start(t.Context(), "other")
			span.SetName(name)
			id := span.SpanContext().TraceID()
			d, _ := obsctx.TraceFrom(ctx).Settle()
			if d.Priority > 0 {
				kept++
			}
			if (d.Priority > 0) != keeps(rate, binary.BigEndian.Uint64(id[8:])) {
				t.Fatalf("%s: id %s: got %+v", name, id, d)
			}
		}
		if bound := 5 * math.Sqrt(n*rate*(1-rate)); math.Abs(kept-n*rate) > bound {
			t.Errorf("%s: kept %v of %d, want %v ± %.0f", name, kept, n, n*rate, bound)
		}
	}
}

// Rules for single spans go by the span alone: what becomes of its trace is
// not known yet. Their limits are for the processor to ask.
func TestSpanRules(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	p := NewProvider(Options{
		Sampler: NewSampler(SamplerOptions{Service: "shop", SpanRules: []SamplingRule{
			{Service: "other", Rate: 1},
			{Resource: "query", Rate: 1, MaxPerSecond: 1},
			{Resource: "r*", Rate: 1}, {Resource: "never", Rate: 0}, {Tags: map[string]string{"late": "1"}, Rate: 1},
		}}),
		SpanProcessors: []sdktrace.SpanProcessor{rec},
	})
	for _, name := range []string{"root", "query", "query", "never", "other", "tagged"} {
		_, span := p.Tracer("t").Start(t.Context(), name, trace.WithAttributes(attribute.Int("own", 1)))
		if name == "tagged" {
			span.SetAttributes(attribute.Int("late", 1))
		}
		span.End()
	}
	var got []string
	for _, s := range rec.Ended() {
		text := s.Name()
		if len(s.Attributes()) == 0 || s.Attributes()[0] != attribute.Int("own", 1) {
			t.Errorf("%s: attributes %v", text, s.Attributes())
		}
		if s, ok := s.(obsctx.SingleSpan); ok {
			r := s.Single()
			text += fmt.Sprintf(" rate=%v max=%v", r.Rate, r.Max)
			if r.Allow != nil {
				text += fmt.Sprintf(" allow=%v", r.Allow())
			}
		}
		got = append(got, text)
	}
	want := []string{
		"root rate=1 max=0", "query rate=1 max=1 allow=true", "query rate=1 max=1 allow=false",
		"never", "other", "tagged rate=1 max=0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
