package tracing

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// tagKSR is the rate a trace was decided by, among the propagated tags.
const tagKSR = tagPrefix + "ksr"

// defaultLimit is how many traces a second rules and rate keep at most, as in
// Datadog's tracers.
const defaultLimit = 100

// SamplerOptions says what a sampler keeps.
type SamplerOptions struct {
	// Service and Env are what rules and the agent's rates go by.
	Service, Env string

	// Rules decide traces that come without a decision; the first that
	// matches the local root counts.
	Rules []SamplingRule

	// Rate is the share of traces to keep, from 0 to 1, of those no rule
	// matches. Nil leaves them to the agent's rates.
	Rate *float64

	// RateLimit is how many traces a second Rules and Rate keep at most. Nil
	// is 100.
	RateLimit *float64

	// SpanRules keep single spans of traces that are not kept. They need a
	// [Provider] and, as the processor that sends the spans, ddagent's.
	SpanRules []SamplingRule

	// AgentRate returns the share the agent wants of a service's traces.
	// Where it has none, or AgentRate is nil, all are kept and the agent
	// chooses.
	AgentRate func(service, env string) (rate float64, ok bool)

	// Names says by which names the backend knows a span, for rules to go by;
	// no service means Service. Nil: both names are the span's.
	Names func(kind trace.SpanKind, name string, attrs []attribute.KeyValue) (service, operation, resource string)
}

// NewSampler returns Datadog's sampler: a trace is decided once, by the
// service it begins in, and the decision is followed everywhere. Spans of
// traces that are not kept are recorded all the same, so that an agent counts
// them among hits and errors; only their sampled flag is off.
//
// Traces are chosen by their id as all of Datadog's tracers choose, so that
// services with the same rate keep the same ones.
//
// What a rule goes by may change while the local root is open: its name, its
// resource, its tags. Such rules decide for the time being when it starts,
// and for good when the trace first leaves the process, in a header or to the
// agent. For that the sampler needs a [Provider].
func NewSampler(opts SamplerOptions) sdktrace.Sampler {
	s := &sampler{
		service: opts.Service, env: opts.Env, agentRate: opts.AgentRate, names: opts.Names,
		rules: compileRules(opts.Rules), spanRules: compileRules(opts.SpanRules),
	}
	if opts.Rate != nil {
		s.rate = newRates(share(*opts.Rate))
	}
	limit := float64(defaultLimit)
	if opts.RateLimit != nil {
		limit = max(*opts.RateLimit, 0)
	}
	if s.rate != nil || len(s.rules) > 0 {
		s.limiter = newLimiter(limit)
	}
	return s
}

// formatKSR prints a rate with six decimals at most.
func formatKSR(rate float64) string {
	s := strconv.FormatFloat(rate, 'f', 6, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

type sampler struct {
	service, env     string
	rules, spanRules []*rule
	rate             *obsctx.Rates // nil: none
	limiter          *limiter      // of rules and rate
	agentRate        func(service, env string) (float64, bool)
	names            func(trace.SpanKind, string, []attribute.KeyValue) (service, operation, resource string)

	agent atomic.Pointer[obsctx.Rates] // the agent's rate last seen
}

func (s *sampler) Description() string {
	var parts []string
	if len(s.rules) > 0 {
		parts = append(parts, "rules:"+strconv.Itoa(len(s.rules)))
	}
	if s.rate != nil {
		parts = append(parts, "rate:"+strconv.FormatFloat(s.rate.Rate, 'g', -1, 64))
	}
	return "Datadog{" + strings.Join(parts, ",") + "}"
}

// ShouldSample follows the decision of the trace's state, which it makes if
// there is none. It is called for every span.
func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	r := sdktrace.SamplingResult{Tracestate: parent.TraceState(), Decision: sdktrace.RecordOnly}
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
	own := state != nil && !state.Remote // a Remote one is another provider's to read
	if own && state.Starting != nil {
		p.Attributes = state.Starting
	}
	if !decided {
		var pending bool
		if d, pending = s.begin(&p); own {
			s.publish(state, d, pending)
		}
	}
	if m, ok := manual(p.Attributes); ok && m != d {
		if d = m; own {
			state.Decide(d)
		}
	}
	if d.Priority > 0 {
		r.Decision = sdktrace.RecordAndSample
	}
	return r
}

// publish makes d the decision of a state that no one else has yet.
func (s *sampler) publish(state *obsctx.Trace, d obsctx.Decision, pending bool) {
	state.Init(d)
	if d.Rates != nil {
		state.Tags = without(state.Tags, tagKSR)
	}
	if pending {
		state.Pending = &obsctx.Pending{}
	}
}

// begin decides a trace at its start. The decision is pending if it went by
// what may still change.
func (s *sampler) begin(p *sdktrace.SamplingParameters) (d obsctx.Decision, pending bool) {
	if len(s.rules) == 0 {
		return s.decide(p.TraceID, nil), false
	}
	sub := s.subject(p.Kind, p.Name, p.Attributes, nil)
	r, changeable := s.match(&sub)
	if !changeable {
		return s.decide(p.TraceID, r), false
	}
	// The limit is asked once, when the decision is final.
	rates := s.ratesOf(r)
	if rates == nil {
		return s.decide(p.TraceID, r), true
	}
	return byRule(keeps(rates.Rate, low(p.TraceID)), rates), true
}

// settle decides a trace by its local root as that is now.
func (s *sampler) settle(id trace.TraceID, root sdktrace.ReadOnlySpan) obsctx.Decision {
	sub := s.subject(root.SpanKind(), root.Name(), root.Attributes(), root.Resource())
	r, _ := s.match(&sub)
	return s.decide(id, r)
}

func (s *sampler) subject(kind trace.SpanKind, name string, attrs []attribute.KeyValue, res *resource.Resource) subject {
	sub := subject{service: s.service, name: name, resource: name, attrs: attrs, resourceAttrs: res.Attributes()}
	if s.names != nil {
		var service string
		if service, sub.name, sub.resource = s.names(kind, name, attrs); service != "" {
			sub.service = service
		}
	}
	return sub
}

// match returns the first rule that matches, or nil, and whether that may
// change.
func (s *sampler) match(sub *subject) (found *rule, changeable bool) {
	for _, r := range s.rules {
		changeable = changeable || r.changeable()
		if r.matches(sub) {
			return r, changeable
		}
	}
	return nil, changeable
}

// ratesOf returns those of a rule, without one the sampler's own, or nil.
func (s *sampler) ratesOf(r *rule) *obsctx.Rates {
	if r != nil {
		return r.rates
	}
	return s.rate
}

func (s *sampler) decide(id trace.TraceID, r *rule) obsctx.Decision {
	rates := s.ratesOf(r)
	if rates == nil {
		return s.decideByAgent(id)
	}
	if !keeps(rates.Rate, low(id)) {
		return byRule(false, rates)
	}
	now := time.Now()
	if r != nil && r.limiter != nil {
		if ok, share := r.limiter.allow(now); !ok {
			return byRule(false, limited(rates, share))
		}
	}
	ok, share := s.limiter.allow(now)
	return byRule(ok, limited(rates, share))
}

// limited returns rates with the share a limit has let through.
func limited(rates *obsctx.Rates, share float64) *obsctx.Rates {
	return &obsctx.Rates{Rate: rates.Rate, Limit: share, Tag: rates.Tag}
}

func byRule(keep bool, rates *obsctx.Rates) obsctx.Decision {
	d := obsctx.Decision{Priority: ext.PriorityUserReject, Mechanism: obsctx.MechanismRule, Rates: rates}
	if keep {
		d.Priority = ext.PriorityUserKeep
	}
	return d
}

func (s *sampler) decideByAgent(id trace.TraceID) obsctx.Decision {
	d := obsctx.Decision{Priority: ext.PriorityAutoKeep, Mechanism: obsctx.MechanismDefault}
	if s.agentRate == nil {
		return d
	}
	rate, ok := s.agentRate(s.service, s.env)
	if !ok {
		return d
	}
	d.Mechanism = obsctx.MechanismAgent
	if d.Rates = s.agent.Load(); d.Rates == nil || d.Rates.Rate != rate {
		d.Rates = newRates(share(rate))
		s.agent.Store(d.Rates)
	}
	if !keeps(d.Rates.Rate, low(id)) {
		d.Priority = ext.PriorityAutoReject
	}
	return d
}

// manual returns what a raw manual.keep or manual.drop attribute asks for, the
// last of them.
func manual(attrs []attribute.KeyValue) (d obsctx.Decision, ok bool) {
	for i := range attrs {
		key := attrs[i].Key
		if len(key) != len(ext.ManualKeep) || !truth(attrs[i].Value) {
			continue
		}
		switch key {
		case ext.ManualKeep:
			d, ok = obsctx.Decision{Priority: ext.PriorityUserKeep, Mechanism: obsctx.MechanismManual}, true
		case ext.ManualDrop:
			d, ok = obsctx.Decision{Priority: ext.PriorityUserReject, Mechanism: obsctx.MechanismManual}, true
		}
	}
	return d, ok
}

// truth reads a switch as the exporter does at a span's end.
func truth(v attribute.Value) bool {
	switch v.Type() {
	case attribute.BOOL:
		return v.AsBool()
	case attribute.INT64:
		return v.AsInt64() == 1
	case attribute.STRING:
		b, err := strconv.ParseBool(v.AsString())
		return err == nil && b
	}
	return false
}

func low(id trace.TraceID) uint64 { return binary.BigEndian.Uint64(id[8:]) }

// knuth is the multiplier of Datadog's hash of trace ids.
const knuth = 1111111111111111111

func keeps(rate float64, traceIDLow uint64) bool {
	return rate >= 1 || traceIDLow*knuth <= uint64(rate*math.MaxUint64)
}

// without returns a list of tags without the one of key.
func without(tags, key string) string {
	if !strings.Contains(tags, key+"=") {
		return tags
	}
	var kept []string
	for tag := range strings.SplitSeq(tags, ",") {
		if k, _, _ := strings.Cut(tag, "="); k != key {
			kept = append(kept, tag)
		}
	}
	return strings.Join(kept, ",")
}
