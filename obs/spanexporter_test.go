package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanExporter keeps the names and attributes of what it gets.
type spanExporter struct {
	mu     sync.Mutex
	err    error
	spans  []string
	closed int
}

func (e *spanExporter) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range spans {
		service, _ := s.Resource().Set().Value("service.name")
		e.spans = append(e.spans, fmt.Sprint(service.AsString(), " ", s.Name(), " ", attrsOf(s.Attributes())))
	}
	return e.err
}

func (e *spanExporter) Shutdown(context.Context) error { e.closed++; return nil }

func TestSpanExporter(t *testing.T) {
	t.Parallel()
	e := &spanExporter{}
	tel, out := newTest(t, Options{Service: "shop", SpanExporter: e}, "DD_TRACE_AGENT_URL=http://127.0.0.1:1")
	if !strings.Contains(out.String(), `config.agent="none (option)"`) {
		t.Errorf("start-up: %s", out)
	}
	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
	_, span := Start(ctx, "load", slog.String("password", "planted"))
	span.End(nil)
	root.End()
	dropped, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "dropped")
	Drop(dropped)
	root.End()
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(e.spans, "\n"); got != "shop load map[password:[REDACTED]]\nshop root map[]" {
		t.Errorf("got %s", got)
	}
	if s := tel.Stats().Spans; s.Ended != 3 || s.Sent != 2 || s.Dropped.Unsampled != 1 {
		t.Errorf("got %+v", s)
	}
	if err := tel.Shutdown(t.Context()); err != nil || e.closed != 1 {
		t.Errorf("shutdown: %v, closed %d times", err, e.closed)
	}
	if !strings.Contains(out.String(), "spans.sent=2") {
		t.Errorf("farewell: %s", out)
	}
}

func TestSpanExporterFails(t *testing.T) {
	t.Parallel()
	e := &spanExporter{err: errors.New("no route to https://u:planted@h/")}
	tel, out := newTest(t, Options{SpanExporter: e})
	for range 3 {
		_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
		span.End()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("no error of spans that were left")
	}
	if s := tel.Stats().Spans; s.Ended != 3 || s.Dropped.Shutdown != 3 {
		t.Errorf("got %+v", s)
	}
	if text := out.String(); !strings.Contains(text, "lost.shutdown=3") || strings.Contains(text, "planted") {
		t.Errorf("said: %s", text)
	}
}

func TestSpanExporterBesideAgent(t *testing.T) {
	t.Parallel()
	_, err := build(t.Context(), Options{SpanExporter: &spanExporter{}, AgentURL: "http://127.0.0.1:1"}, world())
	if err == nil || !strings.Contains(err.Error(), "Options.AgentURL") {
		t.Errorf("got %v", err)
	}
}
