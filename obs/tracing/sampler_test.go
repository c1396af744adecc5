package tracing

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func TestKnuthHash(t *testing.T) {
	t.Parallel()
	// id * 1111111111111111111 mod 2^64, as a share of 2^64.
	tests := []struct {
		id   uint64
		rate float64
		want bool
	}{
		{0, 0, true},
		{1, 0.0602, false},
		{1, 0.0603, true},
		{10, 0.602, false},
		{10, 0.603, true},
		{100, 0.0233, false},
		{100, 0.0234, true},
		{math.MaxUint64, 0.9397, false},
		{math.MaxUint64, 0.9398, true},
		{math.MaxUint64, 1, true},
	}
	for _, tt := range tests {
		if got := keeps(tt.rate, tt.id); got != tt.want {
			t.Errorf("id %d at rate %v (hash %.5f): kept %v, want %v", tt.id, tt.rate, float64(tt.id*knuth)/math.MaxUint64, got, tt.want)
		}
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	zero, one, beyond, nan := 0.0, 1.0, 7.0, math.NaN()
	rule := func(priority int) obsctx.Decision {
		return obsctx.Decision{Priority: priority, Mechanism: obsctx.MechanismRule}
	}
	rates := func(rate, limit float64, tag string) *obsctx.Rates {
		return &obsctx.Rates{Rate: rate, Limit: limit, Tag: tag}
	}
	tests := []struct {
		name     string
		rate     *float64
		upstream *obsctx.Decision
		tags     string

		want     obsctx.Decision
		result   sdktrace.SamplingDecision
		rates    *obsctx.Rates
		wantTags string
	}{
		{"no rate", nil, nil, "", auto, sdktrace.RecordAndSample, nil, ""},
		{"rate 0", &zero, nil, "", rule(-1), sdktrace.RecordOnly, rates(0, -1, "_dd.p.ksr=0"), ""},
		{"rate 1", &one, nil, "_dd.p.a=b", rule(2), sdktrace.RecordAndSample, rates(1, 1, "_dd.p.ksr=1"), "_dd.p.a=b"},
		{"an undecided trace's old rate", &one, nil, "_dd.p.ksr=0.5,_dd.p.a=b", rule(2), sdktrace.RecordAndSample, rates(1, 1, "_dd.p.ksr=1"), "_dd.p.a=b"},
		{"rate beyond 1", &beyond, nil, "", rule(2), sdktrace.RecordAndSample, rates(1, 1, "_dd.p.ksr=1"), ""},
		{"no number", &nan, nil, "", rule(2), sdktrace.RecordAndSample, rates(1, 1, "_dd.p.ksr=1"), ""},
		{"upstream kept", &zero, &keep, "", keep, sdktrace.RecordAndSample, nil, ""},
		{"upstream refused", &one, &refused, "_dd.p.a=b", refused, sdktrace.RecordOnly, nil, "_dd.p.a=b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := &obsctx.Trace{ID: traceA, Tags: tt.tags}
			if tt.upstream != nil {
				state.Init(*tt.upstream)
			}
			ts, _ := trace.ParseTraceState("congo=1")
			ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceA, SpanID: spanA, TraceState: ts}))
			r := NewSampler(SamplerOptions{Rate: tt.rate}).ShouldSample(sdktrace.SamplingParameters{
				ParentContext: obsctx.WithTrace(ctx, state), TraceID: traceA,
			})
			d, ok := state.Decision()
			if diff := cmp.Diff(tt.rates, d.Rates); diff != "" {
				t.Errorf("rates: -want +got:\n%s", diff)
			}
			d.Rates = nil
			if !ok || d != tt.want || r.Decision != tt.result || state.Tags != tt.wantTags {
				t.Errorf("got %+v (%v), %v, tags %q, want %+v, %v, %q", d, ok, r.Decision, state.Tags, tt.want, tt.result, tt.wantTags)
			}
			if got := r.Tracestate.String(); got != "congo=1" {
				t.Errorf("got tracestate %q, want the parent's", got)
			}
		})
	}
}

// A provider that knows no states may have the sampler too.
func TestSamplerWithoutState(t *testing.T) {
	t.Parallel()
	s := NewSampler(SamplerOptions{})
	for _, tt := range []struct {
		name   string
		parent trace.SpanContextConfig
		want   sdktrace.SamplingDecision
	}{
		{"root", trace.SpanContextConfig{}, sdktrace.RecordAndSample},
		{"sampled parent", trace.SpanContextConfig{TraceID: traceA, SpanID: spanA, TraceFlags: 1}, sdktrace.RecordAndSample},
		{"parent not sampled", trace.SpanContextConfig{TraceID: traceA, SpanID: spanA}, sdktrace.RecordOnly},
	} {
		ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(tt.parent))
		if got := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: traceA}).Decision; got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	in, up := remote(t.Context(), traceA, spanA, nil)
	got := s.ShouldSample(sdktrace.SamplingParameters{ParentContext: in, TraceID: traceA}).Decision
	if _, decided := up.Decision(); got != sdktrace.RecordAndSample || decided {
		t.Errorf("undecided upstream: got %v, want it sampled, and the Remote state untouched", got)
	}
}

// Of 100,000 traces with ids of ours the share kept is the rate, to within
// five standard deviations: a false alarm in some 1.7 million runs.
func TestSamplerKeepsItsShare(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, rate := range []float64{0.001, 0.1, 0.5, 0.9} {
		kept := 0
		for range n {
			id, _ := idGenerator{}.NewIDs(t.Context())
			if keeps(rate, binary.BigEndian.Uint64(id[8:])) {
				kept++
			}
		}
		bound := 5 * math.Sqrt(n*rate*(1-rate))
		if diff := math.Abs(float64(kept) - n*rate); diff > bound {
			t.Errorf("rate %v: kept %d of %d, want %v ± %.0f", rate, kept, n, n*rate, bound)
		}
	}
}

// Services with different rates keep nested sets of traces.
func TestSamplerIsMonotone(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		id, low, high := rand.Uint64(), rand.Float64(), rand.Float64()
		if low > high {
			low, high = high, low
		}
		if keeps(low, id) && !keeps(high, id) {
			t.Fatalf("id %d is kept at rate %v and not at %v", id, low, high)
		}
	}
}

func TestAnothersSampler(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		sampler  sdktrace.Sampler
		upstream *obsctx.Decision
		want     obsctx.Decision
		recorded bool
	}{
		{"always", sdktrace.AlwaysSample(), nil, auto, true},
		{"never", sdktrace.NeverSample(), nil, obsctx.Decision{Priority: 0, Mechanism: obsctx.MechanismDefault}, false},
		{"record only", sdktrace.AlwaysRecord(sdktrace.NeverSample()), nil, obsctx.Decision{Priority: 0, Mechanism: obsctx.MechanismDefault}, true},
		{"upstream stands", sdktrace.AlwaysSample(), &refused, refused, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, tr, _ := observed(Options{Sampler: tt.sampler})
			in, _ := remote(t.Context(), traceA, spanA, tt.upstream)
			ctx, span := tr.Start(in, "root")
			if d, ok := obsctx.TraceFrom(ctx).Decision(); !ok || d != tt.want || span.IsRecording() != tt.recorded {
				t.Errorf("got %+v (%v), recording %v, want %+v, %v", d, ok, span.IsRecording(), tt.want, tt.recorded)
			}
		})
	}
}

func TestSamplerDescription(t *testing.T) {
	t.Parallel()
	rate := 0.25
	got := []string{
		NewSampler(SamplerOptions{}).Description(), NewSampler(SamplerOptions{Rate: &rate}).Description(),
		NewSampler(SamplerOptions{Rate: &rate, Rules: make([]SamplingRule, 2)}).Description(),
	}
	if diff := cmp.Diff([]string{"Datadog{}", "Datadog{rate:0.25}", "Datadog{rules:2,rate:0.25}"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFormatKSR(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]string{0: "0", 1: "1", 0.5: "0.5", 0.1234567: "0.123457", 0.00000001: "0", 1.0 / 3: "0.333333"} {
		if got := formatKSR(rate); got != want {
			t.Errorf("formatKSR(%v) = %q, want %q", rate, got, want)
		}
	}
}
