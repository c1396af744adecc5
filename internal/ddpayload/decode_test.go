package ddpayload

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/msgpack"
	"github.com/kumihimo/kumihimo/internal/payloadtest"
)

const beganNanos = 1_700_000_000_000_000_005

var began = time.Unix(0, beganNanos).UTC()

// v04 is one trace of two spans, which every version can say.
func v04() payloadtest.List {
	return payloadtest.List{
		payloadtest.Object{"service", "shop", "name", "http.server.request", "resource", "GET /users/{id}", "type", "web",
			"trace_id", uint64(0x8448eb211c80319c), "span_id", uint64(1), "parent_id", 0, "start", beganNanos, "duration", 12_000_000, "error", 1,
			"meta", payloadtest.Object{"env", "prod", "version", "1.2", "span.kind", "server", "_dd.p.tid", "0af7651916cd43dd", "_dd.origin", "rum", "error.message", "boom"},
			"metrics", payloadtest.Object{"_sampling_priority_v1", 2.0, "http.status_code", 500}},
		payloadtest.Object{"service", "shop", "name", "child", "trace_id", uint64(0x8448eb211c80319c), "span_id", uint64(2), "parent_id", 1, "start", beganNanos, "duration", 5,
			"meta", payloadtest.Object{"env", "prod", "version", "1.2"}},
	}
}

func payloadV05() []byte {
	// The strings, and after them the numbers by which spans name them.
	strings := payloadtest.List{"", "shop", "http.server.request", "GET /users/{id}", "web", "env", "prod", "version", "1.2", "span.kind", "server",
		"_dd.p.tid", "0af7651916cd43dd", "_dd.origin", "rum", "error.message", "boom", "_sampling_priority_v1", "http.status_code", "child"}
	return payloadtest.AppendV04(nil, payloadtest.List{strings, payloadtest.List{payloadtest.List{
		payloadtest.List{1, 2, 3, uint64(0x8448eb211c80319c), uint64(1), 0, beganNanos, 12_000_000, 1,
			payloadtest.Object{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, payloadtest.Object{17, 2.0, 18, 500}, 4},
		payloadtest.List{1, 19, 0, uint64(0x8448eb211c80319c), uint64(2), 1, beganNanos, 5, 0, payloadtest.Object{5, 6, 7, 8}, payloadtest.Object{}, 0},
	}}})
}

func payloadV07Test() []byte {
	return payloadtest.AppendV04(nil, payloadtest.Object{
		"container_id", "c", "language_name", "go", "tags", payloadtest.Object{"team", "web", "env", "ignored"}, "env", "prod", "app_version", "1.2",
		"chunks", payloadtest.List{payloadtest.Object{
			"priority", 2, "origin", "rum", "dropped_trace", false, "tags", payloadtest.Object{"_dd.p.tid", "0af7651916cd43dd", "_dd.p.dm", "-4"},
			"spans", payloadtest.List{
				payloadtest.Object{"service", "shop", "name", "http.server.request", "resource", "GET /users/{id}", "type", "web",
					"trace_id", uint64(0x8448eb211c80319c), "span_id", uint64(1), "start", beganNanos, "duration", 12_000_000, "error", 1,
					"meta", payloadtest.Object{"span.kind", "server", "env", "test"}, "metrics", payloadtest.Object{"http.status_code", 500}},
			},
		}},
	})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	same := func(version string) []Span {
		return []Span{
			{TraceID: trace, SpanID: 1, Service: "shop", Name: "http.server.request", Resource: "GET /users/{id}", Type: "web",
				Kind: "server", Env: "prod", Version: "1.2", Origin: "rum", Start: began, Duration: 12 * time.Millisecond, Error: true,
				Meta: map[string]string{"env": "prod", "version": "1.2", "span.kind": "server", "_dd.p.tid": "0af7651916cd43dd",
					"_dd.origin": "rum", "error.message": "boom"},
				Metrics:  map[string]float64{"_sampling_priority_v1": 2, "http.status_code": 500},
				Priority: 2, Protocol: version},
			{TraceID: trace, SpanID: 2, ParentID: 1, Service: "shop", Name: "child", Env: "prod", Version: "1.2", Origin: "rum",
				Start: began, Duration: 5, Meta: map[string]string{"env": "prod", "version": "1.2"}, Priority: 2, Protocol: version},
		}
	}
	tests := []struct {
		version string
		body    []byte
		want    []Span
	}{
		{V03, payloadtest.AppendV04(nil, payloadtest.List{v04()}), same(V03)},
		{V04, payloadtest.AppendV04(nil, payloadtest.List{v04()}), same(V04)},
		{V05, payloadV05(), same(V05)},
		{V07, payloadV07Test(), []Span{{TraceID: trace, SpanID: 1, Service: "shop", Name: "http.server.request", Resource: "GET /users/{id}",
			Type: "web", Kind: "server", Env: "test", Version: "1.2", Origin: "rum", Start: began, Duration: 12 * time.Millisecond, Error: true,
			Meta:    map[string]string{"span.kind": "server", "env": "test", "version": "1.2", "team": "web", "_dd.p.dm": "-4", "_dd.origin": "rum"},
			Metrics: map[string]float64{"http.status_code": 500}, Priority: 2, Protocol: V07}}},
		{V10, payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{1, 1, 6, payloadtest.ID16(0, 9), 4, payloadtest.List{payloadtest.Object{1, "shop", 4, uint64(7)}}}}}),
			[]Span{{TraceID: "00000000000000000000000000000009", SpanID: 7, Service: "shop", Meta: map[string]string{"_dd.p.dm": "-0"}, Priority: 1, Protocol: V10}}},
		{V07, payloadtest.AppendV04(nil, payloadtest.Object{}), nil},
		{V05, payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{}, payloadtest.List{}}), nil},
	}
	for _, tt := range tests {
		got, err := Decode(tt.version, tt.body)
		if err != nil {
			t.Errorf("%s: %v", tt.version, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.version, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	v05, v07 := string(payloadV05()), string(payloadV07Test())
	span05 := func(fields ...any) string {
		return string(payloadtest.AppendV04(nil, payloadtest.List{payloadtest.List{"", "a"}, payloadtest.List{payloadtest.List{payloadtest.List(fields)}}}))
	}
	tests := []struct {
		name, version, body, text string
	}{
		{"a version there is none of", "v0.6", "\x90", "unknown version"},
		{"nothing", V05, "", "want an array"},
		{"v0.4 as v0.5", V05, "\x90", "the strings and the traces"},
		{"cut v0.5", V05, v05[:len(v05)-3], ""},
		{"more v0.5", V05, v05 + "\x00", "more after"},
		{"eleven fields", V05, span05(0, 0, 0, 1, 1, 0, 0, 0, 0, payloadtest.Object{}, payloadtest.Object{}), "11 fields"},
		{"a string that is not there", V05, span05(2, 0, 0, 1, 1, 0, 0, 0, 0, payloadtest.Object{}, payloadtest.Object{}, 0), "string 2 of 2"},
		{"a string for a number of one", V05, span05("a", 0, 0, 1, 1, 0, 0, 0, 0, payloadtest.Object{}, payloadtest.Object{}, 0), "want an integer"},
		{"nil for a map", V05, span05(0, 0, 0, 1, 1, 0, 0, 0, 0, nil, payloadtest.Object{}, 0), "want a map"},
		{"v0.4 as v0.7", V07, "\x90", "want a map"},
		{"cut v0.7", V07, v07[:len(v07)-3], ""},
		{"more v0.7", V07, v07 + "\x00", "more after"},
		{"chunks that are none", V07, string(payloadtest.AppendV04(nil, payloadtest.Object{"chunks", 5})), "want an array"},
	}
	for _, tt := range tests {
		spans, err := Decode(tt.version, []byte(tt.body))
		if err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %d spans, error %v, want one with %q", tt.name, len(spans), err, tt.text)
		}
	}
}

// TestBudgets decodes what would take gigabytes if it were believed.
func TestBudgets(t *testing.T) {
	t.Parallel()
	for version, body := range map[string][]byte{V04: payloadtest.AppendV04(nil, payloadtest.List{v04()}), V05: payloadV05(), V07: payloadV07Test(),
		V10: payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{4, payloadtest.List{payloadtest.Object{}, payloadtest.Object{}}}}})} {
		d := newDecoder(body)
		d.spans = 1
		if version == V07 {
			d.spans = 0
		}
		_, err := map[string]func(*decoder) ([]Span, error){
			V04: func(d *decoder) ([]Span, error) { return tracesV04(d, V04) }, V05: tracesV05, V07: payloadV07, V10: tracesV1,
		}[version](d)
		if err == nil || !strings.Contains(err.Error(), "too many spans") {
			t.Errorf("%s: one span too many: got %v", version, err)
		}
	}
	if _, err := Decode(V04, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}); err == nil {
		t.Error("4 G of nothing: no error")
	}
	d := newDecoder([]byte("\x93\x91\x01\x01\x01"))
	d.elements = 3
	eachElement(d, func() {
		if d.Kind() == msgpack.Array {
			eachElement(d, d.Skip)
			return
		}
		d.Skip()
	})
	if d.Err() == nil || !strings.Contains(d.Err().Error(), "too many elements") {
		t.Errorf("4 elements of 3: got %v", d.Err())
	}
}

// FuzzDecode wants an error or spans with ids of whatever comes in.
func FuzzDecode(f *testing.F) {
	f.Add(payloadtest.AppendV04(nil, payloadtest.List{v04()}))
	f.Add(payloadV05())
	f.Add(payloadV07Test())
	f.Add(payloadtest.V1(payloadtest.Object{11, payloadtest.List{payloadtest.Object{6, payloadtest.ID16(1, 2), 4, payloadtest.List{payloadtest.Object{1, "shop", 9, payloadtest.List{"a", 6, payloadtest.List{1, "b"}}}}}}}))
	f.Add([]byte("\xdd\xff\xff\xff\xff\x91\x80"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, version := range []string{V04, V05, V07, V10} {
			spans, err := Decode(version, body)
			if err != nil {
				continue
			}
			for _, s := range spans {
				if len(s.TraceID) != 32 && (version != V10 || s.TraceID != "") {
					t.Errorf("%s: trace id %q", version, s.TraceID)
				}
			}
		}
	})
}
