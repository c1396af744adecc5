package tracing

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// What a rate leaves behind: the rate itself on the root, from which Datadog
// computes how many traces the kept ones stand for, and among the propagated
// tags.
const (
	keyRulePSR = attribute.Key("_dd.rule_psr")
	keyKSR     = "_dd.p.ksr"
)

// SamplerOptions says what a sampler keeps.
type SamplerOptions struct {
	// Rate is the share of traces to keep, from 0 to 1, of those that come
	// without a decision. Nil keeps them all and leaves the choice to the
	// agent.
	Rate *float64
}

// NewSampler returns Datadog's sampler: a trace is decided once, by the
// service it begins in, and the decision is followed everywhere. Spans of
// traces that are not kept are recorded all the same, so that an agent counts
// them among hits and errors; only their sampled flag is off.
//
// Traces are chosen by their id as all of Datadog's tracers choose, so that
// services with the same rate keep the same ones.
func NewSampler(opts SamplerOptions) sdktrace.Sampler {
	s := &sampler{}
	if opts.Rate == nil {
		return s
	}
	s.hasRate, s.rate = true, min(max(*opts.Rate, 0), 1)
	if math.IsNaN(s.rate) {
		s.rate = 1
	}
	s.attrs = []attribute.KeyValue{keyRulePSR.Float64(s.rate)}
	s.tag = keyKSR + "=" + formatKSR(s.rate)
	return s
}

// formatKSR prints a rate with six decimals at most.
func formatKSR(rate float64) string {
	s := strconv.FormatFloat(rate, 'f', 6, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

type sampler struct {
	hasRate bool
	rate    float64
	attrs   []attribute.KeyValue // of the root, if there is a rate
	tag     string
}

func (s *sampler) Description() string {
	if !s.hasRate {
		return "Datadog{}"
	}
	return "Datadog{rate:" + strconv.FormatFloat(s.rate, 'g', -1, 64) + "}"
}

// ShouldSample follows the decision of the trace's state, which it makes if
// there is none. It is called for every span.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	r := sdktrace.SamplingResult{Tracestate: parent.TraceState()}
	state := obsctx.TraceFrom(p.ParentContext)
	if state != nil && state.ID != p.TraceID {
		state = nil
	}
	var d obsctx.Decision
	decided := false
	if state != nil {
		d, decided = state.Decision()
	} else if decided = parent.IsValid(); decided && parent.IsSampled() {
		d.Priority = ext.PriorityAutoKeep // all that is known of a stranger's span
	}
	if !decided {
		d = s.decide(p.TraceID)
		r.Attributes = s.attrs
		if state != nil && !state.Remote { // a Remote one is another provider's to read
			state.Init(d)
			state.Tags = join(state.Tags, s.tag)
		}
	}
	r.Decision = sdktrace.RecordOnly
	if d.Priority > 0 {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}

func (s *sampler) decide(id trace.TraceID) obsctx.Decision {
	switch {
	case !s.hasRate:
		return obsctx.Decision{Priority: ext.PriorityAutoKeep, Mechanism: obsctx.MechanismDefault}
	case keeps(s.rate, binary.BigEndian.Uint64(id[8:])):
		return obsctx.Decision{Priority: ext.PriorityUserKeep, Mechanism: obsctx.MechanismRule}
	default:
		return obsctx.Decision{Priority: ext.PriorityUserReject, Mechanism: obsctx.MechanismRule}
	}
}

// knuth is the multiplier of Datadog's hash of trace ids.
const knuth = 1111111111111111111

func keeps(rate float64, traceIDLow uint64) bool {
	return rate >= 1 || traceIDLow*knuth <= uint64(rate*math.MaxUint64)
}

// recorded returns s such that what it decides is written into a trace's
// state.
func recorded(s sdktrace.Sampler) sdktrace.Sampler {
	if own, ok := s.(*sampler); ok {
		return own
	}
	return recordedSampler{s}
}

type recordedSampler struct {
	sdktrace.Sampler
}

func (s recordedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r := s.Sampler.ShouldSample(p)
	state := obsctx.TraceFrom(p.ParentContext)
	if state == nil || state.Remote || state.ID != p.TraceID {
		return r
	}
	if _, decided := state.Decision(); !decided {
		d := obsctx.Decision{Priority: ext.PriorityAutoReject, Mechanism: obsctx.MechanismDefault}
		if r.Decision == sdktrace.RecordAndSample {
			d.Priority = ext.PriorityAutoKeep
		}
		state.Init(d)
	}
	return r
}

// join returns two lists of tags as one.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "," + b
}
