package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/payloadtest"
)

const msgpackType = "Content-Type: application/msgpack"

var began = time.Unix(1_700_000_000, 5).UTC()

const beganNanos = 1_700_000_000_000_000_005

func payloadV04() []byte {
	return payloadtest.AppendV04(nil, payloadtest.List{
		payloadtest.List{
			payloadtest.Object{
				"service", "shop", "name", "http.server.request", "resource", "GET /users/{id}", "type", "web",
				"trace_id", uint64(0x8448eb211c80319c), "span_id", uint64(1), "parent_id", 0, "start", beganNanos, "duration", 12_000_000, "error", 1,
				"meta", payloadtest.Object{"env", "prod", "version", "1.2", "span.kind", "server", "_dd.p.tid", "0af7651916cd43dd", "_dd.p.dm", "-4", "_dd.origin", "rum", "error.message", "boom"},
				"metrics", payloadtest.Object{"_sampling_priority_v1", 2.0, "http.status_code", 500, "small", -1},
				"meta_struct", payloadtest.Object{"blob", []byte("\x81\x01\x02")},
				"span_links", payloadtest.List{payloadtest.Object{"trace_id", uint64(2), "trace_id_high", uint64(1), "span_id", uint64(3), "tracestate", "a=b", "flags", uint64(1<<31 | 1), "attributes", payloadtest.Object{"k", "v"}}},
				"span_events", payloadtest.List{payloadtest.Object{"time_unix_nano", uint64(beganNanos), "name", "exception", "attributes", payloadtest.Object{
					"s", payloadtest.Object{"type", 0, "string_value", "x"},
					"b", payloadtest.Object{"type", 1, "bool_value", true},
					"i", payloadtest.Object{"type", 2, "int_value", -7},
					"f", payloadtest.Object{"type", 3, "double_value", 0.5},
					"a", payloadtest.Object{"type", 4, "array_value", payloadtest.Object{"values", payloadtest.List{payloadtest.Object{"type", 2, "int_value", 1}, payloadtest.Object{"type", 0, "string_value", "y"}}}},
				}}},
				"added_since", payloadtest.Object{"x", payloadtest.List{1, nil, "y"}},
			},
			payloadtest.Object{"service", "shop", "name", "child", "resource", nil, "type", nil, "trace_id", uint64(0x8448eb211c80319c), "span_id", payloadtest.Raw("\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
				"parent_id", uint64(1), "start", beganNanos, "duration", 5, "error", 0, "meta", nil, "metrics", nil},
		},
		payloadtest.List{payloadtest.Object{"service", "worker", "trace_id", uint64(9), "span_id", uint64(7)}},
	})
}

func wantV04(protocol string) []Span {
	const id = "0af7651916cd43dd8448eb211c80319c"
	return []Span{
		{
			TraceID: id, SpanID: 1, Service: "shop", Name: "http.server.request", Resource: "GET /users/{id}", Type: "web",
			Kind: "server", Env: "prod", Version: "1.2", Origin: "rum", Start: began, Duration: 12 * time.Millisecond, Error: true,
			Meta:    map[string]string{"env": "prod", "version": "1.2", "span.kind": "server", "_dd.p.tid": "0af7651916cd43dd", "_dd.p.dm": "-4", "_dd.origin": "rum", "error.message": "boom"},
			Metrics: map[string]float64{"_sampling_priority_v1": 2, "http.status_code": 500, "small": -1},
			Struct:  map[string][]byte{"blob": []byte("\x81\x01\x02")},
			Links:   []SpanLink{{TraceID: "00000000000000010000000000000002", SpanID: 3, TraceState: "a=b", Flags: 1<<31 | 1, Attributes: map[string]string{"k": "v"}}},
			Events: []SpanEvent{{Time: began, Name: "exception", Attributes: map[string]any{
				"s": "x", "b": true, "i": int64(-7), "f": 0.5, "a": []any{int64(1), "y"}}}},
			Priority: 2, Protocol: protocol,
		},
		{TraceID: id, SpanID: 1<<64 - 1, ParentID: 1, Service: "shop", Name: "child", Origin: "rum", Start: began, Duration: 5, Priority: 2, Protocol: protocol},
		{TraceID: "00000000000000000000000000000009", SpanID: 7, Service: "worker", Priority: noPriority, Protocol: protocol},
	}
}

func payloadV1() []byte {
	attributes := payloadtest.List{"http.route", 1, "/users/{id}", "cached", 2, true, "ratio", 3, 0.5, "http.status_code", 4, 500, "blob", 5, []byte("\x01"),
		"tags", 6, payloadtest.List{1, "shop", 4, 2}, "map", 7, payloadtest.List{"shop", 1, "prod"}, "error.message", 1, "boom"}
	return payloadtest.V1(payloadtest.Object{
		2, "container", 3, "go", 4, "1.26", 5, "0.1.0", 6, "runtime", 7, "prod", 8, "host", 9, "1.2", 10, payloadtest.List{"payload", 1, "shop"},
		11, payloadtest.List{payloadtest.Object{
			1, 2, 2, "rum", 3, payloadtest.List{"chunk", 1, "go"}, 6, payloadtest.ID16(0x0af7651916cd43dd, 0x8448eb211c80319c), 7, 4,
			4, payloadtest.List{
				payloadtest.Object{1, "shop", 2, "http.server.request", 3, "GET /users/{id}", 4, uint64(1), 5, 0, 6, beganNanos, 7, 12_000_000, 8, true, 9, attributes, 10, "web",
					11, payloadtest.List{payloadtest.Object{1, payloadtest.ID16(1, 2), 2, uint64(3), 3, payloadtest.List{"k", 1, "shop"}, 4, "a=b", 5, uint64(1<<31 | 1)}},
					12, payloadtest.List{payloadtest.Object{1, uint64(beganNanos), 2, "exception", 3, payloadtest.List{"s", 1, "boom", "a", 6, payloadtest.List{4, 1, 1, "web"}}}},
					13, "", 14, "1.3", 15, "chi", 16, 2},
				payloadtest.Object{1, "shop", 2, "child", 3, "child", 4, uint64(2), 5, uint64(1), 6, beganNanos, 7, 5, 8, false, 9, payloadtest.List{}, 10, "", 11, payloadtest.List{}, 12, payloadtest.List{}, 13, "prod", 14, "1.2", 16, 0},
			},
		}},
	})
}

func wantV1() []Span {
	const id = "0af7651916cd43dd8448eb211c80319c"
	return []Span{
		{
			TraceID: id, SpanID: 1, Service: "shop", Name: "http.server.request", Resource: "GET /users/{id}", Type: "web",
			Kind: "server", Env: "prod", Version: "1.3", Origin: "rum", Start: began, Duration: 12 * time.Millisecond, Error: true,
			Meta: map[string]string{"env": "prod", "version": "1.3", "span.kind": "server", "component": "chi", "_dd.p.dm": "-4", "_dd.origin": "rum",
				"http.route": "/users/{id}", "cached": "true", "tags": "[shop,2]", "map": "{shop:prod}", "error.message": "boom"},
			Metrics: map[string]float64{"ratio": 0.5, "http.status_code": 500},
			Struct:  map[string][]byte{"blob": []byte("\x01")},
			Links:   []SpanLink{{TraceID: "00000000000000010000000000000002", SpanID: 3, TraceState: "a=b", Flags: 1<<31 | 1, Attributes: map[string]string{"k": "shop"}}},
			Events: []SpanEvent{{Time: began, Name: "exception", Attributes: map[string]any{
				"s": "boom", "a": []any{int64(1), "web"}}}},
			Priority: 2, Protocol: "v1.0",
		},
		{TraceID: id, SpanID: 2, ParentID: 1, Service: "shop", Name: "child", Resource: "child", Env: "prod", Version: "1.2", Origin: "rum", Start: began, Duration: 5,
			Meta: map[string]string{"env": "prod", "version": "1.2", "_dd.origin": "rum"}, Priority: 2, Protocol: "v1.0"},
	}
}

func TestAgentTakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, path string
		body         []byte
		answer       string
		want         []Span
	}{
		{"PUT", "/v0.4/traces", payloadV04(), `{"rate_by_service":{}}`, wantV04("v0.4")},
		{"POST", "/v0.4/traces", payloadV04(), `{"rate_by_service":{}}`, wantV04("v0.4")},
		{"PUT", "/v0.3/traces", payloadV04(), "OK\n", wantV04("v0.3")},
		{"POST", "/v1.0/traces", payloadV1(), `{"rate_by_service":{}}`, wantV1()},
		{"POST", "/v0.4/traces", []byte{0x90}, `{"rate_by_service":{}}`, nil},
		{"POST", "/v0.4/traces", []byte{0xc0}, `{"rate_by_service":{}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var told []Span
			a := started[*Agent](t)(StartAgent(AgentOptions{OnTraces: func(s []Span) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, s...)
			}}))
			resp, body := send(t, tt.method, a.URL()+tt.path, string(tt.body), msgpackType)
			if resp.StatusCode != 200 || body != tt.answer || resp.Header.Get("Datadog-Agent-Version") == "" {
				t.Errorf("got %s %q, want %q", resp.Status, body, tt.answer)
			}
			mu.Lock()
			defer mu.Unlock()
			for name, got := range map[string][]Span{"kept": a.Spans(), "told": told} {
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s: want -, got +:\n%s", name, diff)
				}
			}
		})
	}
}

// TestChunkOfTwoTraces pins what Datadog's agent does to one: all spans get
// the last one's id.
func TestChunkOfTwoTraces(t *testing.T) {
	t.Parallel()
	spans, err := decode("v0.4", payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{
		payloadtest.Object{"trace_id", 1, "span_id", 1, "parent_id", 9, "metrics", payloadtest.Object{"_sampling_priority_v1", 1}},
		payloadtest.Object{"trace_id", 2, "span_id", 2, "metrics", payloadtest.Object{"_sampling_priority_v1", -1}},
		payloadtest.Object{"trace_id", 3, "span_id", 3, "parent_id", 9, "metrics", payloadtest.Object{"_sampling_priority_v1", 2}, "meta", payloadtest.Object{"_dd.p.tid", "nonsense"}},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if s.TraceID != "00000000000000000000000000000003" || s.Priority != -1 {
			t.Errorf("span %d: trace %s, priority %d, want the last one's and the root's", s.SpanID, s.TraceID, s.Priority)
		}
	}
}

func TestAgentRefuses(t *testing.T) {
	t.Parallel()
	a := started[*Agent](t)(StartAgent(AgentOptions{}))
	old := started[*Agent](t)(StartAgent(AgentOptions{WithoutV1: true}))
	v04, v1 := string(payloadV04()), string(payloadV1())
	span := func(fields ...any) string {
		return string(payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{payloadtest.Object(fields)}}))
	}
	spanV1 := func(fields ...any) string {
		return string(payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{4, payloadtest.List{payloadtest.Object(fields)}}}}))
	}
	event := func(attribute ...any) string {
		return span("span_events", payloadtest.List{payloadtest.Object{"attributes", payloadtest.Object{"a", payloadtest.Object(attribute)}}})
	}
	tests := []struct {
		name, method, url, body string
		header                  string
		status                  int
		text                    string
	}{
		{"unknown version", "POST", a.URL() + "/v0.5/traces", v04, msgpackType, 404, ""},
		{"unknown path", "GET", a.URL() + "/", "", msgpackType, 404, ""},
		{"v1.0 that the agent does not know", "POST", old.URL() + "/v1.0/traces", v1, msgpackType, 404, ""},
		{"method", "GET", a.URL() + "/v0.4/traces", "", msgpackType, 405, ""},
		{"another type", "POST", a.URL() + "/v0.4/traces", "[]", "Content-Type: application/json", 415, "application/msgpack"},
		{"no type", "POST", a.URL() + "/v0.4/traces", v04, "X: y", 415, ""},
		{"another site's", "POST", a.URL() + "/v0.4/traces", v04, "Sec-Fetch-Site: cross-site", 403, ""},

		{"empty", "POST", a.URL() + "/v0.4/traces", "", msgpackType, 400, "at byte 0 of 0"},
		{"text", "POST", a.URL() + "/v0.4/traces", "hello", msgpackType, 400, "want an array"},
		{"cut", "POST", a.URL() + "/v0.4/traces", v04[:len(v04)-3], msgpackType, 400, ""},
		{"more", "POST", a.URL() + "/v0.4/traces", v04 + "\x00", msgpackType, 400, "more after"},
		{"v1.0 as v0.4", "POST", a.URL() + "/v0.4/traces", v1, msgpackType, 400, "want an array"},
		{"v0.4 as v1.0", "POST", a.URL() + "/v1.0/traces", v04, msgpackType, 400, "want a map"},
		{"no string", "POST", a.URL() + "/v0.4/traces", span("service", 5), msgpackType, 400, "want a string"},
		{"no number", "POST", a.URL() + "/v0.4/traces", span("metrics", payloadtest.Object{"a", "5"}), msgpackType, 400, "want a float"},
		{"signed time", "POST", a.URL() + "/v0.4/traces", span("span_events", payloadtest.List{payloadtest.Object{"time_unix_nano", -1}}), msgpackType, 400, "negative"},
		{"int for a float", "POST", a.URL() + "/v0.4/traces", event("type", 3, "double_value", 1), msgpackType, 400, "want a float"},
		{"unknown attribute", "POST", a.URL() + "/v0.4/traces", event("type", 5), msgpackType, 400, "unknown type"},

		{"cut v1.0", "POST", a.URL() + "/v1.0/traces", v1[:len(v1)-3], msgpackType, 400, ""},
		{"more v1.0", "POST", a.URL() + "/v1.0/traces", v1 + "\x00", msgpackType, 400, "more after"},
		{"unknown field", "POST", a.URL() + "/v1.0/traces", spanV1(17, "x"), msgpackType, 400, "unknown field 17"},
		{"the agent's field", "POST", a.URL() + "/v1.0/traces", string(payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{5, true}}})), msgpackType, 400, "unknown field 5"},
		{"string not seen", "POST", a.URL() + "/v1.0/traces", spanV1(1, 1), msgpackType, 400, "string 1 of 1"},
		{"unknown kind", "POST", a.URL() + "/v1.0/traces", spanV1(16, 6), msgpackType, 400, "unknown kind"},
		{"attributes in twos", "POST", a.URL() + "/v1.0/traces", spanV1(9, payloadtest.List{"a", 1}), msgpackType, 400, "threes"},
		{"array of one", "POST", a.URL() + "/v1.0/traces", spanV1(9, payloadtest.List{"a", 6, payloadtest.List{1}}), msgpackType, 400, "twos"},
		{"unknown type", "POST", a.URL() + "/v1.0/traces", spanV1(9, payloadtest.List{"a", 8, "b"}), msgpackType, 400, "unknown type"},
		{"short trace id", "POST", a.URL() + "/v1.0/traces", string(payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{6, []byte("12345678")}}})), msgpackType, 400, "16 bytes"},
	}
	for _, tt := range tests {
		headers := []string{tt.header}
		if strings.HasPrefix(tt.header, "Sec-") {
			headers = append(headers, msgpackType)
		}
		resp, body := send(t, tt.method, tt.url, tt.body, headers...)
		if resp.StatusCode != tt.status || !strings.Contains(body, tt.text) {
			t.Errorf("%s: got %s %q, want %d with %q", tt.name, resp.Status, body, tt.status, tt.text)
		}
		if resp.Header.Get("Datadog-Agent-State") == "" {
			t.Errorf("%s: no agent's header", tt.name)
		}
	}
	if n := len(a.Spans()) + len(old.Spans()); n != 0 || a.Requests() == 0 || a.Requests() != a.Refused() {
		t.Errorf("%d spans kept; %d requests, %d refused", n, a.Requests(), a.Refused())
	}
}

func TestAgentBodyTooLarge(t *testing.T) {
	t.Parallel()
	a := started[*Agent](t)(StartAgent(AgentOptions{}))
	wantTooLarge(t, a.serveHTTP, a.URL()+"/v0.4/traces", maxAgentBody)
}

// wantTooLarge sends one byte more than limit: announced, which a server
// answers before it comes, and not announced.
func wantTooLarge(t *testing.T, h http.HandlerFunc, url string, limit int64) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", url, io.LimitReader(zeros{}, limit+1))
	r.Header.Set("Content-Type", "application/msgpack")
	w := httptest.NewRecorder()
	h(w, r)
	if w.Code != 413 {
		t.Errorf("not announced: got %d, want 413", w.Code)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, io.LimitReader(zeros{}, limit+1))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = limit + 1
	r.Header = http.Header{"Content-Type": {"application/msgpack"}, "Expect": {"100-continue"}}
	tr := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("announced: got %s, want 413", resp.Status)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestAgentInfo(t *testing.T) {
	t.Parallel()
	states := make(map[string]bool)
	for without, want := range map[bool][]string{
		false: {"/v0.3/traces", "/v0.4/traces", "/v1.0/traces"},
		true:  {"/v0.3/traces", "/v0.4/traces"},
	} {
		a := started[*Agent](t)(StartAgent(AgentOptions{WithoutV1: without, Rates: map[string]float64{"service:,env:": 0.5}}))
		resp, body := send(t, "GET", a.URL()+"/info", "")
		var info struct {
			Version    string
			Endpoints  []string
			DropP0s    bool `json:"client_drop_p0s"`
			SpanEvents bool `json:"span_events"`
			Config     struct {
				MaxBytes int `json:"max_request_bytes"`
			}
		}
		if err := json.Unmarshal([]byte(body), &info); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, info.Endpoints); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
		if info.Version == "" || info.Version != resp.Header.Get("Datadog-Agent-Version") || !info.DropP0s || !info.SpanEvents || info.Config.MaxBytes != 25<<20 {
			t.Errorf("%+v", info)
		}
		states[resp.Header.Get("Datadog-Agent-State")] = true
		if _, rates := send(t, "PUT", a.URL()+"/v0.4/traces", "\x90", msgpackType); rates != `{"rate_by_service":{"service:,env:":0.5}}` {
			t.Errorf("rates: %s", rates)
		}
	}
	if len(states) != 2 {
		t.Errorf("states %v, want one for each answer", states)
	}
}

func TestAgentKeepsTheLast(t *testing.T) {
	t.Parallel()
	a := started[*Agent](t)(StartAgent(AgentOptions{}))
	a.keep = 3
	for i := range 5 {
		a.add([]Span{{SpanID: uint64(i)}})
	}
	a.add([]Span{{SpanID: 5}, {SpanID: 6}})
	var got []uint64
	for _, s := range a.Spans() {
		got = append(got, s.SpanID)
	}
	if diff := cmp.Diff([]uint64{4, 5, 6}, got); diff != "" || a.Dropped() != 4 {
		t.Errorf("dropped %d, want 4; want -, got +:\n%s", a.Dropped(), diff)
	}
}

func TestWaitSpans(t *testing.T) {
	t.Parallel()
	a := started[*Agent](t)(StartAgent(AgentOptions{}))
	go func() {
		for i := range 3 {
			a.add([]Span{{SpanID: uint64(i)}})
		}
	}()
	if spans, err := a.WaitSpans(t.Context(), 3); err != nil || len(spans) != 3 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if spans, err := a.WaitSpans(ctx, 4); !errors.Is(err, context.Canceled) || len(spans) != 3 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
}

// FuzzDecode wants an error or spans of whatever comes in, and of spans a tree.
func FuzzDecode(f *testing.F) {
	f.Add(payloadV04())
	f.Add(payloadV1())
	f.Add([]byte("\xdd\xff\xff\xff\xff\x91\x80"))
	f.Fuzz(func(t *testing.T, body []byte) {
		v04, err := decode("v0.4", body)
		v1, err1 := decode("v1.0", body)
		if err == nil && err1 == nil {
			t.Error("both v0.4 and v1.0")
		}
		for _, s := range slices.Concat(v04, v1) {
			if err == nil && len(s.TraceID) != 32 {
				t.Errorf("trace id %q", s.TraceID)
			}
		}
		Tree(slices.Concat(v04, v1))
	})
}
