package conformance

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"

	"github.com/kumihimo/kumihimo/obs/devui"
)

// TestViewerTakesDDTraceGo: a service on Datadog's own tracer sends to the
// viewer as to an agent, and shows in its list.
func TestViewerTakesDDTraceGo(t *testing.T) {
	t.Setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
	t.Setenv("DD_TRACE_STARTUP_LOGS", "false")
	viewer := devui.New(devui.Options{})
	agent := httptest.NewServer(viewer.Agent())
	defer agent.Close()
	if err := tracer.Start(tracer.WithAgentURL(agent.URL), tracer.WithService("legacy"), tracer.WithLogger(quiet{})); err != nil {
		t.Fatal(err)
	}
	root := tracer.StartSpan("web.request", tracer.ResourceName("GET /legacy/{id}"), tracer.SpanType("web"), tracer.Tag(ext.SpanKind, "server"))
	root.StartChild("db.query").Finish()
	root.Finish()
	tracer.Flush()
	tracer.Stop()

	for end := time.Now().Add(time.Minute); viewer.Stats().Spans < 2 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		// A bound, no expectation: what came is taken in behind the answer.
	}
	page := httptest.NewServer(viewer)
	defer page.Close()
	resp, err := http.Get(page.URL + "/api/traces")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Traces []map[string]any
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", list.Traces)
	if len(list.Traces) != 1 || viewer.Stats().Spans != 2 {
		t.Errorf("got %d traces, %d spans, want 1 and 2", len(list.Traces), viewer.Stats().Spans)
	}
}
