package ddagent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// agent stands in for a Datadog Agent.
func agent() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/info" {
			io.WriteString(w, `{"endpoints":["/v0.4/traces","/v1.0/traces"]}`)
			return
		}
		fmt.Println("agent: traces", r.Header.Get("X-Datadog-Trace-Count"), "to", r.URL.Path)
		w.Header().Set("Datadog-Agent-Version", "7.80.0")
		io.WriteString(w, `{"rate_by_service":{}}`)
	}))
}

func ExampleNewExporter() {
	server := agent()
	defer server.Close()
	ctx := context.Background()

	exporter := ddagent.NewExporter(ddagent.Options{URL: server.URL, Service: "shop", Env: "prod"})
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{})))

	_, span := provider.Tracer("example").Start(ctx, "load user")
	span.SetAttributes(attribute.String("user.id", "42"))
	span.End()

	if err := exporter.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	stats := exporter.Stats()
	fmt.Println("sent", stats.Sent, "dropped", stats.Dropped.Total())
	// Output:
	// agent: traces 1 to /v1.0/traces
	// sent 1 dropped 0
}

func ExampleNewProcessor() {
	server := agent()
	defer server.Close()
	ctx := context.Background()

	exporter := ddagent.NewExporter(ddagent.Options{URL: server.URL})
	processor := ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{PartialFlushSpans: 100})
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(processor)).Tracer("example")

	// A worker's span stays open; what has ended under it need not wait.
	ctx, worker := tracer.Start(ctx, "worker")
	_, job := tracer.Start(ctx, "job")
	job.End()
	if err := processor.ForceFlush(ctx); err != nil {
		fmt.Println(err)
	}
	stats := exporter.Stats()
	fmt.Println("sent", stats.Sent, "open", stats.Open)
	worker.End()
	if err := processor.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// agent: traces 1 to /v1.0/traces
	// sent 1 open 1
	// agent: traces 1 to /v1.0/traces
}

func ExampleSpanNames() {
	_, operation, resource := ddagent.SpanNames(trace.SpanKindServer, "GET", []attribute.KeyValue{
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}"),
	})
	fmt.Println(operation, "|", resource)
	// Output: http.server.request | GET /users/{id}
}

// Does the agent take spans, before there are any, and which does it want?
func ExampleExporter_Probe() {
	server := agent()
	defer server.Close()
	ctx := context.Background()
	exporter := ddagent.NewExporter(ddagent.Options{URL: server.URL, Service: "shop"})
	probe := exporter.Probe(ctx)
	fmt.Println(probe.Err, probe.Agent, probe.Protocol)

	share, known := exporter.Rate("shop", "prod") // of its traces, as the agent's answers say
	fmt.Println(share, known)
	fmt.Println(exporter.Flush(ctx), exporter.Shutdown(ctx))
	// Output:
	// <nil> true v1.0
	// 0 false
	// <nil> <nil>
}

// What the agent would get of a span, for a tool that shows it.
func ExampleAppendPayload() {
	spans := tracetest.SpanStubs{{Name: "load user", SpanKind: trace.SpanKindClient}}.Snapshots()
	body := ddagent.AppendPayload(nil, spans, nil)
	fmt.Println(len(body) > 0, bytes.Contains(body, []byte("load user")))
	// Output: true true
}
