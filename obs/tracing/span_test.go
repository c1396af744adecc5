package tracing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/trace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// reading is what processors read of a span, times and ids left out.
type reading struct {
	Name       string
	Kind       oteltrace.SpanKind
	Attributes []string
	Events     []string
	Links      int
	Status     sdktrace.Status
	Children   int
	Dropped    [3]int
}

func printed(kvs []attribute.KeyValue) (out []string) {
	for _, kv := range kvs {
		out = append(out, string(kv.Key)+"="+kv.Value.Type().String()+":"+kv.Value.String())
	}
	return out
}

func readingOf(s sdktrace.ReadOnlySpan) reading {
	out := reading{
		Name: s.Name(), Kind: s.SpanKind(), Attributes: printed(s.Attributes()), Links: len(s.Links()),
		Status: s.Status(), Children: s.ChildSpanCount(),
		Dropped: [3]int{s.DroppedAttributes(), s.DroppedEvents(), s.DroppedLinks()},
	}
	for _, e := range s.Events() {
		for _, kv := range e.Attributes {
			if kv.Key == "exception.stacktrace" { // whose frames differ
				kv.Value = attribute.BoolValue(kv.Value.AsString() != "")
			}
			out.Events = append(out.Events, fmt.Sprint(e.Name, " ", printed([]attribute.KeyValue{kv})))
		}
	}
	return out
}

// sameSpans does do with a tracer of the SDK's own and with ours, and compares
// what a processor gets.
func sameSpans(t *testing.T, do func(oteltrace.Tracer)) {
	t.Helper()
	var got [2][]reading
	for i := range got {
		rec := tracetest.NewSpanRecorder()
		var p oteltrace.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
		if i == 1 {
			p = NewProvider(Options{SpanProcessors: []sdktrace.SpanProcessor{rec}})
		}
		do(p.Tracer("t"))
		for _, s := range rec.Ended() {
			got[i] = append(got[i], readingOf(s))
		}
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" || len(got[0]) == 0 {
		t.Errorf("the SDK's spans and ours (-SDK +ours):\n%s", diff)
	}
}

func manyAttributes(n int) (kvs []attribute.KeyValue) {
	for i := range n {
		kvs = append(kvs, attribute.Int("key."+strconv.Itoa(i), i))
	}
	return kvs
}

// wrappedOption is one that does not say what it is for.
type wrappedOption struct{ oteltrace.SpanStartOption }

// TestSpanIsTheSDKs: whatever is done to a span, processors read what they
// would of the SDK's.
func TestSpanIsTheSDKs(t *testing.T) {
	t.Parallel()
	with, str := oteltrace.WithAttributes, attribute.String
	kind := oteltrace.WithSpanKind(oteltrace.SpanKindClient)
	nested := attribute.Map("m", str("a", "1"), str("a", "2"))
	on := func(f func(oteltrace.Span), opts ...oteltrace.SpanStartOption) func(oteltrace.Tracer) {
		return func(tr oteltrace.Tracer) {
			_, s := tr.Start(context.Background(), "span", opts...)
			f(s)
			s.End()
			f(s) // too late
		}
	}
	nothing := func(oteltrace.Span) {}
	for _, tt := range []struct {
		name string
		do   func(oteltrace.Tracer)
	}{
		{"nothing", on(nothing)},
		{"attributes first", on(nothing, with(str("a", "1"), str("b", "2")), kind)},
		{"attributes last", on(nothing, kind, with(str("a", "1"), str("b", "2")))},
		{"attributes in between", on(nothing, with(str("a", "1")), kind, with(str("b", "2")), oteltrace.WithTimestamp(time.Unix(1e9, 0)), with(str("a", "3")))},
		{"attributes in an option of another's", on(nothing, with(str("a", "1")), wrappedOption{with(str("b", "2"))}, kind)},
		{"an attribute twice at once", on(nothing, with(str("a", "1"), str("b", "2"), str("a", "3")))},
		{"an attribute twice", on(func(s oteltrace.Span) {
			s.SetAttributes(str("a", "2"), attribute.Int("b", 1))
			s.SetAttributes(str("b", "x"))
		}, with(str("a", "1")))},
		{"no key", on(func(s oteltrace.Span) { s.SetAttributes(str("a", "1"), str("", "2"), str("c", "3")) })},
		{"no key at the start", on(nothing, with(str("", "2"), str("c", "3")))},
		{"no value", on(nothing, with(attribute.KeyValue{Key: "a"}))},
		{"a map", on(func(s oteltrace.Span) { s.SetAttributes(str("a", "1"), nested, str("a", "3")) }, with(str("a", "0")))},
		{"a map at the start", on(func(s oteltrace.Span) { s.SetAttributes(str("b", "1")) }, with(str("a", "0"), nested))},
		{"slices", on(nothing, with(attribute.StringSlice("a", []string{"x"}), attribute.Int64Slice("b", []int64{1})))},
		{"more than a few", on(func(s oteltrace.Span) { s.SetAttributes(manyAttributes(100)...) }, with(str("a", "1")))},
		{"more than the limit", on(func(s oteltrace.Span) {
			s.SetAttributes(manyAttributes(100)...)
			s.SetAttributes(str("key.3", "again"))
		}, with(manyAttributes(127)...))},
		{"one by one beyond it", on(func(s oteltrace.Span) {
			for _, kv := range manyAttributes(200) {
				s.SetAttributes(kv)
			}
		})},
		{"events, links, status, name", on(func(s oteltrace.Span) {
			s.AddEvent("e", with(str("a", "1")))
			s.RecordError(errors.New("x"))
			s.AddLink(oteltrace.Link{SpanContext: s.SpanContext()})
			s.SetStatus(codes.Error, "bad")
			s.SetName("other")
		}, oteltrace.WithLinks(oteltrace.Link{Attributes: []attribute.KeyValue{str("l", "1")}}))},
		{"children", func(tr oteltrace.Tracer) {
			ctx, root := tr.Start(context.Background(), "root")
			for range 3 {
				_, s := tr.Start(ctx, "child", with(str("manual.keep", "true"), str("a", "1")))
				s.End()
			}
			root.End()
			root.End()
		}},
		{"a new root below", func(tr oteltrace.Tracer) {
			ctx, root := tr.Start(context.Background(), "root")
			_, s := tr.Start(ctx, "other", oteltrace.WithNewRoot(), with(str("a", "1")))
			s.End()
			root.End()
		}},
		{"a panic", panics(func(s oteltrace.Span) { defer s.End(); panic("no") })},
		{"a panic with an error", panics(func(s oteltrace.Span) { defer s.End(); panic(errors.New("no")) })},
		{"a panic with a stack", panics(func(s oteltrace.Span) { defer s.End(oteltrace.WithStackTrace(true)); panic(3) })},
		{"a panic with a type of its own", panics(func(s oteltrace.Span) { defer s.End(); panic(problem{}) })},
		{"a panic after the end", panics(func(s oteltrace.Span) { s.End(); defer s.End(); panic("no") })},
		{"an end deferred by another function", panics(func(s oteltrace.Span) { defer func() { s.End() }(); panic("no") })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sameSpans(t, tt.do)
		})
	}
}

type problem struct{}

// panics returns what starts a span and lets f panic, and sees to it that the
// panic is not swallowed.
func panics(f func(oteltrace.Span)) func(oteltrace.Tracer) {
	return func(tr oteltrace.Tracer) {
		defer func() {
			if recover() == nil {
				panic("the panic is gone")
			}
		}()
		_, s := tr.Start(context.Background(), "span")
		f(s)
	}
}

// TestSpanIsTheSDKsAtRandom does the same with attributes in any order, number
// and place.
func TestSpanIsTheSDKsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		sameSpans(t, func(tr oteltrace.Tracer) {
			r := rand.New(rand.NewPCG(seed, 1)) // the same for both
			some := func() (kvs []attribute.KeyValue) {
				for range r.IntN(40) {
					key := strings.Repeat("k", r.IntN(3)) + strconv.Itoa(r.IntN(60))
					switch r.IntN(200) {
					case 0:
						kvs = append(kvs, attribute.Slice(key, attribute.IntValue(1)))
					case 1:
						kvs = append(kvs, attribute.String("", "v"))
					default:
						kvs = append(kvs, attribute.Int(key, r.IntN(1000)))
					}
				}
				return kvs
			}
			_, s := tr.Start(context.Background(), "s", oteltrace.WithAttributes(some()...), oteltrace.WithSpanKind(oteltrace.SpanKindServer), oteltrace.WithAttributes(some()...))
			for range r.IntN(5) {
				s.SetAttributes(some()...)
			}
			s.End()
		})
	}
}

// TestSpanLimitsAreTheSDKs: those the SDK reads hold.
func TestSpanLimitsAreTheSDKs(t *testing.T) {
	for key, value := range map[string]string{
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4",
		"OTEL_SPAN_EVENT_COUNT_LIMIT": "1", "OTEL_SPAN_LINK_COUNT_LIMIT": "1",
	} {
		t.Run(key, func(t *testing.T) {
			t.Setenv(key, value)
			sameSpans(t, func(tr oteltrace.Tracer) {
				_, s := tr.Start(context.Background(), "s", oteltrace.WithAttributes(attribute.String("long", "longer than that")))
				s.SetAttributes(manyAttributes(5)...)
				s.SetAttributes(attribute.String("other", "longer than that"))
				for range 3 {
					s.AddEvent("e", oteltrace.WithAttributes(attribute.Int("n", 1)))
					s.AddLink(oteltrace.Link{SpanContext: s.SpanContext()})
				}
				s.End()
			})
		})
	}
}

// TestStartedAttributesAreCopied: who has started a span may write to what it
// gave.
func TestStartedAttributesAreCopied(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	tr := NewProvider(Options{SpanProcessors: []sdktrace.SpanProcessor{rec}}).Tracer("t")
	kvs := []attribute.KeyValue{attribute.String("a", "1")}
	own := obsctx.NewStartAttributes(kvs)
	for _, o := range []oteltrace.SpanStartOption{&own, oteltrace.WithAttributes(kvs...)} {
		kvs[0] = attribute.String("a", "1")
		_, s := tr.Start(t.Context(), "s", o)
		kvs[0] = attribute.String("a", "2")
		s.SetAttributes(kvs...)
		kvs[0] = attribute.String("a", "3")
		s.End()
	}
	for _, s := range rec.Ended() {
		if got := printed(s.Attributes()); !cmp.Equal(got, []string{"a=STRING:2"}) {
			t.Errorf("got %v", got)
		}
	}
}

// TestSpanAtOnce: one End of many reaches the processors, and nothing changes
// afterwards.
func TestSpanAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		rec := tracetest.NewSpanRecorder()
		_, s := NewProvider(Options{SpanProcessors: []sdktrace.SpanProcessor{rec}}).Tracer("t").Start(t.Context(), "s")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for n := range 50 {
					s.SetAttributes(attribute.Int(strconv.Itoa(n), i))
				}
				s.End()
				if ro := s.(sdktrace.ReadOnlySpan); len(ro.Attributes()) == 0 {
					t.Error("no attributes")
				}
			})
		}
		wg.Wait()
		if n := len(rec.Ended()); n != 1 {
			t.Fatalf("it ended %d times", n)
		}
	}
}

// TestTracerProviderOfASpan: what starts spans there is in the same pipeline,
// even under a span that is not recorded.
func TestTracerProviderOfASpan(t *testing.T) {
	t.Parallel()
	for _, s := range []sdktrace.Sampler{sdktrace.AlwaysSample(), sdktrace.NeverSample()} {
		p := NewProvider(Options{Sampler: s})
		ctx, span := p.Tracer("t").Start(t.Context(), "s")
		if got := span.TracerProvider(); got != oteltrace.TracerProvider(p) || oteltrace.SpanFromContext(ctx) != span {
			t.Errorf("%s: got %T", s.Description(), got)
		}
	}
}

// TestExecutionTrace: runtime/trace shows a span as a task.
func TestExecutionTrace(t *testing.T) {
	var out strings.Builder
	if err := trace.Start(&out); err != nil {
		t.Skip(err) // the test run itself is traced
	}
	ctx, s := NewProvider(Options{}).Tracer("t").Start(t.Context(), "a name of its own")
	trace.WithRegion(ctx, "r", func() {})
	s.End()
	trace.Stop()
	if !strings.Contains(out.String(), "a name of its own") {
		t.Error("the trace has no task of the span's name")
	}
}
