package otlp_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/otlp"
)

// collector stands for an OpenTelemetry Collector, and keeps what it got last.
type collector struct {
	*httptest.Server
	traces coltrace.ExportTraceServiceRequest
	logs   collogs.ExportLogsServiceRequest
}

func startCollector() *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var to proto.Message = &c.traces
		if r.URL.Path == "/v1/logs" {
			to = &c.logs
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(body, to)
		}
		if err != nil {
			fmt.Println(err)
		}
	}))
	return c
}

// Spans and records go to a Collector; nothing else of the program changes.
func Example() {
	ctx := context.Background()
	c := startCollector()
	defer c.Close()

	spans, err := otlp.NewTraceExporter(ctx, otlp.Options{Endpoint: c.URL}) // left out: what OTEL_EXPORTER_OTLP_ENDPOINT says
	if err != nil {
		fmt.Println(err)
		return
	}
	logs, err := otlp.NewLoggerProvider(ctx, otlp.Options{Endpoint: c.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	tel, err := obs.New(ctx, obs.Options{ // obs.Init in a program
		Service: "shop", SpanExporter: spans, LoggerProvider: logs,
		InternalLevel: slog.LevelError, // not here: stdout is the example's
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, span := tel.TracerProvider().Tracer("shop").Start(ctx, "pay")
	tel.Logger().InfoContext(ctx, "order paid", "order.id", "o7")
	span.End()
	if err := tel.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}

	s := c.traces.ResourceSpans[0].ScopeSpans[0].Spans[0]
	r := c.logs.ResourceLogs[0].ScopeLogs[0].LogRecords[0]
	fmt.Println("span:  ", s.Name)
	fmt.Println("record:", r.SeverityText, r.Body.GetStringValue(), r.Attributes[0].Key, r.Attributes[0].Value.GetStringValue())
	fmt.Println("same trace and span:", string(s.TraceId) == string(r.TraceId) && string(s.SpanId) == string(r.SpanId))
	fmt.Println("same resource:", proto.Equal(c.traces.ResourceSpans[0].Resource, c.logs.ResourceLogs[0].Resource))
	// Output:
	// span:   pay
	// record: INFO order paid order.id o7
	// same trace and span: true
	// same resource: true
}

// What cannot be understood is an error that says what can.
func ExampleNewTraceExporter() {
	_, err := otlp.NewTraceExporter(context.Background(), otlp.Options{Endpoint: "collector:4317"})
	fmt.Println(err)
	// Output:
	// otlp: Options.Endpoint="collector:4317": want an http or https URL such as https://collector-xyz.a.run.app or http://localhost:4318
}

// Records that a receiver does not take are counted.
func ExampleNewLoggerProvider() {
	ctx := context.Background()
	picky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer picky.Close()
	logs, err := otlp.NewLoggerProvider(ctx, otlp.Options{Endpoint: picky.URL})
	if err != nil {
		fmt.Println(err)
		return
	}
	tel, err := obs.New(ctx, obs.Options{Service: "shop", LoggerProvider: logs, LogWriter: io.Discard, InternalLevel: slog.LevelError})
	if err != nil {
		fmt.Println(err)
		return
	}
	tel.Logger().Info("order paid")
	tel.Logger().Info("order sent")
	if err := tel.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	s := logs.Stats()
	fmt.Println("emitted", s.Emitted, "sent", s.Sent, "rejected", s.Dropped.Rejected)
	// Output:
	// emitted 2 sent 0 rejected 2
}
