package ddagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// v1Decoder reads a v1.0 payload into what v0.4 would have said, so that one
// set of expectations serves both.
type v1Decoder struct {
	decoder
	strs []string
}

// tracesOfV1 decodes a /v1.0/traces payload.
func tracesOfV1(body []byte) (traces [][]span, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("v1.0: %v", p)
		}
	}()
	d := &v1Decoder{decoder{body}, []string{""}}
	payload := make(map[uint64]string)
	d.fields(func(id uint64) {
		if id != payloadChunks {
			payload[id] = d.str()
			return
		}
		for range d.header(0x90, 0xdc) {
			traces = append(traces, d.chunk(payload))
		}
	})
	if len(d.b) > 0 {
		return nil, fmt.Errorf("v1.0: %d bytes left", len(d.b))
	}
	return traces, nil
}

// header reads the header of a map (0x80, 0xde) or an array (0x90, 0xdc).
func (d *v1Decoder) header(short, long byte) int {
	switch c := d.take(1)[0]; {
	case c&0xf0 == short:
		return int(c & 0xf)
	case c == long:
		return int(d.uint(2))
	case c == long+1:
		return int(d.uint(4))
	default:
		panic(fmt.Sprintf("%#x is not the header wanted", c))
	}
}

func (d *v1Decoder) fields(f func(id uint64)) {
	seen := make(map[uint64]bool)
	for range d.header(0x80, 0xde) {
		id := d.value().(uint64)
		if seen[id] {
			panic(fmt.Sprintf("field %d twice", id))
		}
		seen[id] = true
		f(id)
	}
}

func (d *v1Decoder) str() string {
	switch v := d.value().(type) {
	case string:
		for _, s := range d.strs {
			if s == v {
				panic("in full twice: " + v)
			}
		}
		d.strs = append(d.strs, v)
		return v
	case uint64:
		return d.strs[v]
	default:
		panic(fmt.Sprintf("%v is no string", v))
	}
}

// typed reads a value behind its type.
func (d *v1Decoder) typed() any {
	switch kind := d.value().(uint64); kind {
	case kindString:
		return d.str()
	case kindArray:
		var list []any
		for range d.header(0x90, 0xdc) / 2 {
			list = append(list, d.typed())
		}
		return list
	case kindBool:
		return d.value().(bool)
	case kindFloat:
		return d.value().(float64)
	case kindInt:
		switch v := d.value().(type) {
		case uint64:
			return int64(v)
		case int64:
			return v
		default:
			panic("no int")
		}
	default:
		panic(fmt.Sprintf("value of type %d", kind))
	}
}

func (d *v1Decoder) attrs() map[string]any {
	m := make(map[string]any)
	n := d.header(0x90, 0xdc)
	if n%3 != 0 {
		panic("attributes are not three by three")
	}
	for range n / 3 {
		key := d.str()
		if _, twice := m[key]; twice {
			panic("key twice: " + key)
		}
		m[key] = d.typed()
	}
	return m
}

func (d *v1Decoder) bytes16() []byte {
	if head := d.take(2); head[0] != 0xc4 || head[1] != 16 {
		panic("no id of 16 bytes")
	}
	return d.take(16)
}

func (d *v1Decoder) chunk(payload map[uint64]string) (spans []span) {
	var id []byte
	var origin string
	priority, mechanism := int64(0), uint64(0)
	d.fields(func(field uint64) {
		switch field {
		case chunkPriority:
			switch v := d.value().(type) {
			case uint64:
				priority = int64(v)
			case int64:
				priority = v
			}
		case chunkOrigin:
			origin = d.str()
		case chunkAttributes:
			d.attrs()
		case chunkTraceID:
			id = d.bytes16()
		case chunkMechanism:
			mechanism = d.value().(uint64)
		case chunkSpans:
			for range d.header(0x90, 0xdc) {
				spans = append(spans, d.span(payload))
			}
		}
	})
	for _, s := range spans {
		s["trace_id"] = binary.BigEndian.Uint64(id[8:])
	}
	meta, metrics := spans[0].meta(), spans[0].metrics()
	metrics[keyPriority] = float64(priority)
	meta["runtime-id"] = payload[payloadRuntimeID]
	if !bytes.Equal(id[:8], make([]byte, 8)) {
		meta[keyTraceHigh] = hex.EncodeToString(id[:8])
	}
	if origin != "" {
		meta[keyOrigin] = origin
	}
	if mechanism > 0 {
		meta[keyDecisionMaker] = "-" + strconv.FormatUint(mechanism, 10)
	}
	return spans
}

func (d *v1Decoder) span(payload map[uint64]string) span {
	meta, metrics := make(map[string]any), make(map[string]any)
	s := span{"service": "", "name": "", "resource": "", "type": "", "span_id": uint64(0), "parent_id": uint64(0),
		"start": uint64(0), "duration": uint64(0), "error": uint64(0), "meta": meta, "metrics": metrics}
	names := map[uint64]string{spanService: "service", spanName: "name", spanResource: "resource", spanTypeField: "type",
		spanID: "span_id", spanParent: "parent_id", spanStart: "start", spanDuration: "duration"}
	meta["language"] = payload[payloadLanguage]
	for field, key := range map[uint64]string{payloadEnv: "env", payloadAppVersion: "version"} {
		if payload[field] != "" {
			meta[key] = payload[field]
		}
	}
	d.fields(func(field uint64) {
		switch field {
		case spanService, spanName, spanResource, spanTypeField:
			s[names[field]] = d.str()
		case spanID, spanParent, spanStart, spanDuration:
			s[names[field]] = d.value().(uint64)
		case spanError:
			if d.value().(bool) {
				s["error"] = uint64(1)
			}
		case spanEnv, spanVersion, spanComponent:
			meta[map[uint64]string{spanEnv: "env", spanVersion: "version", spanComponent: "component"}[field]] = d.str()
		case spanKind:
			meta["span.kind"] = trace.SpanKind(d.value().(uint64)).String()
		case spanAttrs:
			spread(meta, metrics, d.attrs())
		case spanLinks:
			s["span_links"] = d.list(d.link)
		case spanEvents:
			s["span_events"] = d.list(d.event)
		}
	})
	return s
}

// spread puts attributes where v0.4 has them.
func spread(meta, metrics, attrs map[string]any) {
	for k, v := range attrs {
		switch v := v.(type) {
		case int64:
			metrics[k] = float64(v)
		case float64:
			metrics[k] = v
		default:
			meta[k] = fmt.Sprint(v)
		}
	}
}

func (d *v1Decoder) list(f func() any) (list []any) {
	for range d.header(0x90, 0xdc) {
		list = append(list, f())
	}
	return list
}

func (d *v1Decoder) link() any {
	attrs := make(map[string]any)
	l := map[string]any{"tracestate": "", "attributes": attrs}
	d.fields(func(field uint64) {
		switch field {
		case linkTraceID:
			id := d.bytes16()
			l["trace_id_high"], l["trace_id"] = binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
		case linkSpanID:
			l["span_id"] = d.value()
		case linkFlags:
			l["flags"] = d.value()
		case linkState:
			l["tracestate"] = d.str()
		case linkAttrs:
			for k, v := range d.attrs() {
				attrs[k] = fmt.Sprint(v) // which v0.4 has as text
			}
		}
	})
	return l
}

func (d *v1Decoder) event() any {
	attrs := make(map[string]any)
	e := map[string]any{"name": "", "attributes": attrs}
	d.fields(func(field uint64) {
		switch field {
		case eventTime:
			e["time_unix_nano"] = d.value()
		case eventName:
			e["name"] = d.str()
		case eventAttrs:
			for k, v := range d.attrs() {
				attrs[k] = typedV04(v)
			}
		}
	})
	return e
}

func typedV04(v any) any {
	switch v := v.(type) {
	case bool:
		return map[string]any{"type": uint64(1), "bool_value": v}
	case int64:
		if v < 0 {
			return map[string]any{"type": uint64(2), "int_value": v}
		}
		return map[string]any{"type": uint64(2), "int_value": uint64(v)}
	case float64:
		return map[string]any{"type": uint64(3), "double_value": v}
	case []any:
		list := []any{}
		for _, el := range v {
			list = append(list, typedV04(el))
		}
		return map[string]any{"type": uint64(4), "array_value": map[string]any{"values": list}}
	default:
		return map[string]any{"type": uint64(0), "string_value": v}
	}
}

// sameInV1 fails the test unless the v1.0 payload of chunks says what their
// v0.4 payload said. The decision maker "-0" is v1.0's zero value.
func sameInV1(t *testing.T, want [][]span, chunks ...chunk) {
	t.Helper()
	got, err := tracesOfV1(encodeV1(chunks...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range want {
		for _, s := range tr {
			if s.meta()[keyDecisionMaker] == "-0" {
				delete(s.meta(), keyDecisionMaker)
				defer func() { s.meta()[keyDecisionMaker] = "-0" }()
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("v1.0 differs from v0.4 (-v0.4 +v1.0):\n%s", diff)
	}
}

func encodeV1(chunks ...chunk) []byte {
	p := payloadV1{process: process{pid: 42, runtimeID: "runtime"}}
	return p.append(nil, chunks)
}

// TestCommonTagsInV1 overrides a common tag on some spans: the others have it,
// and strings that went out first with an overridden set keep their numbers.
func TestCommonTagsInV1(t *testing.T) {
	t.Parallel()
	e := NewExporter(Options{Service: "shop", Env: "prod", Version: "1", Tags: map[string]string{"team": "orders", "tier": "web"}})
	e.running = true // no goroutine
	tracer := providerFor(NewProcessor(e, ProcessorOptions{})).Tracer("scope")
	for _, own := range [][]string{{"team", "own"}, {}, {"tier", "own"}, {"env", "test", "version", "2", "component", "net/http"}, {}, {"team", "own", "tier", "own"}} {
		ctx, root, _ := localRoot(context.Background(), tracer, keepIt)
		_, child := tracer.Start(ctx, "child", trace.WithLinks(trace.Link{SpanContext: root.SpanContext()}))
		for i := 0; i < len(own); i += 2 {
			child.SetAttributes(attribute.String(own[i], own[i+1]))
		}
		child.AddEvent("event", trace.WithTimestamp(begin))
		child.SetStatus(codes.Error, "all 16 fields")
		child.End()
		root.End()
	}
	var chunks []chunk
	for c, ok := e.queue.evict(); ok; c, ok = e.queue.evict() {
		chunks = append(chunks, c)
	}
	want, err := tracesOf(encodeV04(chunks...))
	if err != nil {
		t.Fatal(err)
	}
	if got := want[3][1].meta()["env"]; got != "test" {
		t.Fatalf("env of the child: %v", got)
	}
	sameInV1(t, want, chunks...)
}

// TestManyAttributesInV1 needs the long form of the attributes' header.
func TestManyAttributesInV1(t *testing.T) {
	t.Parallel()
	s := mapped(t, Options{}, resource.Empty(), trace.SpanKindInternal, func(s trace.Span) {
		kvs := make([]attribute.KeyValue, 30000)
		for i := range kvs {
			kvs[i] = attribute.Int("k"+strconv.Itoa(i), i)
		}
		s.SetAttributes(kvs...)
	})
	if got := s.metrics()["k29999"]; got != 29999.0 {
		t.Errorf("the last attribute is %v", got)
	}
}
