package tracing

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// idGenerator makes trace ids as Datadog's tracers do: the high half is the
// time in seconds and 32 zero bits, the low half random. Its randomness is the
// runtime's, a generator a thread, so it takes no lock.
type idGenerator struct{}

func (g idGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	binary.BigEndian.PutUint32(id[:4], uint32(time.Now().Unix()))
	// The low half alone is x-datadog-trace-id, so it must not be zero either.
	binary.BigEndian.PutUint64(id[8:], nonZero())
	return id, g.NewSpanID(ctx, id)
}

func (idGenerator) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], nonZero())
	return id
}

func nonZero() uint64 {
	for {
		if n := rand.Uint64(); n != 0 {
			return n
		}
	}
}

// writingGenerator tells a new trace's id to the state that waits for it in
// the context: only the SDK, in the middle of its Start, asks for an id, and
// sampler and processors compare it.
type writingGenerator struct {
	sdktrace.IDGenerator
}

func (g writingGenerator) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	tid, sid := g.IDGenerator.NewIDs(ctx)
	// A state without an id is no one else's yet, unless it is Remote. One
	// with an id belongs to the trace that a caller of the SDK's own tracer
	// leaves with WithNewRoot.
	if s := obsctx.TraceFrom(ctx); s != nil && !s.Remote && !s.ID.IsValid() {
		s.ID = tid
	}
	return tid, sid
}
