package ddagent

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TestSpansNeverEnded begins ten times the spans that are waited for and ends
// one of a hundred. Those that end, however late, are sent; the number of the
// others is known and their memory bounded.
func TestSpansNeverEnded(t *testing.T) {
	const limit = 128
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		r.proc.maxOpen = limit
		ended := 0
		var first trace.Span
		for i := range 10 * limit {
			ctx, root, _ := r.trace(keepIt)
			if first == nil {
				first = root
			}
			if i%100 == 0 {
				_, child := tracer.Start(ctx, "child") // under a root that never ends
				child.End()
				ended++
			}
			if s := r.exporter.Stats(); s.Open > limit+shards { // a shard with none open has none to forget
				t.Fatalf("%d open spans are waited for", s.Open)
			}
		}
		s := r.exporter.Stats()
		if s.Started != s.Open+s.Forgotten+s.Ended || s.Forgotten < 8*limit {
			t.Errorf("%+v", s)
		}
		first.End() // long forgotten
		ended++
		if after := r.exporter.Stats(); after.Forgotten != s.Forgotten-1 || after.Open != s.Open {
			t.Errorf("before %+v, after %+v", s, after)
		}
		time.Sleep(2 * time.Minute)
		r.flushed()
		if s := r.check(ended); s.Sent != int64(ended) {
			t.Errorf("sent %d of %d", s.Sent, ended)
		}
	})
}

// TestYoungSpansAreNotForgotten leaks old spans beside young ones that end.
func TestYoungSpansAreNotForgotten(t *testing.T) {
	const limit = 128
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		r.proc.maxOpen = limit
		for range 20 * limit {
			r.trace(keepIt) // leaks
			_, young, state := r.trace(keepIt)
			sh := r.proc.shard(state.ID)
			if g := sh.open[spanKey{state.ID, young.SpanContext().SpanID()}]; g == nil {
				t.Fatal("the span just begun is not waited for")
			}
			young.End()
		}
		r.flushed()
		r.check(20 * limit)
	})
}

// BenchmarkStartWithSpansLeaked is a start once the limit is reached; it must
// cost about what it costs before.
func BenchmarkStartWithSpansLeaked(b *testing.B) {
	e := NewExporter(Options{})
	p := NewProcessor(e, ProcessorOptions{})
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p), sdktrace.WithResource(resource.Empty())).Tracer("t")
	for range p.maxOpen {
		tracer.Start(context.Background(), "leak")
	}
	b.ReportAllocs()
	for b.Loop() {
		tracer.Start(context.Background(), "leak")
	}
}
