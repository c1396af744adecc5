package ddagent

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tenAttrs are the ten attributes of a span.
func tenAttrs() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/api/v1/users/{id}"),
		attribute.Int("http.response.status_code", 200), attribute.String("url.path", "/api/v1/users/42"),
		attribute.String("url.scheme", "https"), attribute.String("server.address", "shop.example"),
		attribute.String("user_agent.original", "benchmark/1.0"), attribute.Int("http.response.body.size", 512),
		attribute.Bool("cache.hit", true), attribute.Float64("score", 0.75),
	}
}

// budgetChunks returns n traces of ten such spans.
func budgetChunks(tb testing.TB, n int) []chunk {
	tb.Helper()
	e := NewExporter(Options{Service: "shop", Env: "prod", Version: "1.4.2"})
	e.running = true // no goroutine
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(NewProcessor(e, ProcessorOptions{})),
		sdktrace.WithResource(resource.Empty())).Tracer("benchmarks")
	for range n {
		ctx, root, _ := localRoot(context.Background(), tracer, keepIt, trace.WithSpanKind(trace.SpanKindServer), attrs(tenAttrs()...))
		for range 9 {
			_, child := tracer.Start(ctx, "GET /api/v1/users/{id}", trace.WithSpanKind(trace.SpanKindServer), attrs(tenAttrs()...))
			child.End()
		}
		root.End()
	}
	var chunks []chunk
	for c, ok := e.queue.evict(); ok; c, ok = e.queue.evict() {
		chunks = append(chunks, c)
	}
	if len(chunks) != n {
		tb.Fatalf("%d chunks, want %d", len(chunks), n)
	}
	return chunks
}

// TestBytesOnTheWire counts bytes: dd-trace-go v2.12 takes 163 bytes for
// each of these spans in v1.0. The strings come once a payload, so the payload
// is as long as one of two seconds at 50 traces a second. conformance compares
// with dd-trace-go itself.
func TestBytesOnTheWire(t *testing.T) {
	t.Parallel()
	const spans, peer = 1000, 163
	chunks := budgetChunks(t, spans/10)
	v1, v4 := len(encodeV1(chunks...)), len(encodeV04(chunks...))
	t.Logf("v1.0: %.1f bytes a span, v0.4: %.1f", float64(v1)/spans, float64(v4)/spans)
	if got, limit := float64(v1)/spans, 0.95*peer; got > limit {
		t.Errorf("v1.0: %.1f bytes a span, want at most %.1f", got, limit)
	}
}

// TestEncodingAllocates nothing once the buffers are warm.
func TestEncodingAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	chunks := budgetChunks(t, 10)
	for v, p := range encoders() {
		var b []byte
		run := func() { b = p.append(b[:0], chunks) }
		run()
		if got := testing.AllocsPerRun(50, run); got != 0 {
			t.Errorf("%s: %v allocations a payload of 100 spans", tracePaths[v], got)
		}
	}
}

type payloadEncoder interface {
	append([]byte, []chunk) []byte
}

func encoders() [versions]payloadEncoder {
	p := process{pid: 42, runtimeID: newUUID()}
	return [versions]payloadEncoder{v04: &payloadV04{process: p}, v10: &payloadV1{process: p}}
}

// BenchmarkPayload encodes payloads of 1,000 spans; ns/span is what counts.
func BenchmarkPayload(b *testing.B) {
	chunks := budgetChunks(b, 100)
	for v, p := range encoders() {
		b.Run(tracePaths[v], func(b *testing.B) {
			b.ReportAllocs()
			var body []byte
			for b.Loop() {
				body = p.append(body[:0], chunks)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/span")
			b.ReportMetric(float64(len(body))/1000, "B/span")
		})
	}
}

// BenchmarkProcessor is what a span costs between its start and the queue,
// beside the SDK.
func BenchmarkProcessor(b *testing.B) {
	e := NewExporter(Options{Service: "shop", Env: "prod"})
	e.running = true // no goroutine: the queue is emptied below
	p := NewProcessor(e, ProcessorOptions{})
	var started sdktrace.ReadWriteSpan
	var ended sdktrace.ReadOnlySpan
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(endedSpan{onStart{&started}, &ended}), sdktrace.WithSpanProcessor(onStart{&started}))
	_, s := provider.Tracer("test").Start(context.Background(), "GET", trace.WithSpanKind(trace.SpanKindServer), attrs(tenAttrs()...))
	s.End()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		p.OnStart(ctx, started)
		p.OnEnd(ended)
		if e.queue.size > maxPayload {
			for c, ok := e.queue.evict(); ok; c, ok = e.queue.evict() {
				e.used.Add(-c.cost())
			}
		}
	}
}

// TestBurst ends 20,000 traces of one span faster than anything can
// leave, and 10,000 while the agent takes 200 ms for each request. None is lost
// to a queue of 16 MiB.
func TestBurst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spans int
		delay time.Duration
	}{{"at once", 20_000, 0}, {"slow agent", 10_000, 200 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{QueueBytes: 16 << 20}, ProcessorOptions{})
				r.agent.speak("v1", true)
				r.agent.set(func(http.ResponseWriter, *http.Request, int, []byte) bool {
					time.Sleep(tt.delay)
					return false
				})
				r.exporter.running = true // nothing leaves
				for range tt.spans {
					_, span, _ := r.trace(keepIt)
					span.SetAttributes(tenAttrs()...)
					span.End()
				}
				if s := r.exporter.Stats(); s.Queued != int64(tt.spans) {
					t.Errorf("before anything left: %+v", s)
				}
				r.exporter.mu.Lock()
				r.exporter.running = false
				r.exporter.start()
				r.exporter.mu.Unlock()
				r.flushed()
				if s := r.check(tt.spans); s.Sent != int64(tt.spans) {
					t.Errorf("%+v", s)
				}
				r.stop()
			})
		})
	}
}
