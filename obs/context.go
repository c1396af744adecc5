package obs

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// With returns a context whose fields are those of ctx and attrs. The fields
// stand at the root of every record logged with the context and on every span
// started under it. Of two fields with one key the inner wins.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	return obsctx.WithFields(ctx, slices.Clone(attrs))
}

// Keep marks the trace of ctx to be kept (Datadog's USER_KEEP), whatever the
// sampler said. It holds for what leaves from now on: later outgoing requests
// and the spans not yet sent. Without a trace in ctx it does nothing.
func Keep(ctx context.Context) {
	decide(ctx, 2)
}

// Drop marks the trace of ctx not to be kept (Datadog's USER_REJECT), as
// [Keep] marks one to be kept.
func Drop(ctx context.Context) {
	decide(ctx, -1)
}

func decide(ctx context.Context, priority int) {
	t := obsctx.TraceFrom(ctx)
	if t == nil || t.ID != trace.SpanContextFromContext(ctx).TraceID() {
		return
	}
	t.Decide(obsctx.Decision{Priority: priority, Mechanism: obsctx.MechanismManual})
}
