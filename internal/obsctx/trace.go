// Package obsctx holds what the parts of kumihimo hand each other through a
// context: the state of a trace, the fields of a context, the pipeline both
// belong to, and the mark that keeps telemetry from tracing itself.
//
// Read trace.go first, then pipeline.go and fields.go. The package is a leaf:
// it imports OpenTelemetry's API and internal/redact, nothing else of ours.
package obsctx

import (
	"context"
	"errors"
	"sync/atomic"

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
	// in the order they came, without _dd.p.tid and _dd.p.dm.
	Tags string

	// LastParent is the id of the last span upstream that Datadog has seen
	// (_dd.parent_id); zero if unknown.
	LastParent trace.SpanID

	// FrontEnd is the trace id of the platform's own request log where that
	// differs from ID; zero otherwise.
	FrontEnd trace.TraceID

	// Links are the contexts that extraction terminated; they become links of
	// the local root.
	Links []trace.Link

	// Pipeline made the local root; nil while Remote.
	Pipeline *Pipeline

	decision  atomic.Pointer[Decision]
	first     Decision // storage of the first decision, so that it costs no allocation
	lastError atomic.Pointer[error]
}

// Decision is a sampling decision in Datadog's terms.
type Decision struct {
	Priority  int       // -1 user reject, 0 auto reject, 1 auto keep, 2 user keep
	Mechanism Mechanism // who decided
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

type traceKey struct{}

// WithTrace returns a context that carries t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom returns the trace state of ctx, or nil.
func TraceFrom(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// FirstSight reports whether err is new to the trace: not the error last seen,
// nor one that wraps it. An error on its way up through nested spans is so
// recognised at each of them.
func (t *Trace) FirstSight(err error) (first bool) {
	// Errors that cannot be compared, and Is methods, may panic.
	defer func() {
		if recover() != nil {
			first = true
		}
	}()
	last := t.lastError.Swap(&err)
	return last == nil || !errors.Is(err, *last)
}
