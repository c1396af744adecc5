package ddagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func providerFor(p sdktrace.SpanProcessor) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p), sdktrace.WithIDGenerator(&counterIDs{}),
		sdktrace.WithResource(resource.Empty()))
}

func readOnly(s trace.Span) sdktrace.ReadOnlySpan { return s.(sdktrace.ReadOnlySpan) }

// rich makes one span with everything a span can have.
func rich(t testing.TB, p sdktrace.SpanProcessor) {
	t.Helper()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p), sdktrace.WithIDGenerator(&counterIDs{}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("cloud.region", "europe-west1"))))
	id := trace.TraceID{0x66, 0x55, 15: 7}
	state := &obsctx.Trace{ID: id, Origin: "rum", Tags: "_dd.p.ts=02", LastParent: trace.SpanID{7: 3}}
	state.Init(obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismAgent})
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{7: 2}, TraceFlags: trace.FlagsSampled})
	ctx := obsctx.WithTrace(trace.ContextWithRemoteSpanContext(context.Background(), remote), state)
	vendor, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	_, s := provider.Tracer("scope", trace.WithInstrumentationVersion("v1")).Start(ctx, "GET",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(begin),
		trace.WithLinks(trace.Link{
			SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0: 1, 15: 2}, SpanID: trace.SpanID{7: 4}, TraceState: vendor}),
			Attributes:  []attribute.KeyValue{attribute.String("reason", "batch"), attribute.Int("n", 3), attribute.Bool("b", true), attribute.StringSlice("list", []string{"x", "y"})},
		}),
		trace.WithAttributes(
			attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}"),
			attribute.String("url.full", "https://shop/users/1?sig=abc"),
			attribute.Int("http.response.status_code", 500), attribute.Bool("cached", false),
			attribute.Float64("ratio", 0.25), attribute.Int64Slice("sizes", []int64{1, 2}), attribute.String("user.password", "hunter2"),
		))
	s.AddEvent("retry", trace.WithTimestamp(begin.Add(time.Millisecond)), trace.WithAttributes(
		attribute.String("why", "said twice"), attribute.String("why", "busy"), attribute.Bool("last", true), attribute.Int("n", -2), attribute.Float64("wait", 0.5),
		attribute.StringSlice("hosts", []string{"a", "b"}), attribute.String("token", "hunter2")))
	s.RecordError(errors.New("boom"), trace.WithTimestamp(begin.Add(2*time.Millisecond)))
	s.SetStatus(codes.Error, "boom")
	s.End(trace.WithTimestamp(begin.Add(3 * time.Millisecond)))
}

func TestGoldenV04(t *testing.T) {
	t.Parallel()
	var got chunk
	e := NewExporter(Options{Env: "prod", Version: "1.4.2", Tags: map[string]string{"team": "orders"}})
	rich(t, capture{NewProcessor(e, ProcessorOptions{}), &got})
	body := encodeV04(got)
	if bytes.Contains(body, []byte("hunter2")) {
		t.Error("a secret is in the payload")
	}
	golden(t, "v04.json", mustDecode(t, body))
}

func TestGoldenV1(t *testing.T) {
	t.Parallel()
	var got chunk
	e := NewExporter(Options{Env: "prod", Version: "1.4.2", Tags: map[string]string{"team": "orders"}})
	rich(t, capture{NewProcessor(e, ProcessorOptions{}), &got})
	body := encodeV1(got)
	if bytes.Contains(body, []byte("hunter2")) {
		t.Error("a secret is in the payload")
	}
	golden(t, "v10.json", mustDecode(t, body))
	want, err := tracesOf(encodeV04(got))
	if err != nil {
		t.Fatal(err)
	}
	sameInV1(t, want, got)
}

// golden compares v, as indented JSON, with a file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestEventFieldsHaveTheAgentsTypes looks at the bytes: the agent's decoder of
// events takes a double only as a float 64.
func TestEventFieldsHaveTheAgentsTypes(t *testing.T) {
	t.Parallel()
	got := appendTyped(nil, attrView{kind: kindFloat, num: 0})
	if want := append([]byte{0x82, 0xa4, 't', 'y', 'p', 'e', 3, 0xac}, "double_value\xcb\x00\x00\x00\x00\x00\x00\x00\x00"...); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}
