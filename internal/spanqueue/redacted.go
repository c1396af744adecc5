package spanqueue

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// Redacted returns s as a sink may have it: without the values of secret keys
// and the secret parts of URLs. It is s itself where there are none.
func Redacted(s sdktrace.ReadOnlySpan, red *redact.Redactor) sdktrace.ReadOnlySpan {
	attrs, changed := clean(s.Attributes(), red)
	events, eventsChanged := cleanEvents(s.Events(), red)
	links, linksChanged := cleanLinks(s.Links(), red)
	status := s.Status()
	text := red.Text(status.Description)
	if !changed && !eventsChanged && !linksChanged && text == status.Description {
		return s
	}
	status.Description = text
	return &redacted{s, attrs, events, links, status}
}

type redacted struct {
	sdktrace.ReadOnlySpan
	attrs  []attribute.KeyValue
	events []sdktrace.Event
	links  []sdktrace.Link
	status sdktrace.Status
}

func (s *redacted) Attributes() []attribute.KeyValue { return s.attrs }
func (s *redacted) Events() []sdktrace.Event         { return s.events }
func (s *redacted) Links() []sdktrace.Link           { return s.links }
func (s *redacted) Status() sdktrace.Status          { return s.status }

// clean returns kvs, or a copy of them in which what was secret is replaced.
func clean(kvs []attribute.KeyValue, red *redact.Redactor) (out []attribute.KeyValue, changed bool) {
	for i, kv := range kvs {
		v, secret := value(kv, red)
		if !secret {
			continue
		}
		if !changed {
			kvs, changed = slices.Clone(kvs), true
		}
		kvs[i].Value = v
	}
	return kvs, changed
}

// value returns that of kv without secrets, if it has any. Numbers and booleans
// are none.
func value(kv attribute.KeyValue, red *redact.Redactor) (v attribute.Value, secret bool) {
	if red.Key(string(kv.Key)) {
		switch kv.Value.Type() {
		case attribute.STRING, attribute.STRINGSLICE, attribute.BYTESLICE, attribute.SLICE, attribute.MAP:
			return attribute.StringValue(redact.Placeholder), true
		}
		return v, false
	}
	switch kv.Value.Type() {
	case attribute.MAP:
		members, changed := clean(kv.Value.AsMap(), red)
		return attribute.MapValue(members...), changed
	case attribute.SLICE:
		return elements(kv.Value.AsSlice(), red)
	case attribute.STRING:
	default:
		return v, false
	}
	old := kv.Value.AsString()
	text := old
	switch kv.Key {
	case "url.full", "http.url":
		text = red.URL(old)
	case "url.query":
		text = red.Query(old)
	case "error.message", "error.msg", "exception.message":
		text = red.Text(old)
	}
	return attribute.StringValue(text), text != old
}

// elements looks for maps in a slice.
func elements(vs []attribute.Value, red *redact.Redactor) (v attribute.Value, secret bool) {
	for i := range vs {
		if e, dirty := value(attribute.KeyValue{Value: vs[i]}, red); dirty {
			vs[i], secret = e, true // AsSlice has copied
		}
	}
	return attribute.SliceValue(vs...), secret
}

func cleanEvents(events []sdktrace.Event, red *redact.Redactor) (out []sdktrace.Event, changed bool) {
	for i := range events {
		attrs, dirty := clean(events[i].Attributes, red)
		if !dirty {
			continue
		}
		if !changed {
			events, changed = slices.Clone(events), true
		}
		events[i].Attributes = attrs
	}
	return events, changed
}

func cleanLinks(links []sdktrace.Link, red *redact.Redactor) (out []sdktrace.Link, changed bool) {
	for i := range links {
		attrs, dirty := clean(links[i].Attributes, red)
		if !dirty {
			continue
		}
		if !changed {
			links, changed = slices.Clone(links), true
		}
		links[i].Attributes = attrs
	}
	return links, changed
}
