package conformance

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	pb "github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace"
	"github.com/DataDog/datadog-agent/pkg/trace/config"
	"github.com/DataDog/datadog-agent/pkg/trace/transform"

	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// idsOf keeps the spans that start, in order. After their end they can be read.
type idsOf struct{ spans []sdktrace.ReadOnlySpan }

func (r *idsOf) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) { r.spans = append(r.spans, s) }
func (r *idsOf) OnEnd(sdktrace.ReadOnlySpan)                         {}
func (r *idsOf) Shutdown(context.Context) error                      { return nil }
func (r *idsOf) ForceFlush(context.Context) error                    { return nil }

func spanNumber(s sdktrace.ReadOnlySpan) uint64 {
	id := s.SpanContext().SpanID()
	return binary.BigEndian.Uint64(id[:])
}

// otlp returns s as the agent's OTLP intake gets it.
func otlp(s sdktrace.ReadOnlySpan) (ptrace.Span, pcommon.Resource, pcommon.InstrumentationScope) {
	rs := ptrace.NewTraces().ResourceSpans().AppendEmpty()
	fill(rs.Resource().Attributes(), s.Resource().Attributes())
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName(s.InstrumentationScope().Name)
	ss.Scope().SetVersion(s.InstrumentationScope().Version)
	o := ss.Spans().AppendEmpty()
	o.SetTraceID(pcommon.TraceID(s.SpanContext().TraceID()))
	o.SetSpanID(pcommon.SpanID(s.SpanContext().SpanID()))
	o.SetParentSpanID(pcommon.SpanID(s.Parent().SpanID()))
	o.TraceState().FromRaw(s.SpanContext().TraceState().String())
	o.SetName(s.Name())
	o.SetKind(ptrace.SpanKind(s.SpanKind()))
	o.SetStartTimestamp(pcommon.NewTimestampFromTime(s.StartTime()))
	o.SetEndTimestamp(pcommon.NewTimestampFromTime(s.EndTime()))
	fill(o.Attributes(), s.Attributes())
	switch s.Status().Code {
	case codes.Error:
		o.Status().SetCode(ptrace.StatusCodeError)
	case codes.Ok:
		o.Status().SetCode(ptrace.StatusCodeOk)
	}
	o.Status().SetMessage(s.Status().Description)
	for _, e := range s.Events() {
		oe := o.Events().AppendEmpty()
		oe.SetName(e.Name)
		oe.SetTimestamp(pcommon.NewTimestampFromTime(e.Time))
		fill(oe.Attributes(), e.Attributes)
	}
	for _, l := range s.Links() {
		ol := o.Links().AppendEmpty()
		ol.SetTraceID(pcommon.TraceID(l.SpanContext.TraceID()))
		ol.SetSpanID(pcommon.SpanID(l.SpanContext.SpanID()))
		ol.TraceState().FromRaw(l.SpanContext.TraceState().String())
		fill(ol.Attributes(), l.Attributes)
	}
	return o, rs.Resource(), ss.Scope()
}

func fill(m pcommon.Map, attrs []attribute.KeyValue) {
	for _, kv := range attrs {
		switch v := kv.Value.AsInterface().(type) {
		case []string:
			list(m, kv, v, func(v string) any { return v })
		case []int64:
			list(m, kv, v, func(v int64) any { return v })
		case []float64:
			list(m, kv, v, func(v float64) any { return v })
		case []bool:
			list(m, kv, v, func(v bool) any { return v })
		default:
			if err := m.PutEmpty(string(kv.Key)).FromRaw(v); err != nil {
				panic(err)
			}
		}
	}
}

func list[T any](m pcommon.Map, kv attribute.KeyValue, values []T, raw func(T) any) {
	s := m.PutEmptySlice(string(kv.Key))
	for _, v := range values {
		if err := s.AppendEmpty().FromRaw(raw(v)); err != nil {
			panic(err)
		}
	}
}

// posted returns the spans that our exporter posts of the corpus, by id.
func posted(t *testing.T, ids *idsOf) map[uint64]*pb.Span {
	t.Helper()
	spans := make(map[uint64]*pb.Span)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			http.NotFound(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		var traces pb.Traces
		if err == nil {
			_, err = traces.UnmarshalMsg(body)
		}
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for _, tr := range traces {
			for _, s := range tr {
				spans[s.SpanID] = s
			}
		}
		io.WriteString(w, "OK") //nolint:errcheck // the client sees it
	}))
	t.Cleanup(server.Close)
	exporter := ddagent.NewExporter(ddagent.Options{URL: server.URL})
	record(t, ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{}), ids)
	if err := exporter.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return spans
}

// A mappingDifference is one that is meant. It changes theirs into what ours should
// be, and says whether there was anything to change.
type mappingDifference struct {
	reason string
	apply  func(theirs, ours *pb.Span, s sdktrace.ReadOnlySpan) bool
}

func moves(m map[string]string, from, to string) bool {
	v, ok := m[from]
	if !ok {
		return false
	}
	delete(m, from)
	if _, taken := m[to]; !taken {
		m[to] = v
	}
	return true
}

func drops(m map[string]string, keys ...string) (some bool) {
	for _, k := range keys {
		_, ok := m[k]
		some = some || ok
		delete(m, k)
	}
	return some
}

// onlyOurs moves keys of ours to theirs: the OTLP intake has them elsewhere.
func onlyOurs(theirs, ours *pb.Span, keys ...string) (some bool) {
	for _, k := range keys {
		if v, ok := ours.Meta[k]; ok && theirs.Meta[k] == "" {
			theirs.Meta[k], some = v, true
		}
		if v, ok := ours.Metrics[k]; ok {
			if _, has := theirs.Metrics[k]; !has {
				theirs.Metrics[k], some = v, true
			}
		}
	}
	return some
}

var mappingDifferences = []mappingDifference{
	{"128-bit ids have a place of their own in Datadog's protocol; otel.trace_id is for the OTLP intake, which has none", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return drops(th.Meta, "otel.trace_id")
	}},
	{"otel.library.* is the deprecated name of otel.scope.*, which we send", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return drops(th.Meta, "otel.library.name", "otel.library.version")
	}},
	{"a status that is not set is not sent: it would stand on nearly every span", func(th, _ *pb.Span, s sdktrace.ReadOnlySpan) bool {
		return s.Status().Code == codes.Unset && drops(th.Meta, "otel.status_code")
	}},
	{"error.message is what Datadog's tracers send and Error Tracking reads; error.msg is its old name", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return moves(th.Meta, "error.msg", "error.message")
	}},
	{"error.message says it", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return drops(th.Meta, "otel.status_description")
	}},
	{"a failed span's message, type and stack come from its exception event too: the intake's Status2Error ignores its second argument", func(th, ours *pb.Span, s sdktrace.ReadOnlySpan) bool {
		return s.Status().Code == codes.Error && onlyOurs(th, ours, "error.message", "error.type", "error.stack")
	}},
	{"http.status_code is a string in Datadog's tracers, and the facet one of strings; the statistics read either", func(th, ours *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		n, ok := th.Metrics["http.status_code"]
		if ok {
			delete(th.Metrics, "http.status_code")
			th.Meta["http.status_code"] = fmt.Sprint(n)
		}
		return ok
	}},
	{"the number of rpc.grpc.status_code stays a metric, where the statistics find it; the intake has it twice", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		_, number := th.Metrics["rpc.grpc.status_code"]
		return number && drops(th.Meta, "rpc.grpc.status_code")
	}},
	{"what other vendors keep in the tracestate says nothing to Datadog, whose own tracers do not send it; it travels on in the headers", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return drops(th.Meta, "w3c.tracestate")
	}},
	{"events and links travel typed, not as JSON in a tag", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return drops(th.Meta, "events", "_dd.span_links")
	}},
	{"arrays are flattened as in Datadog's own OTel API, so that each element can be searched; the intake writes JSON", func(th, _ *pb.Span, s sdktrace.ReadOnlySpan) (some bool) {
		for _, kv := range s.Attributes() {
			key := transform.GetDDKeyForOTLPAttribute(string(kv.Key))
			if v := kv.Value.AsInterface(); strings.HasSuffix(kv.Value.Type().String(), "SLICE") {
				delete(th.Meta, key)
				flatten(th, key, v)
				some = true
			}
		}
		return some
	}},
	{"NaN and infinities are no metrics; the intake sends them, and JSON on the way cannot hold them", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) (some bool) {
		for _, k := range []string{"nan", "inf"} {
			if _, ok := th.Metrics[k]; ok {
				delete(th.Metrics, k)
				some = true
			}
		}
		return some
	}},
	{"the unified tags: the payload's in OTLP", func(th, ours *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return onlyOurs(th, ours, "env", "version", "language")
	}},
	{"what a tracer says of trace and process: the SDK's OTLP exporter knows none of it", func(th, ours *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return onlyOurs(th, ours, "_dd.p.tid", "runtime-id", "_sampling_priority_v1", "process_id", "_dd.top_level")
	}},
	{"a span of another service than the process's says so, as in Datadog's tracers", func(th, ours *pb.Span, _ sdktrace.ReadOnlySpan) bool {
		return onlyOurs(th, ours, "_dd.base_service")
	}},
	{"what the agent's truncator cuts is cut before it travels", func(th, _ *pb.Span, _ sdktrace.ReadOnlySpan) (some bool) {
		for k, v := range th.Meta {
			if len(k) > 200 {
				delete(th.Meta, k)
				th.Meta[k[:200]], some = v, true
			}
			if len(v) > 25000 {
				th.Meta[k], some = v[:25000], true
			}
		}
		return some
	}},
	{"SQL systems that the intake does not know are SQL all the same: as type db their literals would leave in clear", func(th, ours *pb.Span, s sdktrace.ReadOnlySpan) bool {
		if th.Type == "db" && ours.Type == "sql" && th.Name == "gcp.spanner.query" {
			th.Type = "sql"
			return true
		}
		return false
	}},
}

func flatten(s *pb.Span, key string, v any) {
	put := func(i int, v any) {
		k := fmt.Sprintf("%s.%d", key, i)
		switch v := v.(type) {
		case string:
			s.Meta[k] = v
		case bool:
			s.Meta[k] = fmt.Sprint(v)
		case int64:
			s.Metrics[k] = float64(v)
		case float64:
			s.Metrics[k] = v
		}
	}
	switch v := v.(type) {
	case []string:
		for i, x := range v {
			put(i, x)
		}
	case []bool:
		for i, x := range v {
			put(i, x)
		}
	case []int64:
		for i, x := range v {
			put(i, x)
		}
	case []float64:
		for i, x := range v {
			put(i, x)
		}
	}
}

// TestMappingIsTheAgents compares our spans with what the agent's own OTLP
// intake makes of the same, field by field. What differs is in the list above.
func TestMappingIsTheAgents(t *testing.T) {
	var ids idsOf
	ours := posted(t, &ids)
	used := make([]int, len(mappingDifferences))
	for _, s := range ids.spans {
		span, res, scope := otlp(s)
		theirs := transform.OtelSpanToDDSpan(span, res, scope, config.New())
		mine := ours[spanNumber(s)]
		if mine == nil {
			t.Fatalf("span %q was not posted", s.Name())
		}
		compareNested(t, s, theirs, mine)
		for i, d := range mappingDifferences {
			if d.apply(theirs, mine, s) {
				used[i]++
			}
		}
		compareSpans(t, s, theirs, mine)
	}
	for i, d := range mappingDifferences {
		if used[i] == 0 {
			t.Errorf("no span shows this difference: %s", d.reason)
		}
		t.Logf("%3d spans: %s", used[i], d.reason)
	}
}

func compareSpans(t *testing.T, s sdktrace.ReadOnlySpan, theirs, ours *pb.Span) {
	t.Helper()
	type fields struct {
		Service, Name, Resource, Type string
		Trace, Span, Parent           uint64
		Start, Duration               int64
		Error                         int32
		Meta                          map[string]string
		Metrics                       map[string]float64
	}
	of := func(s *pb.Span) fields {
		return fields{s.Service, s.Name, s.Resource, s.Type, s.TraceID, s.SpanID, s.ParentID, s.Start, s.Duration, s.Error, s.Meta, s.Metrics}
	}
	if diff := gocmp.Diff(of(theirs), of(ours), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s %q (-agent's +ours):\n%s", s.SpanKind(), clip(s.Name()), diff)
	}
}

func clip(s string) string { return s[:min(len(s), 60)] }

// compareNested compares our typed events and links with the JSON that the
// intake makes of them.
func compareNested(t *testing.T, s sdktrace.ReadOnlySpan, theirs, ours *pb.Span) {
	t.Helper()
	var events, links []map[string]any
	for _, e := range ours.SpanEvents {
		m := map[string]any{"name": e.Name, "time_unix_nano": float64(e.TimeUnixNano)}
		if len(e.Attributes) > 0 {
			attrs := make(map[string]any)
			for k, v := range e.Attributes {
				attrs[k] = rawEventValue(v)
			}
			m["attributes"] = attrs
		}
		events = append(events, m)
	}
	for _, l := range ours.SpanLinks {
		m := map[string]any{"trace_id": fmt.Sprintf("%016x%016x", l.TraceIDHigh, l.TraceID), "span_id": fmt.Sprintf("%016x", l.SpanID)}
		if l.Tracestate != "" {
			m["tracestate"] = l.Tracestate
		}
		if len(l.Attributes) > 0 {
			attrs := make(map[string]any)
			for _, k := range slices.Sorted(maps.Keys(l.Attributes)) {
				attrs[k] = l.Attributes[k]
			}
			m["attributes"] = attrs
		}
		links = append(links, m)
	}
	for _, tt := range []struct {
		key string
		got []map[string]any
	}{{"events", events}, {"_dd.span_links", links}} {
		var want []map[string]any
		if text := theirs.Meta[tt.key]; text != "" {
			if err := json.Unmarshal([]byte(text), &want); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if diff := gocmp.Diff(want, tt.got); diff != "" {
			t.Errorf("%q: %s (-agent's +ours):\n%s", clip(s.Name()), tt.key, diff)
		}
	}
}

func rawEventValue(v *pb.AttributeAnyValue) any {
	switch v.Type {
	case pb.AttributeAnyValue_BOOL_VALUE:
		return v.BoolValue
	case pb.AttributeAnyValue_INT_VALUE:
		return float64(v.IntValue)
	case pb.AttributeAnyValue_DOUBLE_VALUE:
		return v.DoubleValue
	case pb.AttributeAnyValue_ARRAY_VALUE:
		var list []any
		for _, e := range v.ArrayValue.Values {
			switch e.Type {
			case pb.AttributeArrayValue_BOOL_VALUE:
				list = append(list, e.BoolValue)
			case pb.AttributeArrayValue_INT_VALUE:
				list = append(list, float64(e.IntValue))
			case pb.AttributeArrayValue_DOUBLE_VALUE:
				list = append(list, e.DoubleValue)
			default:
				list = append(list, e.StringValue)
			}
		}
		return list
	default:
		return v.StringValue
	}
}
