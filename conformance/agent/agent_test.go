package agent_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/tinylib/msgp/msgp"
)

// TestHandBuiltPayload posts a payload that no code of ours has touched, so
// that later tests may trust what the harness says.
func TestHandBuiltPayload(t *testing.T) {
	a := agent.Start(t)
	start := time.Now().Add(-time.Second)
	root := map[string]any{
		"service": "shop", "name": "http.server.request", "resource": "GET /orders/{id}", "type": "web",
		"trace_id": uint64(0x1234), "span_id": uint64(1), "parent_id": uint64(0),
		"start": start.UnixNano(), "duration": int64(5 * time.Millisecond), "error": int32(0),
		"meta": map[string]any{"env": "prod", "version": "1.2", "span.kind": "server", "_dd.p.tid": "6740000000000000",
			"http.route": "/orders/{id}"},
		"metrics": map[string]any{"_sampling_priority_v1": 1.0, "_top_level": 1.0, "http.status_code": 200.0},
	}
	child := map[string]any{
		"service": "shop", "name": "postgresql.query", "resource": "SELECT * FROM t WHERE secret = 'literal'", "type": "sql",
		"trace_id": uint64(0x1234), "span_id": uint64(2), "parent_id": uint64(1),
		"start": start.UnixNano(), "duration": int64(time.Millisecond), "error": int32(1),
		"meta": map[string]any{"error.message": "boom"},
	}
	post(t, a.URL+"/v0.4/traces", []any{[]any{root, child}})

	spans := a.WaitSpans(t, 2)
	a.Stop()
	t.Logf("at the intake:\n%s", agent.Tree(spans))
	got := spans[0]
	if got.TraceID != "67400000000000000000000000001234" || got.SpanID != 1 || got.ParentID != 0 {
		t.Errorf("ids: got %s %d %d", got.TraceID, got.SpanID, got.ParentID)
	}
	if got.Service != "shop" || got.Env != "prod" || got.Version != "1.2" || got.Type != "web" || got.Kind != "server" || got.Error {
		t.Errorf("root: got %+v", got)
	}
	if got.Priority != 1 || got.Metrics["http.status_code"] != 200 {
		t.Errorf("root: priority %d, status %v", got.Priority, got.Metrics["http.status_code"])
	}
	sql := spans[1]
	if sql.ParentID != 1 || !sql.Error || sql.Meta["error.message"] != "boom" {
		t.Errorf("child: got %+v", sql)
	}
	if strings.Contains(sql.Resource, "literal") {
		t.Errorf("the agent did not obfuscate %q: the type did not arrive", sql.Resource)
	}
	var hits uint64
	for _, s := range a.Stats() {
		if s.Service == "shop" && s.Resource == "GET /orders/{id}" && s.Env == "prod" && s.TraceRoot {
			hits += s.Hits
		}
	}
	if hits != 1 {
		t.Errorf("got %d hits, want 1: %+v", hits, a.Stats())
	}
}

func post(t *testing.T, url string, payload any) {
	t.Helper()
	body, err := msgp.AppendIntf(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/msgpack")
	req.Header.Set("X-Datadog-Trace-Count", "1")
	req.Header.Set("Datadog-Client-Computed-Top-Level", "true")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("got %s", res.Status)
	}
}
