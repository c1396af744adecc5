// Package obsctx holds what the parts of kumihimo hand each other through a
// context: the state of a trace, the fields of a context, the pipeline both
// belong to, and the mark that keeps telemetry from tracing itself.
//
// Read trace.go first, then pipeline.go and fields.go. The package is a leaf:
// it imports OpenTelemetry's API and internal/redact, nothing else of ours.
package obsctx

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Trace is what Datadog keeps for a trace and an OpenTelemetry SpanContext
// cannot hold. A propagator puts one with Remote set into the context it
// returns; the provider makes another at each local root, before the SDK
// starts the span, and every span below shares that one.
//
// All exported fields are set before the Trace is published and never
// written again, so readers need no lock.
type Trace struct {
	// ID is the trace these facts belong to. A Trace whose ID differs from
	// that of the context's span is stale and must not be used.
	ID trace.TraceID

	// Remote says that no local root has been started yet.
	Remote bool

	// Origin is x-datadog-origin: "synthetics", "rum", …
	Origin string

	// Tags are upstream's propagated tags, "_dd.p.key=value" joined by commas
	// in the order they came, without _dd.p.tid and _dd.p.dm. The decision may
	// have one more, in its Rates.
	Tags string

	// LastParent is the id of the last span upstream that Datadog has seen
	// (_dd.parent_id); zero if unknown.
	LastParent trace.SpanID

	// FrontEnd is the trace id of the platform's own request log where that
	// differs from ID; zero otherwise.
	FrontEnd trace.TraceID

	// Problem says why upstream's propagated tags could not be taken on, in
	// Datadog's words; "" if they were.
	Problem string

	// Links are the contexts that extraction terminated; they become links of
	// the local root.
	Links []trace.Link

	// Pipeline made the local root; nil while Remote.
	Pipeline *Pipeline

	// Starting are the attributes that the local root is being started with, for
	// the sampler to see; nil as soon as it is started.
	Starting []attribute.KeyValue

	// Pending is what may still change the decision; nil if it is final.
	Pending *Pending

	decision  atomic.Pointer[Decision]
	first     Decision // storage of the first decision, so that it costs no allocation
	left      atomic.Bool
	sightings atomic.Pointer[sighting] // the latest first
}

// Decision is a sampling decision in Datadog's terms.
type Decision struct {
	Priority  int       // -1 user reject, 0 auto reject, 1 auto keep, 2 user keep
	Mechanism Mechanism // who decided
	Rates     *Rates    // by which it was decided here; nil if by none
}

// Rates are what Datadog computes from how many traces a kept one stands for.
// They are immutable, and shared by the decisions of a rule.
type Rates struct {
	Rate  float64 // the rule's or, as Mechanism says, the agent's
	Limit float64 // what share of the kept ones a limit let through; negative without one
	Tag   string  // Rate as a propagated tag, "_dd.p.ksr=0.5"
}

// TagsWith returns tags and the one of d.
func (d Decision) TagsWith(tags string) string {
	switch {
	case d.Rates == nil || d.Rates.Tag == "":
		return tags
	case tags == "":
		return d.Rates.Tag
	default:
		return tags + "," + d.Rates.Tag
	}
}

// Pending is a decision that depends on what the local root turns out to be.
type Pending struct {
	// Decide makes the final decision. It is set before the Trace is
	// published.
	Decide func() Decision

	once sync.Once
}

// Mechanism is the N of Datadog's decision maker "_dd.p.dm:-N".
type Mechanism int8

// The mechanisms kumihimo makes or meets. MechanismUnknown stands for a
// priority that came without a decision maker.
const (
	MechanismUnknown Mechanism = -1
	MechanismDefault Mechanism = 0
	MechanismAgent   Mechanism = 1
	MechanismRule    Mechanism = 3
	MechanismManual  Mechanism = 4
)

// Decision returns the trace's sampling decision, and false while there is
// none: the next local root decides.
func (t *Trace) Decision() (Decision, bool) {
	if d := t.decision.Load(); d != nil {
		return *d, true
	}
	return Decision{}, false
}

// Settle returns the decision for good: what leaves by it, in a header or a
// chunk, must not contradict what leaves later. Only [Trace.Decide] changes it
// from then on.
func (t *Trace) Settle() (Decision, bool) {
	if t.Pending != nil {
		t.Pending.once.Do(t.settle)
	}
	return t.Decision()
}

func (t *Trace) settle() {
	first := t.decision.Load()
	if first != &t.first || t.Pending.Decide == nil {
		return // someone has decided since
	}
	d := t.Pending.Decide()
	t.decision.CompareAndSwap(first, &d)
}

// Init sets the first decision without allocating. It is for the maker of t,
// before t is published.
func (t *Trace) Init(d Decision) {
	t.first = d
	t.decision.Store(&t.first)
}

// Decide replaces the decision; later injects and chunks carry the new one.
func (t *Trace) Decide(d Decision) {
	t.decision.Store(&d)
}

// LeaveTags notes that the trace was sent on without its tags, which had no
// room in x-datadog-tags.
func (t *Trace) LeaveTags() {
	if !t.left.Load() { // written once: all requests of a trace share it
		t.left.Store(true)
	}
}

// PropagationError says, in Datadog's words, why tags of the trace are missing,
// here or downstream; "" if none are. As in Datadog's tracers what was left out
// last counts.
func (t *Trace) PropagationError() string {
	if t.left.Load() {
		return "inject_max_size"
	}
	return t.Problem
}

type traceKey struct{}

// WithTrace returns a context that carries t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traceContext is a context and the Trace it carries, in one allocation.
type traceContext struct {
	context.Context
	trace Trace
}

func (c *traceContext) Value(key any) any {
	if key == (traceKey{}) {
		return &c.trace
	}
	return c.Context.Value(key)
}

// NewTrace returns a context that carries a new Trace, for the caller to fill
// before others get the context.
func NewTrace(ctx context.Context) (context.Context, *Trace) {
	c := &traceContext{Context: ctx}
	return c, &c.trace
}

// TraceFrom returns the trace state of ctx, or nil.
func TraceFrom(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}
