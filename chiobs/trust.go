package chiobs

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Trust says what the trace a caller sends is good for.
type Trust int

const (
	// TrustInternal continues the caller's trace, with its sampling decision
	// and its baggage. It is for callers that are services of one's own.
	TrustInternal Trust = iota

	// TrustPublic starts a trace of its own, linked to the caller's, and takes
	// neither sampling decision nor baggage from it. Anyone may be the caller.
	// Any other value but TrustInternal means the same.
	TrustPublic
)

// incoming returns the context in which the server span starts, and the span
// to link to where the caller's trace is not continued. A local span in the
// request's context, from an outer middleware, stays the parent.
func (c Config) incoming(r *http.Request, p propagation.TextMapPropagator) (ctx context.Context, caller trace.SpanContext) {
	ctx = r.Context()
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !sc.IsRemote() {
		return ctx, trace.SpanContext{}
	}
	remote := p.Extract(ctx, propagation.HeaderCarrier(r.Header))
	if c.Trust == TrustInternal {
		return remote, trace.SpanContext{}
	}
	caller = trace.SpanContextFromContext(remote)
	if id := frontEndsTrace(remote, caller); id.IsValid() {
		ctx = obsctx.WithTrace(ctx, &obsctx.Trace{Remote: true, FrontEnd: id})
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
