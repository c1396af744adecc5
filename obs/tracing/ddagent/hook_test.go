package ddagent

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestMap(t *testing.T) {
	t.Parallel()
	plain := Names{Service: "shop", Operation: "http.server.request", Resource: "GET /users/{id}", Type: "web"}
	tests := []struct {
		name string
		hook func(sdktrace.ReadOnlySpan, Names) Names
		want Names
	}{
		{"none", nil, plain},
		{"sees what the span would have", func(s sdktrace.ReadOnlySpan, n Names) Names {
			if n != plain || s.Name() != "span name" {
				t.Errorf("the hook got %+v of %q", n, s.Name())
			}
			return n
		}, plain},
		{"empty ones stay", func(sdktrace.ReadOnlySpan, Names) Names { return Names{} }, plain},
		{"one", func(_ sdktrace.ReadOnlySpan, n Names) Names { n.Resource = "GET user"; return n }, Names{"shop", "http.server.request", "GET user", "web"}},
		{"all", func(sdktrace.ReadOnlySpan, Names) Names { return Names{"other", "my.op", "res", "worker"} }, Names{"other", "my.op", "res", "worker"}},
		{"made fit for the agent", func(sdktrace.ReadOnlySpan, Names) Names {
			return Names{"Other Service!", "My op\xff!", "r\xff", strings.Repeat("t", 200)}
		}, Names{"other_service", "My_op", "r\uFFFD", strings.Repeat("t", maxType)}},
		{"panics", func(sdktrace.ReadOnlySpan, Names) Names { panic("a bug of the program") }, plain},
	}
	for _, tt := range tests {
		e := NewExporter(Options{Service: "shop"})
		e.running = true // no goroutine
		p := NewProcessor(e, ProcessorOptions{Map: tt.hook})
		_, span := providerFor(p).Tracer("t").Start(context.Background(), "span name", trace.WithSpanKind(trace.SpanKindServer),
			attrs(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}")))
		span.End()
		c, ok := e.queue.evict()
		if !ok {
			t.Fatalf("%s: no chunk", tt.name)
		}
		traces, err := tracesOf(encodeV04(c))
		if err != nil {
			t.Fatal(err)
		}
		s := traces[0][0]
		got := Names{s["service"].(string), s["name"].(string), s["resource"].(string), s["type"].(string)}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if base, other := s.meta()[keyBaseService], got.Service != "shop"; (base == "shop") != other {
			t.Errorf("%s: the base service is %v", tt.name, base)
		}
	}
}
