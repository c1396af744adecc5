package ddpayload

import (
	"slices"
	"time"
)

// tracesV04 decodes the body of /v0.3/traces and /v0.4/traces: traces, each an
// array of spans, each a map with the keys of
// https://github.com/DataDog/datadog-agent/blob/main/pkg/proto/datadog/trace/span.proto.
// As there, nil stands for any zero value and unknown keys are skipped.
func tracesV04(r *decoder, protocol string) (spans []Span, err error) {
	for n := arrayHeader(r); n > 0 && r.element(); n-- {
		spans = chunkV04(r, spans, protocol)
	}
	if r.More() {
		r.Fail("more after the traces")
	}
	return spans, r.Err()
}

// chunkV04 appends the spans of one trace.
func chunkV04(r *decoder, spans []Span, protocol string) []Span {
	first := len(spans)
	var low uint64
	for n := arrayHeader(r); n > 0 && r.span(); n-- {
		spans = append(spans, Span{Protocol: protocol})
		low = spanV04(r, &spans[len(spans)-1])
	}
	joinChunk(spans[first:], low)
	return spans
}

// spanV04 returns the low half of the trace id.
func spanV04(r *decoder, s *Span) (low uint64) {
	eachKey(r, func(key string) {
		switch key {
		case "service":
			s.Service = str(r)
		case "name":
			s.Name = str(r)
		case "resource":
			s.Resource = str(r)
		case "type":
			s.Type = str(r)
		case "trace_id":
			low = id(r)
		case "span_id":
			s.SpanID = id(r)
		case "parent_id":
			s.ParentID = id(r)
		case "start":
			s.Start = time.Unix(0, integer(r)).UTC()
		case "duration":
			s.Duration = time.Duration(integer(r))
		case "error":
			s.Error = integer(r) != 0
		case "meta":
			eachKey(r, func(key string) { s.setMeta(key, str(r)) })
		case "metrics":
			eachKey(r, func(key string) { s.setMetric(key, number(r)) })
		case "meta_struct":
			eachKey(r, func(key string) { s.setStruct(key, slices.Clone(r.Bytes())) })
		case "span_links":
			eachElement(r, func() { s.Links = append(s.Links, linkV04(r)) })
		case "span_events":
			eachElement(r, func() { s.Events = append(s.Events, eventV04(r)) })
		default:
			r.Skip()
		}
	})
	s.fromMeta()
	return low
}

func linkV04(r *decoder) (l Link) {
	var high, low uint64
	eachKey(r, func(key string) {
		switch key {
		case "trace_id":
			low = id(r)
		case "trace_id_high":
			high = id(r)
		case "span_id":
			l.SpanID = id(r)
		case "tracestate":
			l.TraceState = str(r)
		case "flags":
			l.Flags = uint32(id(r))
		case "attributes":
			eachKey(r, func(key string) {
				if l.Attributes == nil {
					l.Attributes = make(map[string]string)
				}
				l.Attributes[key] = str(r)
			})
		default:
			r.Skip()
		}
	})
	l.TraceID = hexID(high, low)
	return l
}

func eventV04(r *decoder) (e Event) {
	eachKey(r, func(key string) {
		switch key {
		case "time_unix_nano":
			e.Time = time.Unix(0, int64(r.Uint())).UTC() // unsigned alone, says the agent
		case "name":
			e.Name = str(r)
		case "attributes":
			eachKey(r, func(key string) {
				if e.Attributes == nil {
					e.Attributes = make(map[string]any)
				}
				e.Attributes[key] = typed(r, maxNesting)
			})
		default:
			r.Skip()
		}
	})
	return e
}

// typed reads an attribute of an event, whose type says which of the other
// fields counts. The agent is strict here: a float must be one.
func typed(r *decoder, depth int) (v any) {
	if depth == 0 {
		r.Fail("attributes too deep in each other")
		return nil
	}
	var kind int64
	values := make(map[string]any, 1)
	eachKey(r, func(key string) {
		switch key {
		case "type":
			kind = integer(r)
		case "string_value":
			values[key] = str(r)
		case "bool_value":
			values[key] = r.Bool()
		case "int_value":
			values[key] = integer(r)
		case "double_value":
			values[key] = r.Float()
		case "array_value":
			values[key] = typedArray(r, depth-1)
		default:
			r.Skip()
		}
	})
	fields := [...]string{"string_value", "bool_value", "int_value", "double_value", "array_value"}
	if kind < 0 || kind >= int64(len(fields)) {
		r.Fail("unknown type of attribute")
		return nil
	}
	return values[fields[kind]]
}

func typedArray(r *decoder, depth int) []any {
	list := []any{}
	eachKey(r, func(key string) {
		if key != "values" {
			r.Skip()
			return
		}
		eachElement(r, func() { list = append(list, typed(r, depth)) })
	})
	return list
}
