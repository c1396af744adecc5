package devui

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// ordinary makes a trace as a request to a shop is one: six spans of about
// nine attributes each, and four records.
func (r *rig) ordinary(i int) {
	ctx, root := r.tracer.Start(context.Background(), "GET /orders/{id}", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/orders/{id}"), attribute.String("url.path", fmt.Sprint("/orders/", i)),
		attribute.Int("http.response.status_code", 200), attribute.String("url.scheme", "https"), attribute.String("server.address", "shop.example.com"),
		attribute.String("client.address", "192.0.2.7"), attribute.String("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
		attribute.String("network.protocol.version", "1.1"), attribute.Int("http.response.body.size", 512)))
	r.logger.InfoContext(ctx, "loading order", "order.id", i)
	for n, name := range []string{"order.load", "SELECT orders", "redis GET", "GET", "order.price"} {
		c, s := r.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("db.system.name", "postgresql"), attribute.String("db.query.text", "SELECT id, total FROM orders WHERE id = $1"),
			attribute.String("db.namespace", "shop"), attribute.String("server.address", "db.internal"), attribute.Int("server.port", 5432),
			attribute.Int("order.id", i), attribute.Int("rows", n), attribute.Float64("ratio", 0.5)))
		if n < 3 {
			r.logger.InfoContext(c, "order loaded", "items", n, "total", 39.5, "cached", false)
		}
		s.End()
	}
	root.End()
}

// TestTenThousandTraces fit into the default bytes, none giving way.
func TestTenThousandTraces(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for i := range 10_000 {
		r.ordinary(i)
		if i%500 == 0 {
			r.flush(t)
		}
	}
	r.flush(t)
	s := r.Stats()
	t.Logf("%+v: %.1f MiB", s, float64(s.Bytes)/(1<<20))
	if s.Traces != 10_000 || s.Spans != 60_000 || s.Evicted != 0 || s.Bytes > 64<<20 {
		t.Errorf("%+v, want 10,000 traces in 64 MiB", s)
	}
}

// BenchmarkMemory measures what the account estimates: heap-MiB beside
// account-MiB.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		r := newRig(b, Options{})
		for i := range 10_000 {
			r.ordinary(i)
			if i%500 == 0 {
				r.flush(b)
			}
		}
		r.flush(b)
		b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(r.Stats().Bytes)/(1<<20), "account-MiB")
		runtime.KeepAlive(r)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSpan is what a span costs the service: OnEnd alone, the goroutine
// that takes it further running beside it.
func BenchmarkSpan(b *testing.B) {
	r := newRig(b, Options{})
	var kept sdktrace.ReadOnlySpan
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(endFunc(func(s sdktrace.ReadOnlySpan) { kept = s })))
	_, span := p.Tracer("bench").Start(b.Context(), "s")
	span.End()
	b.Run("OnEnd", func(b *testing.B) {
		b.ReportAllocs()
		for n := 1; b.Loop(); n++ {
			r.OnEnd(kept)
			if n%(maxQueued/2) == 0 { // so that none is dropped
				b.StopTimer()
				r.flush(b)
				b.StartTimer()
			}
		}
		b.ReportMetric(float64(r.intake.droppedSpans.Load())/float64(b.N), "dropped/op")
	})
	b.Run("OnStart", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.OnStart(b.Context(), nil)
		}
	})
	b.Run("full", func(b *testing.B) {
		r := newRig(b, Options{})
		r.intake.draining.Lock()
		defer r.intake.draining.Unlock()
		for range maxQueued {
			r.OnEnd(kept)
		}
		b.ReportAllocs()
		for b.Loop() {
			r.OnEnd(kept)
		}
	})
}

// BenchmarkRecord is what a log record costs the service.
func BenchmarkRecord(b *testing.B) {
	r := newRig(b, Options{})
	ctx, span := r.tracer.Start(b.Context(), "s")
	defer span.End()
	b.ReportAllocs()
	for b.Loop() {
		r.logger.LogAttrs(ctx, slog.LevelInfo, "order loaded", slog.Int("items", 2), slog.String("id", "7"), slog.Float64("total", 39.5))
	}
}

type endFunc func(sdktrace.ReadOnlySpan)

func (endFunc) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (f endFunc) OnEnd(s sdktrace.ReadOnlySpan)                 { f(s) }
func (endFunc) Shutdown(context.Context) error                  { return nil }
func (endFunc) ForceFlush(context.Context) error                { return nil }
