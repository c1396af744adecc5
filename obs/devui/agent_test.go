package devui

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
	"github.com/kumihimo/kumihimo/internal/payloadtest"
)

const beganNanos = 1_700_000_000_000_000_000

func payloadV04() []byte {
	return payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{
		payloadtest.Object{"service", "web", "name", "rack.request", "resource", "Orders#show", "type", "web", "trace_id", 9, "span_id", 1, "start", beganNanos, "duration", 5000, "error", 1,
			"meta", payloadtest.Object{"span.kind", "server", "http.method", "GET", "http.route", "/orders/:id", "http.status_code", "500", "error.message", "boom", "password", "planted", "http.url", "https://u:planted@h/"},
			"metrics", payloadtest.Object{"_sampling_priority_v1", 1.0, "odd", math.NaN()}, "meta_struct", payloadtest.Object{"blob", []byte{1, 2}},
			"span_links", payloadtest.List{payloadtest.Object{"trace_id", 2, "span_id", 3, "attributes", payloadtest.Object{"k", "v"}}},
			"span_events", payloadtest.List{payloadtest.Object{"time_unix_nano", beganNanos + 10, "name", "exception", "attributes", payloadtest.Object{
				"exception.message", payloadtest.Object{"type", 0, "string_value", "boom"}, "n", payloadtest.Object{"type", 2, "int_value", 7},
				"l", payloadtest.Object{"type", 4, "array_value", payloadtest.Object{"values", payloadtest.List{payloadtest.Object{"type", 2, "int_value", 1}}}}}}}},
		payloadtest.Object{"service", "web", "name", "lost", "trace_id", 9, "span_id", 0},
	}})
}

func post(t *testing.T, h http.Handler, path, kind string, body []byte) (int, string) {
	t.Helper()
	r := request(t, "PUT", path, "Content-Type", kind)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	w := serve(h, r)
	return w.Code, w.Body.String()
}

func TestAgentTakes(t *testing.T) {
	t.Parallel()
	span05 := payloadtest.List{1, 2, 3, 9, 1, 0, beganNanos, 5, 0, payloadtest.Object{4, 5}, payloadtest.Object{}, 6}
	tests := []struct {
		version string
		body    []byte
		answer  string
	}{
		{"v0.3", payloadV04(), "OK\n"},
		{"v0.4", payloadV04(), `{"rate_by_service":{"service:,env:":1}}`},
		{"v0.5", payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{"", "web", "rack.request", "Orders#show", "span.kind", "server", "web"}, payloadtest.List{payloadtest.List{span05}}}), `{"rate_by_service":{"service:,env:":1}}`},
		{"v0.7", payloadtest.AppendV04(nil, payloadtest.Object{"chunks", payloadtest.List{payloadtest.Object{"spans", payloadtest.List{payloadtest.Object{"service", "web", "name", "rack.request", "resource", "Orders#show", "trace_id", 9, "span_id", 1}}}}}), `{"rate_by_service":{"service:,env:":1}}`},
		{"v1.0", payloadtest.AppendV04(nil, payloadtest.Object{11, payloadtest.List{payloadtest.Object{6, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09"), 4, payloadtest.List{payloadtest.Object{1, "web", 2, "rack.request", 3, "Orders#show", 4, 1}}}}}), `{"rate_by_service":{"service:,env:":1}}`},
	}
	for _, tt := range tests {
		r := newRig(t, Options{})
		status, answer := post(t, r.Agent(), "/"+tt.version+"/traces", "application/msgpack", tt.body)
		if status != 200 || answer != tt.answer {
			t.Errorf("%s: %d %q", tt.version, status, answer)
			continue
		}
		row := get[update](t, r, "/api/traces").Traces[0]
		if row.Name != "Orders#show" || row.Service != "web" || row.ID != "00000000000000000000000000000009" {
			t.Errorf("%s: %+v", tt.version, row)
		}
	}
}

func TestAgentForm(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	post(t, r.Agent(), "/v0.4/traces", "application/msgpack", payloadV04())
	const id = "00000000000000000000000000000009"
	row := get[update](t, r, "/api/traces").Traces[0]
	want := traceRow{ID: id, Number: 1, At: beganNanos / 1000, Duration: 5000, Name: "Orders#show", Method: "GET", Route: "/orders/:id", Service: "web", Status: 500, Failed: true, Spans: 1}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("row: want -, got +:\n%s", diff)
	}
	w := serve(r, request(t, "GET", "/api/traces/"+id+"/file"))
	if strings.Contains(w.Body.String(), "planted") {
		t.Errorf("a secret is shown: %s", w.Body)
	}
	d := get[traceDoc](t, r, "/api/traces/"+id+"/file").Spans[0]
	if d.Message != "boom" || d.Kind != "server" || d.Detail.Source != "Datadog v0.4" || d.Resource != "Orders#show" {
		t.Errorf("%+v", d)
	}
	wantDD := &datadogDoc{Service: "web", Name: "rack.request", Resource: "Orders#show", Type: "web", Error: true,
		Meta: map[string]string{"span.kind": "server", "http.method": "GET", "http.route": "/orders/:id", "http.status_code": "500", "error.message": "boom",
			"password": "[REDACTED]", "http.url": "https://REDACTED@h/", "blob": "0102"},
		Metrics: map[string]float64{"_sampling_priority_v1": 1}}
	if diff := cmp.Diff(wantDD, d.Detail.Datadog); diff != "" {
		t.Errorf("Datadog's form: want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff([]eventDoc{{At: 10, Name: "exception", Attributes: map[string]any{"exception.message": "boom", "n": 7.0, "l": "[1]"}}}, d.Detail.Events); diff != "" {
		t.Errorf("events: want -, got +:\n%s", diff)
	}
	if diff := cmp.Diff([]linkDoc{{Trace: "00000000000000000000000000000002", Span: "0000000000000003", Attributes: map[string]any{"k": "v"}}}, d.Detail.Links); diff != "" {
		t.Errorf("links: want -, got +:\n%s", diff)
	}
	if s := r.Stats(); s.DroppedSpans != 1 {
		t.Errorf("%+v, want the span without an id counted", s)
	}
}

// TestAgentRefuses: what is not taken leaves the store as it was.
func TestAgentRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	a := r.Agent()
	good := payloadV04()
	post(t, a, "/v0.4/traces", "application/msgpack", good)
	before := r.Stats()
	tests := []struct {
		name, path, kind string
		body             []byte
		status           int
	}{
		{"cut", "/v0.4/traces", "application/msgpack", good[:len(good)-1], 400},
		{"more", "/v0.4/traces", "application/msgpack", append(bytes.Clone(good), 0), 400},
		{"empty", "/v0.4/traces", "application/msgpack", nil, 400},
		{"text", "/v0.5/traces", "application/msgpack", []byte("hello"), 400},
		{"v0.4 as v1.0", "/v1.0/traces", "application/msgpack", good, 400},
		{"v0.4 as v0.7", "/v0.7/traces", "application/msgpack", good, 400},
		{"JSON", "/v0.4/traces", "application/json", []byte("[]"), 415},
		{"text that a form sends", "/v0.4/traces", "text/plain", good, 415},
		{"no type", "/v0.4/traces", "", good, 415},
		{"no version", "/v0.6/traces", "application/msgpack", good, 404},
		{"statistics", "/v0.6/stats", "application/msgpack", good, 404},
		{"too long", "/v0.4/traces", "application/msgpack", make([]byte, ddpayload.MaxBody+1), 413},
	}
	for _, tt := range tests {
		if status, text := post(t, a, tt.path, tt.kind, tt.body); status != tt.status {
			t.Errorf("%s: %d %q, want %d", tt.name, status, text, tt.status)
		}
	}
	if w := serve(a, request(t, "GET", "/v0.4/traces")); w.Code != 405 {
		t.Errorf("GET: %d, want 405", w.Code)
	}
	if after := r.Stats(); after != before {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

func TestAgentInfo(t *testing.T) {
	t.Parallel()
	w := serve(newRig(t, Options{}).Agent(), request(t, "GET", "/info"))
	var info struct {
		Endpoints []string
		DropP0s   bool `json:"client_drop_p0s"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil {
		t.Fatal(err)
	}
	want := []string{"/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.7/traces", "/v1.0/traces"}
	if diff := cmp.Diff(want, info.Endpoints); diff != "" || info.DropP0s || w.Header().Get("Datadog-Agent-State") == "" {
		t.Errorf("%s\n%s", w.Body, diff)
	}
}
