package ddagent

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// ended keeps the spans that end.
type ended struct {
	sdktrace.SpanProcessor
	spans []sdktrace.ReadOnlySpan
}

func (e *ended) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e *ended) OnEnd(s sdktrace.ReadOnlySpan)                   { e.spans = append(e.spans, s) }

// TestAppendPayload wants of the preview what the exporter sends.
func TestAppendPayload(t *testing.T) {
	t.Parallel()
	var kept ended
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&kept),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("deployment.environment.name", "prod"))))
	ctx, root := provider.Tracer("scope").Start(t.Context(), "GET /users/{id}", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}"), attribute.Int("http.response.status_code", 200),
		attribute.String("shop.pin", "1234"), attribute.String("api_key", "planted")))
	_, child := provider.Tracer("scope").Start(ctx, "load")
	child.End()
	root.End()

	traces, err := tracesOf(AppendPayload(nil, kept.spans, redact.New([]string{"shop.pin"})))
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) != 2 || len(traces[0]) != 1 || len(traces[1]) != 1 {
		t.Fatalf("got %d traces, want one a span", len(traces))
	}
	got := traces[1][0]
	if got["name"] != "http.server.request" || got["resource"] != "GET /users/{id}" || got["type"] != "web" || got["service"] != "shop" {
		t.Errorf("got %v %v %v %v", got["name"], got["resource"], got["type"], got["service"])
	}
	for key, want := range map[string]string{"http.status_code": "200", "shop.pin": redact.Placeholder, "api_key": redact.Placeholder, "env": "prod"} {
		if got.meta()[key] != want {
			t.Errorf("%s: got %v, want %q", key, got.meta()[key], want)
		}
	}
	if traces[0][0]["name"] != "Internal" || traces[0][0]["resource"] != "load" {
		t.Errorf("child: got %v %v", traces[0][0]["name"], traces[0][0]["resource"])
	}
}
