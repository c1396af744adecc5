package devui

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

func wholeSpan() span {
	attrs := []attribute.KeyValue{
		attribute.String("s", "text"), attribute.String("", ""), attribute.Bool("b", true), attribute.Int64("i", math.MinInt64), attribute.Float64("f", -0.5),
		attribute.StringSlice("ss", []string{"a", "b"}), attribute.BoolSlice("bs", []bool{true, false}),
		attribute.Int64Slice("is", []int64{1, -2}), attribute.Float64Slice("fs", []float64{0.25}), attribute.StringSlice("none", []string{}),
	}
	return span{
		id: trace.SpanID{1}, parent: trace.SpanID{2}, remote: true, start: beganNanos, duration: math.MaxInt64,
		service: "shop", name: "load", resource: "r", typ: "web", kind: trace.SpanKindClient, failed: true, message: "boom",
		scope: "scope", version: "1", state: "a=b", origin: "v0.4", process: 3, attrs: attrs,
		events: []event{{at: beganNanos, name: "exception", attrs: attrs[:2]}, {attrs: []attribute.KeyValue{}}},
		links:  []link{{trace: trace.TraceID{3}, span: trace.SpanID{4}, state: "c=d", attrs: attrs[:1]}},
		left:   2,
	}
}

var comparable = cmp.Options{
	cmp.AllowUnexported(span{}, event{}, link{}),
	cmp.Comparer(func(a, b attribute.Value) bool { return a.Type() == b.Type() && a.String() == b.String() }),
}

func TestBlob(t *testing.T) {
	t.Parallel()
	var numbering names
	full := names{fixed: true}
	for i, n := range []*names{&numbering, &numbering, &full} {
		want := wholeSpan()
		blob := n.encode(nil, &want)
		got, err := decode(string(blob), n.list)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if diff := cmp.Diff(want, got, comparable); diff != "" {
			t.Errorf("%d: want -, got +:\n%s", i, diff)
		}
		t.Logf("%d: %d bytes", i, len(blob))
	}
	blob := numbering.encode(nil, &span{name: "n"})
	for i := range blob {
		if _, err := decode(string(blob[:i]), numbering.list); err == nil {
			t.Errorf("cut after %d bytes: no error", i)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	var n names
	for i := range 2 * maxNames {
		n.number(string(rune('a'+i%26)) + string(rune(0x4e00+i)))
	}
	if len(n.list) != maxNames || n.bytes > 1<<20 {
		t.Errorf("%d names of %d bytes, want %d", len(n.list), n.bytes, maxNames)
	}
	if _, ok := n.number("late"); ok {
		t.Error("a name beyond the bound has a number")
	}
	if got := n.keep("late"); got != "late" {
		t.Errorf("got %q", got)
	}
}

// FuzzDecode wants an error or a span of whatever comes in.
func FuzzDecode(f *testing.F) {
	var n names
	s := wholeSpan()
	f.Add(n.encode(nil, &s))
	f.Add([]byte("\x00\x00\xc4\x00\xc4\x00"))
	f.Fuzz(func(_ *testing.T, blob []byte) {
		if s, err := decode(string(blob), n.list); err == nil {
			s.doc(0)
			s.detail(0)
		}
	})
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		max  int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"aé", 2, "a…"}, {"\xff", 9, "\uFFFD"}, {"", 0, ""}, {"é", 1, "…"}} {
		if got := clip(tt.in, tt.max); got != tt.want {
			t.Errorf("clip(%q, %d): got %q, want %q", tt.in, tt.max, got, tt.want)
		}
	}
}
