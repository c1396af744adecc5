package obs

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// With returns a context whose fields are those of ctx and attrs. The fields
// stand at the root of every record logged with the context and on every span
// started under it. Of two fields with one key the inner wins.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	return obsctx.WithFields(ctx, slices.Clone(attrs))
}

// Keep marks the trace of ctx to be kept (Datadog's USER_KEEP), whatever the
// sampler said. It holds for what leaves from now on: later outgoing requests
// and the spans not yet sent. What the flight recorder has of the request is
// written. Without a trace in ctx Keep does nothing else.
func Keep(ctx context.Context) {
	if ctx == nil {
		return
	}
	decide(ctx, 2)
	flight.From(ctx).Trigger()
}

// Drop marks the trace of ctx not to be kept (Datadog's USER_REJECT), as
// [Keep] marks one to be kept.
func Drop(ctx context.Context) {
	if ctx != nil {
		decide(ctx, -1)
	}
}

func decide(ctx context.Context, priority int) {
	t := obsctx.TraceFrom(ctx)
	if t == nil || t.ID != trace.SpanContextFromContext(ctx).TraceID() {
		return
	}
	t.Decide(obsctx.Decision{Priority: priority, Mechanism: obsctx.MechanismManual})
}
