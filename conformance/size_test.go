package conformance

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// budgetAttrs are the ten attributes of a span.
func budgetAttrs() []attribute.KeyValue {
	return []attribute.KeyValue{
		str("http.request.method", "GET"), str("http.route", "/api/v1/users/{id}"), num("http.response.status_code", 200),
		str("url.path", "/api/v1/users/42"), str("url.scheme", "https"), str("server.address", "shop.example"),
		str("user_agent.original", "benchmark/1.0"), num("http.response.body.size", 512), flag("cache.hit", true), attribute.Float64("score", 0.75),
	}
}

const (
	budgetTraces = 50
	budgetSpans  = 10 * budgetTraces
)

// TestBytesOnTheWire sends the same spans, ten a trace, by us and by
// dd-trace-go, both in v1.0 to a real agent.
func TestBytesOnTheWire(t *testing.T) {
	ours, theirs := ourBytes(t), theirBytes(t)
	t.Logf("ours %.1f, dd-trace-go's %.1f bytes a span: %.2f", float64(ours)/budgetSpans, float64(theirs)/budgetSpans, float64(ours)/float64(theirs))
	if float64(ours) > 0.95*float64(theirs) {
		t.Errorf("%d bytes, dd-trace-go takes %d: more than 0.95 of it", ours, theirs)
	}
}

func ourBytes(t *testing.T) int64 {
	a := agent.Start(t)
	f := newFront(t, a.URL, true)
	e := ddagent.NewExporter(ddagent.Options{URL: f.URL, Service: "shop", Env: "prod", Version: "1.4.2"})
	tr := sdktrace.NewTracerProvider(sdktrace.WithResource(resource.Empty()),
		sdktrace.WithSpanProcessor(ddagent.NewProcessor(e, ddagent.ProcessorOptions{}))).Tracer("benchmarks")
	span := func(ctx context.Context) (context.Context, trace.Span) {
		return tr.Start(ctx, "GET /api/v1/users/{id}", trace.WithSpanKind(server), trace.WithAttributes(budgetAttrs()...))
	}
	for range budgetTraces {
		ctx, root := span(context.Background())
		for range 9 {
			_, child := span(ctx)
			child.End()
		}
		root.End()
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.WaitSpans(t, budgetSpans)
	a.Stop()
	return f.bytes
}

func theirBytes(t *testing.T) int64 {
	t.Setenv("DD_REMOTE_CONFIGURATION_ENABLED", "false")
	t.Setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
	t.Setenv("DD_TRACE_STATS_COMPUTATION_ENABLED", "false")
	t.Setenv("DD_TRACE_STARTUP_LOGS", "false")
	a := agent.Start(t)
	f := newFront(t, a.URL, true)
	if err := tracer.Start(tracer.WithAgentURL(f.URL), tracer.WithService("shop"), tracer.WithEnv("prod"), tracer.WithServiceVersion("1.4.2"), tracer.WithLogger(quiet{})); err != nil {
		t.Fatal(err)
	}
	opts := []tracer.StartSpanOption{tracer.ResourceName("GET /api/v1/users/{id}"), tracer.SpanType("web"), tracer.Tag(ext.SpanKind, "server")}
	tagged := func(s *tracer.Span) *tracer.Span {
		for _, kv := range budgetAttrs() {
			s.SetTag(string(kv.Key), kv.Value.AsInterface())
		}
		return s
	}
	for range budgetTraces {
		root := tagged(tracer.StartSpan("http.server.request", opts...))
		for range 9 {
			tagged(root.StartChild("http.server.request", opts...)).Finish()
		}
		root.Finish()
	}
	tracer.Flush()
	tracer.Stop()
	a.WaitSpans(t, budgetSpans)
	a.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

type quiet struct{}

func (quiet) Log(string) {}
