package ddagent

import (
	"encoding/binary"
	"math"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// attributes appends the span's attributes under Datadog's keys. A renamed
// one gives way to an attribute that has the new key already.
func (e *encoder) attributes(b []byte, attrs []attribute.KeyValue) []byte {
	for i := range attrs {
		k := e.infos[i]
		if !k.moved || !k.cut && e.bits&k.asBit == 0 || !taken(attrs, i, k, func(key string) string { return e.lookup(key).as }) {
			b = e.attribute(b, k, &attrs[i].Value)
		}
	}
	return b
}

// maxUnique is the number of attributes up to which no key goes out twice.
// Beyond, looking for the other takes too long; the agent takes the last.
const maxUnique = 1024

// taken says whether attrs has the key that its i-th attribute goes out under
// a second time. as says what becomes of a key.
func taken(attrs []attribute.KeyValue, i int, k *keyInfo, as func(string) string) bool {
	if len(attrs) > maxUnique {
		return false
	}
	for j, kv := range attrs {
		if j != i && string(kv.Key) == k.as {
			return true
		}
		if k.cut && j < i && as(string(kv.Key)) == k.as { // cut to the same length
			return true
		}
	}
	return false
}

// repeated says whether a later attribute has the key of the i-th, which the
// SDK allows on events and links.
func repeated(attrs []attribute.KeyValue, i int) bool {
	if len(attrs) > maxUnique {
		return false
	}
	for _, kv := range attrs[i+1:] {
		if kv.Key == attrs[i].Key {
			return true
		}
	}
	return false
}

func (e *encoder) attribute(b []byte, k *keyInfo, v *attribute.Value) []byte {
	if k.treat == omit || k.treat == keepTrace || k.treat == dropTrace || k.as == "" {
		return b
	}
	if len(b) > e.limit {
		e.left++
		return b
	}
	switch k.treat {
	case secret:
		return e.str(b, k, redact.Placeholder)
	case redactURL:
		return e.str(b, k, clean(e.keys.redactor.URL(v.String()), maxValue))
	case redactText:
		return e.str(b, k, clean(e.keys.redactor.Text(v.String()), maxValue))
	case redactArgs:
		return e.str(b, k, clean(e.keys.redactor.Query(v.String()), maxValue))
	case asText:
		if v.Type() != attribute.INT64 {
			return e.str(b, k, clean(v.String(), maxValue))
		}
		var buf [20]byte
		digits := strconv.AppendInt(buf[:0], v.AsInt64(), 10)
		b = appendKey(append(b, kindString), k)
		return append(binary.AppendUvarint(b, uint64(len(digits))), digits...)
	case asSwitch:
		var n uint64
		if truth(*v) {
			n = 1
		}
		b = appendKey(append(b, kindInt), k)
		return binary.LittleEndian.AppendUint64(b, n)
	}
	// A fact's text is clean already, and this value: a fact is one key's, but for
	// the status code, which is written as text above.
	if k.fact != factNone && v.Type() == attribute.STRING {
		return e.str(b, k, e.facts.own[k.fact])
	}
	return appendAttr(b, k, v)
}

// text appends an attribute of our own making, unless its key is a secret's.
func (e *encoder) text(b []byte, key, value string) []byte {
	if len(b) > e.limit {
		return b
	}
	k := e.lookup(key)
	if k.treat == secret {
		value = redact.Placeholder
	}
	return e.str(b, k, clean(value, maxValue))
}

func (e *encoder) str(b []byte, k *keyInfo, value string) []byte {
	return appendStr(appendKey(append(b, kindString), k), value)
}

// appendAttr appends one attribute with a value of any type. NaN and the
// infinities have no place in Datadog's metrics and are left out.
func appendAttr(b []byte, k *keyInfo, v *attribute.Value) []byte {
	switch v.Type() {
	case attribute.STRING:
		return appendStr(appendKey(append(b, kindString), k), clean(v.AsString(), maxValue))
	case attribute.BOOL:
		return appendBool(appendKey(append(b, kindBool), k), v.AsBool())
	case attribute.INT64:
		return binary.LittleEndian.AppendUint64(appendKey(append(b, kindInt), k), uint64(v.AsInt64()))
	case attribute.FLOAT64:
		if !finite(v.AsFloat64()) {
			return b
		}
		return binary.LittleEndian.AppendUint64(appendKey(append(b, kindFloat), k), math.Float64bits(v.AsFloat64()))
	case attribute.BOOLSLICE, attribute.INT64SLICE, attribute.FLOAT64SLICE, attribute.STRINGSLICE:
		return appendStr(appendKey(append(b, kindArray), k), string(appendElements(nil, *v)))
	default: // maps and mixed slices travel as JSON
		return appendStr(appendKey(append(b, kindString), k), clean(v.String(), maxValue))
	}
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendElements appends as many elements as fit into the room of one value.
func appendElements(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.BOOLSLICE:
		for _, x := range v.AsBoolSlice() {
			if len(b)+2 > maxValue {
				break
			}
			b = appendBool(append(b, kindBool), x)
		}
	case attribute.INT64SLICE:
		for _, x := range v.AsInt64Slice() {
			if len(b)+9 > maxValue {
				break
			}
			b = binary.LittleEndian.AppendUint64(append(b, kindInt), uint64(x))
		}
	case attribute.FLOAT64SLICE:
		for _, x := range v.AsFloat64Slice() {
			if len(b)+9 > maxValue {
				break
			}
			if finite(x) {
				b = binary.LittleEndian.AppendUint64(append(b, kindFloat), math.Float64bits(x))
			}
		}
	case attribute.STRINGSLICE:
		for _, x := range v.AsStringSlice() {
			room := maxValue - len(b) - 4
			if room <= 0 {
				break
			}
			b = appendStr(append(b, kindString), clean(x, room))
		}
	}
	return b
}

func (e *encoder) events(b []byte, events []sdktrace.Event) []byte {
	e.limit += maxRecord / 8
	for _, ev := range events {
		if len(b) > e.limit {
			return b
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(max(ev.Time.UnixNano(), 0)))
		b = appendStr(b, clean(ev.Name, maxResource))
		b = e.nested(b, ev.Attributes)
	}
	return b
}

func (e *encoder) links(b []byte, links []sdktrace.Link) []byte {
	e.limit += maxRecord / 8
	for _, l := range links {
		if len(b) > e.limit {
			return b
		}
		trace := l.SpanContext.TraceID()
		b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(trace[:8]))
		b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(trace[8:]))
		b = append8(b, l.SpanContext.SpanID())
		b = binary.LittleEndian.AppendUint32(b, uint32(l.SpanContext.TraceFlags()))
		b = appendStr(b, clean(l.SpanContext.TraceState().String(), maxValue))
		b = e.nested(b, l.Attributes)
	}
	return b
}

// nested appends the attributes of an event or link. They keep their keys;
// secrets and URLs are treated as on the span.
func (e *encoder) nested(b []byte, attrs []attribute.KeyValue) []byte {
	b, at := open(b)
	own := func(key string) string { return clean(key, maxKey) }
	for i := range attrs {
		kv := &attrs[i]
		if kv.Key == "" || len(b) > e.limit || repeated(attrs, i) {
			continue
		}
		k := *e.lookup(string(kv.Key))
		k.as, k.number, k.fact = own(string(kv.Key)), 0, factNone
		if k.cut = k.as != string(kv.Key); k.cut && taken(attrs, i, &k, own) {
			continue
		}
		switch k.treat {
		case secret, redactURL, redactArgs, redactText:
		default:
			k.treat = keep
		}
		b = e.attribute(b, &k, &kv.Value)
	}
	seal(b, at)
	return b
}
