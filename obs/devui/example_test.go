package devui_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/obs/devui"
)

func ExampleNew() {
	ctx := context.Background()
	viewer := devui.New(devui.Options{})
	defer func() { _ = viewer.Shutdown(ctx) }()

	// With obs it is Options.SpanProcessors and Options.LogHandlers.
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(viewer))
	logger := slog.New(viewer)

	mux := http.NewServeMux()
	mux.Handle("/debug/obs/", viewer)
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx, span := provider.Tracer("example").Start(ctx, "load user")
	logger.InfoContext(ctx, "loading user", "user.id", 7)
	span.End()
	viewer.ForceFlush(ctx)

	resp, err := http.Get(server.URL + "/debug/obs/api/traces/" + span.SpanContext().TraceID().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	stats := viewer.Stats()
	fmt.Println(resp.Status, stats.Traces, "trace", stats.Spans, "span", stats.Logs, "record")
	// Output: 200 OK 1 trace 1 span 1 record
}

func ExampleViewer_Agent() {
	viewer := devui.New(devui.Options{})
	defer func() { _ = viewer.Shutdown(context.Background()) }()

	// A tracer in any language, with DD_TRACE_AGENT_URL set to this server.
	agent := httptest.NewServer(viewer.Agent())
	defer agent.Close()
	resp, err := http.Get(agent.URL + "/info")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Datadog-Agent-Version"))
	// Output: 200 OK 7.80.0
}
