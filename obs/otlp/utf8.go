package otlp

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// valid replaces what is no UTF-8, which protobuf's strings must be.
func valid(s string) string { return strings.ToValidUTF8(s, "�") }

// validSpans returns spans whose every string is UTF-8.
func validSpans(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		out[i] = &validSpan{s}
	}
	return out
}

type validSpan struct{ sdktrace.ReadOnlySpan }

func (s *validSpan) Name() string                     { return valid(s.ReadOnlySpan.Name()) }
func (s *validSpan) Attributes() []attribute.KeyValue { return validSet(s.ReadOnlySpan.Attributes()) }
func (s *validSpan) Resource() *resource.Resource     { return validResource(s.ReadOnlySpan.Resource()) }

func (s *validSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = valid(status.Description)
	return status
}

func (s *validSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name, events[i].Attributes = valid(events[i].Name), validSet(events[i].Attributes)
	}
	return events
}

func (s *validSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = validSet(links[i].Attributes)
	}
	return links
}

func (s *validSpan) InstrumentationScope() instrumentation.Scope {
	scope := s.ReadOnlySpan.InstrumentationScope()
	scope.Name, scope.Version, scope.SchemaURL = valid(scope.Name), valid(scope.Version), valid(scope.SchemaURL)
	scope.Attributes = attribute.NewSet(validSet(scope.Attributes.ToSlice())...)
	return scope
}

// validResource returns r itself where it can: spans are grouped by it.
func validResource(r *resource.Resource) *resource.Resource {
	for _, kv := range r.Attributes() {
		if !utf8.ValidString(string(kv.Key)) || !utf8.ValidString(kv.Value.AsString()) {
			return resource.NewWithAttributes(valid(r.SchemaURL()), validSet(r.Attributes())...)
		}
	}
	return r
}

func validSet(kvs []attribute.KeyValue) []attribute.KeyValue {
	kvs = slices.Clone(kvs)
	for i, kv := range kvs {
		kvs[i] = attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: validValue(kv.Value)}
	}
	return kvs
}

func validValue(v attribute.Value) attribute.Value {
	switch v.Type() {
	case attribute.STRING:
		return attribute.StringValue(valid(v.AsString()))
	case attribute.STRINGSLICE:
		texts := v.AsStringSlice() // a copy
		for i := range texts {
			texts[i] = valid(texts[i])
		}
		return attribute.StringSliceValue(texts)
	case attribute.SLICE:
		values := v.AsSlice() // a copy
		for i := range values {
			values[i] = validValue(values[i])
		}
		return attribute.SliceValue(values...)
	case attribute.MAP:
		return attribute.MapValue(validSet(v.AsMap())...)
	}
	return v
}

// validRecords returns records whose every string of the program's is UTF-8.
func validRecords(records []sdklog.Record) []sdklog.Record {
	out := make([]sdklog.Record, len(records))
	for i := range records {
		r := records[i].Clone()
		var attrs []attribute.KeyValue
		r.WalkAttributes(func(kv attribute.KeyValue) bool {
			attrs = append(attrs, kv)
			return true
		})
		r.SetAttributes(validSet(attrs)...)
		r.SetBody(validValue(r.Body()))
		r.SetSeverityText(valid(r.SeverityText()))
		r.SetEventName(valid(r.EventName()))
		out[i] = r
	}
	return out
}
