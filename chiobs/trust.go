package chiobs

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Trust says what the trace a caller sends is good for.
type Trust int

const (
	// TrustInternal continues the caller's trace, with its sampling decision
	// and its baggage. It is for callers that are services of one's own. Even
	// they force no more than 100 traces a second to be kept: of the others
	// the decision counts as not made. What they call the trace's origin must
	// be one that Datadog knows.
	TrustInternal Trust = iota

	// TrustPublic starts a trace of its own, linked to the caller's, and takes
	// neither sampling decision nor baggage from it. Anyone may be the caller.
	// Any other value but TrustInternal means the same.
	TrustPublic
)

// incoming returns the context in which the server span starts, and the span
// to link to where the caller's trace is not continued. A local span in the
// request's context, from an outer middleware, stays the parent.
func (h *handler) incoming(r *http.Request, p propagation.TextMapPropagator) (ctx context.Context, caller trace.SpanContext) {
	ctx = r.Context()
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsRemote() {
		return ctx, trace.SpanContext{}
	}
	remote := p.Extract(ctx, propagation.HeaderCarrier(r.Header))
	if h.settings.Trust == TrustInternal {
		return h.checked(remote), trace.SpanContext{}
	}
	caller = trace.SpanContextFromContext(remote)
	var links []trace.Link
	if t := obsctx.TraceFrom(remote); t != nil && t.Remote && !t.ID.IsValid() {
		links = t.Links // the propagator itself has begun anew
	}
	if id := frontEndsTrace(remote, caller); id.IsValid() || len(links) > 0 {
		ctx = obsctx.WithTrace(ctx, &obsctx.Trace{Remote: true, FrontEnd: id, Links: links})
	}
	return ctx, caller
}

// frontEndsTrace returns the id under which the platform has logged the
// request, if extraction met one: our logs are found beside it, whatever
// trace we start. A trace id without a span is such a one by itself.
func frontEndsTrace(remote context.Context, caller trace.SpanContext) trace.TraceID {
	if t := obsctx.TraceFrom(remote); t != nil && t.ID == caller.TraceID() && t.FrontEnd.IsValid() {
		return t.FrontEnd
	}
	if caller.SpanID().IsValid() {
		return trace.TraceID{}
	}
	return caller.TraceID()
}

// userKeep is Datadog's priority of a trace that is kept whatever the agent's
// rates and budgets say, so it is what a broken or hostile caller would send.
const userKeep = 2

// checked returns remote without what even a service of one's own may not
// claim. Propagators have bounded the sizes, and left out tags that are not
// Datadog's.
func (h *handler) checked(remote context.Context) context.Context {
	t := obsctx.TraceFrom(remote)
	if t == nil || !t.Remote {
		return remote
	}
	d, decided := t.Decision()
	forced := decided && d.Priority >= userKeep && !h.forced.allow(time.Now())
	if !forced && (t.Origin == "" || knownOrigin(t.Origin)) {
		return remote
	}
	s := &obsctx.Trace{
		ID: t.ID, Remote: true, Origin: t.Origin, Tags: t.Tags,
		LastParent: t.LastParent, FrontEnd: t.FrontEnd, Links: t.Links, Problem: t.PropagationError(),
	}
	if decided && !forced {
		s.Init(d)
	}
	if !knownOrigin(s.Origin) {
		s.Origin = ""
	}
	return obsctx.WithTrace(remote, s)
}

// knownOrigin reports whether Datadog's own products begin traces by this
// name: https://docs.datadoghq.com/real_user_monitoring and /synthetics, CI
// visibility, and the serverless agents.
func knownOrigin(s string) bool {
	switch s {
	case "rum", "synthetics", "synthetics-browser", "ciapp-test",
		"lambda", "cloudrun", "cloudfunction", "appservice", "containerapp", "azurefunction":
		return true
	}
	return false
}

// A bucket lets through forcedPerSecond events a second, and as many at once.
// Its zero value is full.
type bucket struct {
	// full is when it is full again, in nanoseconds since 1970. Clocks that
	// are set back make it stricter for as long.
	full atomic.Int64
}

// forcedPerSecond is what one process of Datadog's tracers keeps by its rules
// at most, so a caller that goes by those stays below it.
const forcedPerSecond = 100

func (b *bucket) allow(now time.Time) bool {
	const each = int64(time.Second) / forcedPerSecond
	at := now.UnixNano()
	for {
		old := b.full.Load()
		next := max(old, at) + each
		if next-at > int64(time.Second) {
			return false
		}
		if b.full.CompareAndSwap(old, next) {
			return true
		}
	}
}
