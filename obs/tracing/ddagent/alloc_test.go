package ddagent

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TestAllocations counts what the processor adds to a span: nothing but the
// chunk's one copy of its records, so 1 a trace, however many spans it has.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	e := NewExporter(Options{Service: "shop", Env: "prod"})
	p := NewProcessor(e, ProcessorOptions{})
	var started sdktrace.ReadWriteSpan
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(onStart{&started}))
	_, s := provider.Tracer("test").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(
			attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}"),
			attribute.Int("http.response.status_code", 200), attribute.String("server.address", "shop"),
			attribute.String("url.path", "/users/1"), attribute.String("user.id", "1"), attribute.Bool("cached", true),
			attribute.Float64("ratio", 0.5), attribute.Int("n", 3), attribute.String("network.protocol.version", "1.1")))
	s.End()
	ended := snapshotOf(t, s)
	ctx := context.Background()
	e.running = true // no goroutine: the queue is emptied below
	empty := func() {
		for c, ok := e.queue.evict(); ok; c, ok = e.queue.evict() {
			e.used.Add(-c.cost())
		}
	}
	run := func() {
		p.OnStart(ctx, started)
		p.OnEnd(ended)
		empty()
	}
	run()
	if got := testing.AllocsPerRun(200, run); got > 1 {
		t.Errorf("%v allocations a span, want at most 1", got)
	}
}

type onStart struct{ span *sdktrace.ReadWriteSpan }

func (o onStart) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) { *o.span = s }
func (onStart) OnEnd(sdktrace.ReadOnlySpan)                           {}
func (onStart) Shutdown(context.Context) error                        { return nil }
func (onStart) ForceFlush(context.Context) error                      { return nil }

// ended keeps what a processor is given.
type endedSpan struct {
	onStart
	span *sdktrace.ReadOnlySpan
}

func (e endedSpan) OnEnd(s sdktrace.ReadOnlySpan) { *e.span = s }

func snapshotOf(t *testing.T, s trace.Span) sdktrace.ReadOnlySpan {
	t.Helper()
	src := readOnly(s)
	var rw sdktrace.ReadWriteSpan
	var got sdktrace.ReadOnlySpan
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(endedSpan{onStart{&rw}, &got}),
		sdktrace.WithIDGenerator(fixedIDs{src.SpanContext()}))
	_, again := provider.Tracer("test").Start(context.Background(), src.Name(),
		trace.WithSpanKind(src.SpanKind()), trace.WithAttributes(src.Attributes()...))
	again.End()
	return got
}

type fixedIDs struct{ sc trace.SpanContext }

func (f fixedIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return f.sc.TraceID(), f.sc.SpanID()
}
func (f fixedIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return f.sc.SpanID() }
