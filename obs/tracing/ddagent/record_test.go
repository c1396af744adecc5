package ddagent

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// FuzzSpan puts strange values into a span and wants a sound payload.
func FuzzSpan(f *testing.F) {
	f.Add("name", "key", "value", int64(1), 1.5, int64(0), int64(1))
	f.Add("", "", "", int64(-1), math.Copysign(0, -1), int64(-1), int64(-5))
	f.Add("\xff\xfe", "http.url", "http://u:p@h\x00", int64(1<<62), 1e300, int64(1<<62), int64(-1<<62))
	f.Add("a\xe2\x82", "db.statement", strings.Repeat("é", 13000), int64(0), 0.1, int64(946684800), int64(1))
	f.Fuzz(func(t *testing.T, name, key, value string, i int64, fl float64, start, end int64) {
		s := mapped(t, Options{Service: value}, resource.NewSchemaless(attribute.String(key, value)), trace.SpanKind(i&7), func(s trace.Span) {
			s.SetName(name)
			s.SetAttributes(attribute.String(key, value), attribute.Int64(key+"i", i), attribute.Float64(key+"f", fl),
				attribute.StringSlice(key+"s", []string{value, name}), attribute.Float64Slice(key+"fs", []float64{fl}))
			s.AddEvent(name, trace.WithAttributes(attribute.String(key, value)), trace.WithTimestamp(time.Unix(start, 0)))
			s.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}), Attributes: []attribute.KeyValue{attribute.String(key, value)}})
			s.SetStatus(codes.Error, value)
		})
		if n, r := s["name"].(string), s["resource"].(string); n == "" || len(n) > maxName || len(r) > maxResource {
			t.Errorf("name %q, resource of %d bytes", n, len(r))
		}
		valid(t, map[string]any(s))
		start1, duration := timesOf(time.Unix(start, i), time.Unix(end, 0), begin)
		if start1 < year2000*1e9 || duration < 0 || start1+duration < 0 {
			t.Errorf("start %d, duration %d", start1, duration)
		}
	})
}

// valid wants every string of v to be valid UTF-8.
func valid(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			t.Errorf("invalid UTF-8: %q", v)
		}
	case []any:
		for _, x := range v {
			valid(t, x)
		}
	case map[string]any:
		for k, x := range v {
			valid(t, k)
			valid(t, x)
		}
	}
}

// FuzzReader takes apart arbitrary bytes; that must end, and not panic.
func FuzzReader(f *testing.F) {
	var got chunk
	e := NewExporter(Options{})
	p := NewProcessor(e, ProcessorOptions{})
	e.dead = true
	rich(f, capture{p, &got})
	f.Add(got.records, 1)
	f.Add(got.records[:len(got.records)-3], 1)
	f.Add("\x01\x00\x00\x00\xff", 7)
	f.Fuzz(func(t *testing.T, records string, spans int) {
		c := chunk{records: records, spans: spans & 0xff, root: -1, override: true, id: &identity{keys: &e.keys}}
		encodeV04(c)
		encodeV1(c)
		if first, second, ok := c.halve(); ok {
			encodeV04(first, second)
			encodeV1(first, second)
		}
	})
}

func TestHalvesHaveAllSpans(t *testing.T) {
	t.Parallel()
	e := NewExporter(Options{Service: "shop"})
	p := NewProcessor(e, ProcessorOptions{})
	provider := providerFor(p)
	for n := 2; n < 12; n++ {
		for root := range n { // which of the spans is the local root
			g := p.newGroup(trace.TraceID{15: 1}, nil, resource.Empty())
			want := map[uint64]bool{}
			for i := range n {
				ctx := context.Background()
				if i != root {
					ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}, TraceFlags: trace.FlagsSampled}))
				}
				_, s := provider.Tracer("t").Start(ctx, "s")
				enc := p.encoder()
				enc.encode(readOnly(s), p.identity(resource.Empty()), begin)
				g.append(enc, begin)
				id := s.SpanContext().SpanID()
				want[be64(id[:])] = i == root
			}
			c := g.cut(p.identity(resource.Empty()))
			first, second, ok := c.halve()
			if !ok {
				t.Fatal("not halved")
			}
			for _, half := range []chunk{first, second} {
				n := 0
				for r := half.read(); r.next(); n++ {
					v, isFirst := r.v, r.n == 1
					if isRoot := v.flags&flagRoot != 0; isRoot != want[v.id] || isRoot && !isFirst {
						t.Errorf("span %d: root %v, first %v", v.id, isRoot, isFirst)
					}
					delete(want, v.id)
				}
				if n != half.spans {
					t.Errorf("a half of %d spans yields %d", half.spans, n)
				}
			}
			if len(want) != 0 {
				t.Errorf("lost %v", want)
			}
		}
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, tag, name string }{
		{"", "", "unnamed_operation"},
		{"plain", "plain", "plain"},
		{"Upper Case", "upper_case", "Upper_Case"},
		{"a  b", "a_b", "a_b"},
		{"trailing  ", "trailing", "trailing"},
		{"_lead", "_lead", "lead"},
		{"9lives", "9lives", "lives"},
		{"a._b", "a._b", "a._b"},
		{"a_.b", "a_.b", "a.b"},
		{"a-b/c:d", "a-b/c:d", "a_b_c_d"},
		{"ÀÉ", "àé", "unnamed_operation"},
		{"bad\xff\xfebytes", "bad_bytes", "bad_bytes"},
		{"__", "_", "unnamed_operation"},
	}
	for _, tt := range tests {
		if tt.in == "__" {
			tt.tag = "" // nothing but what is cut
		}
		if got := string(appendTag(nil, tt.in)); got != tt.tag {
			t.Errorf("appendTag(%q) = %q, want %q", tt.in, got, tt.tag)
		}
		if got := string(appendName(nil, []byte(tt.in))); got != tt.name {
			t.Errorf("appendName(%q) = %q, want %q", tt.in, got, tt.name)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"abcdef": "abcd", "abcé": "abc", "ab€": "ab", "a😀": "a", "😀x": "😀", "\xff\xff": "\uFFFD", "": "", "é\xa9\xa9": "é",
	} {
		if got := clean(s, 4); got != want {
			t.Errorf("clean(%q, 4) = %q, want %q", s, got, want)
		}
	}
}
