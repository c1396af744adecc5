package devui

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// take moves what was queued into the store.
func (v *Viewer) take(spans []sdktrace.ReadOnlySpan, logs []logRecord) {
	c := cleaner(*v.redactors.Load())
	additions := make([]addition, len(spans))
	for i, s := range spans {
		additions[i] = addition{s.SpanContext().TraceID(), c.span(s), s.Resource()}
	}
	v.store.add(additions, logs)
}

// A cleaner keeps secrets out of what is shown: a value is one if a redactor
// of any pipeline says so.
type cleaner []*redact.Redactor

func (c cleaner) secret(key string) bool {
	return slices.ContainsFunc(c, func(r *redact.Redactor) bool { return r.Key(key) })
}

// text returns s without the secrets of URLs and of JSON in it, valid, and not
// too long.
func (c cleaner) text(s string) string {
	var compact bytes.Buffer
	if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		if json.Compact(&compact, []byte(s)) == nil {
			b := compact.Bytes()
			for _, r := range c {
				b = r.AppendJSON(nil, b, nil)
			}
			s = string(b)
		}
	}
	for _, r := range c {
		s = r.Text(s)
	}
	return clip(s, maxValue)
}

// query is text for a query string.
func (c cleaner) query(s string) string {
	for _, r := range c {
		s = r.Query(s)
	}
	return clip(s, maxValue)
}

// clip cuts s to max bytes of valid UTF-8, and an ellipsis where it was longer.
func clip(s string, max int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}

func (c cleaner) attributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	clean := make([]attribute.KeyValue, 0, len(attrs))
	for _, kv := range attrs {
		clean = append(clean, attribute.KeyValue{Key: attribute.Key(clip(string(kv.Key), maxHead)), Value: c.value(string(kv.Key), kv.Value)})
	}
	return clean
}

func (c cleaner) value(key string, v attribute.Value) attribute.Value {
	switch {
	case c.secret(key):
		return attribute.StringValue(redact.Placeholder)
	case v.Type() == attribute.STRINGSLICE:
		list := v.AsStringSlice()
		list = list[:min(len(list), maxElements)]
		for i, s := range list {
			list[i] = c.text(s)
		}
		return attribute.StringSliceValue(list)
	case v.Type() == attribute.STRING && isQuery(key):
		return attribute.StringValue(c.query(v.AsString()))
	case v.Type() == attribute.STRING, v.Type() > attribute.STRINGSLICE, v.Type() == attribute.EMPTY:
		return attribute.StringValue(c.text(v.String()))
	}
	return v
}

// isQuery says whether key's value is a query string, by OpenTelemetry's
// conventions and Datadog's.
func isQuery(key string) bool { return key == "url.query" || key == "http.url_query" }

// span makes a span of one of the SDK's.
func (c cleaner) span(s sdktrace.ReadOnlySpan) span {
	sc, parent := s.SpanContext(), s.Parent()
	out := span{
		id: sc.SpanID(), parent: parent.SpanID(), remote: parent.IsRemote(), start: nanos(s.StartTime()),
		name: clip(s.Name(), maxHead), kind: s.SpanKind(),
		failed: s.Status().Code == codes.Error, okay: s.Status().Code == codes.Ok, message: c.text(s.Status().Description),
		scope: s.InstrumentationScope().Name, version: s.InstrumentationScope().Version,
		state: sc.TraceState().String(), attrs: c.attributes(s.Attributes()), left: s.DroppedAttributes(),
	}
	out.duration = max(nanos(s.EndTime())-out.start, 0)
	if service, ok := s.Resource().Set().Value("service.name"); ok {
		out.service = clip(service.String(), maxHead)
	}
	for _, e := range s.Events() {
		out.events = append(out.events, event{nanos(e.Time), clip(e.Name, maxHead), c.attributes(e.Attributes)})
	}
	for _, l := range s.Links() {
		out.links = append(out.links, link{l.SpanContext.TraceID(), l.SpanContext.SpanID(), l.SpanContext.TraceState().String(), c.attributes(l.Attributes)})
	}
	return out
}

// foreign makes a span of one that a tracer of Datadog's sent. Its attributes
// are its meta and metrics.
func (c cleaner) foreign(s *ddpayload.Span) addition {
	a := addition{trace: traceID(s.TraceID), span: span{
		id: spanID(s.SpanID), parent: spanID(s.ParentID), start: nanos(s.Start), duration: max(int64(s.Duration), 0),
		service: clip(s.Service, maxHead), name: clip(s.Name, maxHead), resource: c.text(s.Resource), typ: clip(s.Type, maxHead),
		kind: kindOf(s.Kind), failed: s.Error, origin: s.Protocol,
	}}
	for _, key := range []string{"error.message", "error.msg"} {
		if a.span.message == "" {
			a.span.message = c.text(s.Meta[key])
		}
	}
	attrs := make([]attribute.KeyValue, 0, len(s.Meta)+len(s.Metrics)+len(s.Struct))
	for _, key := range sortedKeys(s.Meta) {
		attrs = append(attrs, attribute.String(key, s.Meta[key]))
	}
	for _, key := range sortedKeys(s.Metrics) {
		attrs = append(attrs, attribute.Float64(key, s.Metrics[key]))
	}
	for _, key := range sortedKeys(s.Struct) {
		attrs = append(attrs, attribute.String(key, hex.EncodeToString(s.Struct[key])))
	}
	a.span.attrs = c.attributes(attrs)
	for _, e := range s.Events {
		a.span.events = append(a.span.events, event{nanos(e.Time), clip(e.Name, maxHead), c.attributes(attributesOf(e.Attributes))})
	}
	for _, l := range s.Links {
		var attrs []attribute.KeyValue
		for _, key := range sortedKeys(l.Attributes) {
			attrs = append(attrs, attribute.String(key, l.Attributes[key]))
		}
		a.span.links = append(a.span.links, link{traceID(l.TraceID), spanID(l.SpanID), clip(l.TraceState, maxHead), c.attributes(attrs)})
	}
	return a
}

func attributesOf(m map[string]any) (attrs []attribute.KeyValue) {
	for _, key := range sortedKeys(m) {
		switch v := m[key].(type) {
		case bool:
			attrs = append(attrs, attribute.Bool(key, v))
		case int64:
			attrs = append(attrs, attribute.Int64(key, v))
		case float64:
			attrs = append(attrs, attribute.Float64(key, v))
		default:
			attrs = append(attrs, attribute.String(key, ddpayload.Text(v)))
		}
	}
	return attrs
}

func kindOf(name string) trace.SpanKind {
	for k := trace.SpanKindInternal; k <= trace.SpanKindConsumer; k++ {
		if strings.EqualFold(name, k.String()) {
			return k
		}
	}
	return trace.SpanKindUnspecified
}

func traceID(s string) (id trace.TraceID) {
	id, err := trace.TraceIDFromHex(s)
	if err != nil {
		return trace.TraceID{}
	}
	return id
}

func spanID(n uint64) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}
