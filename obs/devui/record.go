package devui

import (
	"encoding/binary"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// A span is one in the form in which it is shown, whoever made it.
type span struct {
	id, parent      trace.SpanID
	remote          bool  // the parent is another process's
	start, duration int64 // nanoseconds, since 1970 and long
	service         string
	name            string // OpenTelemetry's name, or Datadog's operation
	resource        string // Datadog's; empty if it is yet to be derived
	typ             string // likewise
	kind            trace.SpanKind
	failed, okay    bool   // the status
	message         string // of the status
	scope, version  string
	state           string // W3C tracestate
	origin          string // the protocol that brought it; empty: the SDK
	process         int    // number of its resource, see names
	attrs           []attribute.KeyValue
	events          []event
	links           []link
	left            int // attributes that were left out
}

type event struct {
	at    int64
	name  string
	attrs []attribute.KeyValue
}

type link struct {
	trace trace.TraceID
	span  trace.SpanID
	state string
	attrs []attribute.KeyValue
}

const (
	// maxValue bounds one text, and maxBlob a span or record beyond which
	// attributes are left out.
	maxValue = 16 << 10
	maxBlob  = 256 << 10
)

// names numbers strings that come again and again, so that a span says them in
// two bytes. It only grows, to a bound. A copy may be read while the original
// grows.
type names struct {
	fixed bool // it numbers none
	list  []string
	index map[string]int
	bytes int64
}

const (
	maxNames   = 4096
	maxNameLen = 128
)

func (n *names) number(s string) (int, bool) {
	if i, ok := n.index[s]; ok {
		return i, true
	}
	if n.fixed || len(n.list) >= maxNames || len(s) > maxNameLen {
		return 0, false
	}
	if n.index == nil {
		n.index = make(map[string]int)
	}
	i := len(n.list)
	n.list = append(n.list, s)
	n.index[s] = i
	n.bytes += int64(len(s)) + 80
	return i, true
}

// keep returns the one copy of s, if it is numbered.
func (n *names) keep(s string) string {
	if i, ok := n.number(s); ok {
		return n.list[i]
	}
	return s
}

func (n *names) append(b []byte, s string) []byte {
	if i, ok := n.number(s); ok {
		return msgpack.AppendUint(b, uint64(i))
	}
	return msgpack.AppendString(b, s)
}

// encode appends s as a blob: MessagePack, with numbers for names.
func (n *names) encode(b []byte, s *span) []byte {
	began := len(b)
	b = msgpack.AppendInt(msgpack.AppendInt(b, s.start), s.duration)
	b = msgpack.AppendBytes(msgpack.AppendBytes(b, s.id[:]), s.parent[:])
	b = append(b, byte(s.kind))
	b = msgpack.AppendBool(msgpack.AppendBool(msgpack.AppendBool(b, s.failed), s.okay), s.remote)
	for _, name := range []string{s.service, s.name, s.resource, s.typ, s.scope, s.version, s.origin} {
		b = n.append(b, name)
	}
	b = msgpack.AppendString(b, s.message)
	b = msgpack.AppendString(b, s.state)
	b = msgpack.AppendUint(b, uint64(s.process))
	b, left := n.attributes(b, s.attrs, began+maxBlob)
	b = msgpack.AppendArrayHeader(b, len(s.events))
	for i := range s.events {
		e := &s.events[i]
		b = n.append(msgpack.AppendInt(b, e.at), e.name)
		var cut int
		b, cut = n.attributes(b, e.attrs, began+2*maxBlob)
		left += cut
	}
	b = msgpack.AppendArrayHeader(b, len(s.links))
	for i := range s.links {
		l := &s.links[i]
		b = msgpack.AppendBytes(msgpack.AppendBytes(b, l.trace[:]), l.span[:])
		b = msgpack.AppendString(b, l.state)
		var cut int
		b, cut = n.attributes(b, l.attrs, began+2*maxBlob)
		left += cut
	}
	return msgpack.AppendUint(b, uint64(s.left+left))
}

// attributes appends attrs as far as they end before limit, and says how many
// it left out.
func (n *names) attributes(b []byte, attrs []attribute.KeyValue, limit int) (_ []byte, left int) {
	at := len(b)
	b = append(b, 0xdd, 0, 0, 0, 0) // an array's header in its longest form
	count := uint32(0)
	for _, kv := range attrs {
		before := len(b)
		b = appendValue(n.append(b, string(kv.Key)), kv.Value)
		if len(b) > limit {
			b = b[:before]
			left++
			continue
		}
		count++
	}
	binary.BigEndian.PutUint32(b[at+1:], count)
	return b, left
}

func appendValue(b []byte, v attribute.Value) []byte {
	switch v.Type() {
	case attribute.BOOL:
		return msgpack.AppendBool(b, v.AsBool())
	case attribute.INT64:
		return msgpack.AppendInt(b, v.AsInt64())
	case attribute.FLOAT64:
		return msgpack.AppendFloat64(b, v.AsFloat64())
	case attribute.BOOLSLICE:
		return appendSlice(b, v.AsBoolSlice(), msgpack.AppendBool)
	case attribute.INT64SLICE:
		return appendSlice(b, v.AsInt64Slice(), msgpack.AppendInt)
	case attribute.FLOAT64SLICE:
		return appendSlice(b, v.AsFloat64Slice(), msgpack.AppendFloat64)
	case attribute.STRINGSLICE:
		return appendSlice(b, v.AsStringSlice(), msgpack.AppendString)
	}
	return msgpack.AppendString(b, v.String()) // maps and mixed slices as JSON
}

func appendSlice[T any](b []byte, list []T, f func([]byte, T) []byte) []byte {
	list = list[:min(len(list), maxElements)]
	b = msgpack.AppendArrayHeader(b, len(list))
	for _, v := range list {
		b = f(b, v)
	}
	return b
}

// maxElements of a slice are shown.
const maxElements = 256

// maxTime is the last moment nanoseconds reach: a foreign span may claim any.
const maxTime = 1<<63 - 1

func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case t.IsZero() || s < 0:
		return 0
	case s >= maxTime/int64(time.Second):
		return maxTime
	}
	return t.UnixNano()
}
