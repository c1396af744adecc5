package ddagent

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// maxRecord bounds one span. What does not fit any more is left out, and the
// span says so in keyTruncated.
const (
	maxRecord    = 1 << 20
	keyTruncated = "kumihimo.truncated"
)

// year2000 in seconds: the agent takes a span that began before it for broken.
const year2000 = 946684800

// encoder turns an ended span into a record. It is reused, and nothing keeps
// what it returns.
type encoder struct {
	keys   *keyTable
	recent recentKeys
	buf    []byte
	infos  []*keyInfo // of the span's attributes
	bits   uint64     // of all their keys
	facts  spanFacts
	op     operation
	limit  int // length of buf beyond which attributes are left out
	left   int // how many were
	// verdict is what a manual.keep or manual.drop attribute asked for.
	verdict treatment
	// single is what a rule for single spans says of the span, chosen whether
	// one has.
	single obsctx.Single
	chosen bool
	hook   func(sdktrace.ReadOnlySpan, Names) Names
}

// encode returns the record of s, valid until the next call. id is what is
// known of s's resource, now the time at which s ended.
func (e *encoder) encode(s sdktrace.ReadOnlySpan, id *identity, now time.Time) []byte {
	e.limit, e.left, e.verdict = maxRecord, 0, keep
	attrs, status, parent := s.Attributes(), s.Status(), s.Parent()
	e.gather(attrs, id)
	single, chosen := s.(obsctx.SingleSpan)
	if e.chosen, e.single = chosen, (obsctx.Single{}); chosen {
		e.single = single.Single()
	}

	b, _ := open(e.buf[:0])
	b = append8(b, s.SpanContext().SpanID())
	b = append8(b, parent.SpanID())
	start, duration := timesOf(s.StartTime(), s.EndTime(), now)
	b = binary.LittleEndian.AppendUint64(b, uint64(start))
	b = binary.LittleEndian.AppendUint64(b, uint64(duration))
	var flags byte
	if status.Code == codes.Error {
		flags |= flagError
	}
	if !parent.IsValid() || parent.IsRemote() {
		flags |= flagRoot
	}
	b = e.names(b, s, id, flags)

	b, at := open(b)
	b = e.attributes(b, attrs)
	events := s.Events()
	b = e.derived(b, s, status, events)
	seal(b, at)
	b, at = open(b)
	b = e.events(b, events)
	seal(b, at)
	b, at = open(b)
	b = e.links(b, s.Links())
	seal(b, at)
	seal(b, 0)
	e.buf = b
	return b
}

// names appends flags, kind, service, name, resource and type.
func (e *encoder) names(b []byte, s sdktrace.ReadOnlySpan, id *identity, flags byte) []byte {
	kind, service := s.SpanKind(), e.service(id)
	name := e.op.name(&e.facts, kind)
	first, second := resourceName(&e.facts, kind, s.Name())
	typ := spanType(&e.facts, kind)
	if e.hook != nil {
		n := e.mapped(s, Names{Service: cmp.Or(service, id.service), Operation: string(name), Resource: joined(first, second), Type: typ})
		if service = serviceName(n.Service); service == id.service {
			service = ""
		}
		name = e.op.cleaned(n.Operation)
		first, second, typ = clean(n.Resource, maxResource), "", clean(n.Type, maxType)
	}
	if service != "" {
		flags |= flagOverride
	}
	b = append(b, flags, byte(kind))
	b = appendStr(b, service)
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	b = appendResource(b, first, second)
	return appendStr(b, cut(typ, maxType))
}

// mapped returns what the hook makes of n.
func (e *encoder) mapped(s sdktrace.ReadOnlySpan, n Names) (out Names) {
	defer func() {
		if recover() != nil {
			out = n
		}
	}()
	out = e.hook(s, n)
	return Names{cmp.Or(out.Service, n.Service), cmp.Or(out.Operation, n.Operation), cmp.Or(out.Resource, n.Resource), cmp.Or(out.Type, n.Type)}
}

func joined(first, second string) string {
	if second == "" {
		return first
	}
	return first + " " + second
}

// append8 appends an id so that it reads back as the big-endian number it is.
func append8(b []byte, id [8]byte) []byte {
	return binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(id[:]))
}

// timesOf returns start and duration in nanoseconds, both in the range the agent
// takes: a start before the year 2000 or after 2262 becomes now less the
// duration, a negative duration 0.
func timesOf(start, end, now time.Time) (int64, int64) {
	duration := max(end.Sub(start), 0) // Sub saturates
	if s := start.Unix(); s < year2000 || s >= math.MaxInt64/int64(time.Second) {
		duration = min(duration, now.Sub(time.Unix(year2000, 0)))
		return now.Add(-duration).UnixNano(), int64(duration)
	}
	ns := start.UnixNano()
	if int64(duration) > math.MaxInt64-ns {
		duration = 0
	}
	return ns, int64(duration)
}

// gather collects what is known of the attributes, and the facts, the
// resource's first.
func (e *encoder) gather(attrs []attribute.KeyValue, id *identity) {
	e.facts.reset(&id.facts)
	e.infos, e.bits = e.infos[:0], 0
	for i := range attrs {
		kv := &attrs[i]
		k := e.lookup(string(kv.Key))
		e.infos = append(e.infos, k)
		e.bits |= k.bit
		if k.fact != factNone && k.fact != factStatusCode { // a number, and of no use for names
			e.facts.set(k.fact, factText(k, &kv.Value))
		}
		if (k.treat == keepTrace || k.treat == dropTrace) && truth(kv.Value) {
			e.verdict = k.treat
		}
	}
}

func (e *encoder) lookup(key string) *keyInfo { return e.recent.lookup(e.keys, key) }

func factText(k *keyInfo, v *attribute.Value) string {
	if k.treat == secret {
		return redact.Placeholder
	}
	return clean(textOf(v), maxValue)
}

// textOf is v.String(), which for a string is a long way to go.
func textOf(v *attribute.Value) string {
	if v.Type() == attribute.STRING {
		return v.AsString()
	}
	return v.String()
}

func truth(v attribute.Value) bool {
	if v.Type() == attribute.STRING {
		b, err := strconv.ParseBool(v.AsString())
		return err == nil && b
	}
	return v.Type() == attribute.BOOL && v.AsBool() || v.Type() == attribute.INT64 && v.AsInt64() == 1
}

// service returns the span's own service, or "" if it is the resource's.
func (e *encoder) service(id *identity) string {
	own := e.facts.get(factService)
	if own == "" || own == id.facts[factService] {
		return ""
	}
	if own = serviceName(own); own == id.service {
		return ""
	}
	return own
}

// appendResource appends the two parts, which are valid UTF-8.
func appendResource(b []byte, first, second string) []byte {
	first = cut(first, maxResource)
	room := maxResource - len(first) - 1
	if second == "" || room <= 0 {
		return appendStr(b, first)
	}
	second = cut(second, room)
	b = binary.AppendUvarint(b, uint64(len(first)+1+len(second)))
	return append(append(append(b, first...), ' '), second...)
}

// derived appends the attributes that the span does not carry as such.
func (e *encoder) derived(b []byte, s sdktrace.ReadOnlySpan, status sdktrace.Status, events []sdktrace.Event) []byte {
	e.limit += 4 * maxValue // what explains the span has room even if it is full
	if scope := s.InstrumentationScope(); scope.Name != "" {
		b = e.text(b, keyScopeName, scope.Name)
		if scope.Version != "" {
			b = e.text(b, keyScopeVersion, scope.Version)
		}
	}
	if e.facts.get(factDBName) == "" && e.facts.get(factDBNamespace) != "" {
		b = e.text(b, ext.DBName, e.facts.get(factDBNamespace))
	}
	event := errorEvent(events, status.Description)
	if event != nil {
		b = e.text(b, keyHasException, "true")
	}
	switch status.Code {
	case codes.Error:
		b = e.text(b, keyStatusCode, "Error")
		b = e.failure(b, s, status.Description, event)
	case codes.Ok:
		b = e.text(b, keyStatusCode, "Ok")
	}
	if e.left > 0 {
		b = append(b, kindInt)
		b = appendKey(b, e.lookup(keyTruncated))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.left))
	}
	if e.chosen {
		b = e.marks(b)
	}
	return b
}

// failure appends error.message, error.type and error.stack unless the span
// has them itself.
func (e *encoder) failure(b []byte, s sdktrace.ReadOnlySpan, message string, event *sdktrace.Event) []byte {
	var typ, stack string
	if event != nil {
		for _, kv := range event.Attributes {
			switch kv.Key {
			case "exception.message":
				if message == "" {
					message = kv.Value.String()
				}
			case "exception.type":
				typ = kv.Value.String()
			case "exception.stacktrace":
				stack = kv.Value.String()
			}
		}
	}
	message = e.keys.redactor.Text(message)
	if message == "" {
		message = e.statusText(s.Attributes())
	}
	for _, m := range []struct {
		fact       fact
		key, value string
	}{
		{factErrorMessage, ext.ErrorMsg, message},
		{factErrorType, ext.ErrorType, typ},
		{factErrorStack, ext.ErrorStack, stack},
	} {
		if m.value != "" && e.facts.get(m.fact) == "" {
			b = e.text(b, m.key, m.value)
		}
	}
	return b
}

// statusText says what the HTTP status code means, if there is one.
func (e *encoder) statusText(attrs []attribute.KeyValue) string {
	for _, kv := range attrs {
		if e.lookup(string(kv.Key)).fact != factStatusCode {
			continue
		}
		code := kv.Value.String()
		n, err := strconv.Atoi(code)
		if text := http.StatusText(n); err == nil && text != "" {
			return code + " " + text
		}
		return code
	}
	return ""
}

// errorEvent returns the exception whose message is the status's, else the
// last one.
func errorEvent(events []sdktrace.Event, message string) *sdktrace.Event {
	var found *sdktrace.Event
	for i := range events {
		if events[i].Name != "exception" {
			continue
		}
		found = &events[i]
		for _, kv := range found.Attributes {
			if kv.Key == "exception.message" && kv.Value.String() == message {
				return found
			}
		}
	}
	return found
}
