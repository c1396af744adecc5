package ddagent

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/msgpack"
	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// payloadV04 encodes chunks for /v0.4/traces: an array of traces, each an
// array of spans, each a map of the fields in pkg/proto/datadog/trace/span.proto.
// It is reused; one goroutine at a time uses it.
type payloadV04 struct {
	process process
	over    []bool
}

// process is what spans say of the process they come from.
type process struct {
	pid       int
	runtimeID string
	container container
}

// append appends the payload of chunks.
func (p *payloadV04) append(b []byte, chunks []chunk) []byte {
	b = msgpack.AppendArrayHeader(b, len(chunks))
	for i := range chunks {
		c := &chunks[i]
		b = msgpack.AppendArrayHeader(b, c.spans)
		services := c.services()
		for r := c.read(); r.next(); {
			b = p.span(b, c, &r.v, r.n == 1, services.topLevel(&r.v))
		}
	}
	return b
}

func (p *payloadV04) span(b []byte, c *chunk, v *spanView, first, top bool) []byte {
	fields := 12
	if v.links != "" {
		fields++
	}
	if v.events != "" {
		fields++
	}
	service := v.service
	if service == "" {
		service = c.id.service
	}
	b = msgpack.AppendMapHeader(b, fields)
	b = appendPair(b, "service", service)
	b = appendPair(b, "name", v.name)
	b = appendPair(b, "resource", v.resource)
	b = appendPair(b, "type", v.typ)
	b = msgpack.AppendUint(msgpack.AppendString(b, "trace_id"), binary.BigEndian.Uint64(c.trace[8:]))
	b = msgpack.AppendUint(msgpack.AppendString(b, "span_id"), v.id)
	b = msgpack.AppendUint(msgpack.AppendString(b, "parent_id"), v.parent)
	b = msgpack.AppendUint(msgpack.AppendString(b, "start"), v.start)
	b = msgpack.AppendUint(msgpack.AppendString(b, "duration"), v.duration)
	b = msgpack.AppendUint(msgpack.AppendString(b, "error"), uint64(v.flags&flagError))
	b = p.meta(msgpack.AppendString(b, "meta"), c, v, first)
	b = p.metrics(msgpack.AppendString(b, "metrics"), c, v, first, top)
	if v.links != "" {
		b = appendLinks(msgpack.AppendString(b, "span_links"), v.links)
	}
	if v.events != "" {
		b = appendEvents(msgpack.AppendString(b, "span_events"), v.events)
	}
	return b
}

// meta appends the span's strings: its own, the chunk's on the first span, and
// the common tags where the span has none of the name.
func (p *payloadV04) meta(b []byte, c *chunk, v *spanView, first bool) []byte {
	m := openMap(b)
	p.over = append(p.over[:0], make([]bool, len(c.id.tags))...)
	in := reader{s: v.attrs, keys: c.id.keys.numbered()}
	for a, ok := in.attr(); ok; a, ok = in.attr() {
		c.id.override(p.over, a.key)
		m.attr(a, false)
	}
	m.pair(ext.SpanKind, trace.SpanKind(v.kind).String())
	if v.service != "" {
		m.pair(keyBaseService, c.id.service)
	}
	if first {
		m.chunk(c, v)
		m.pair(ext.RuntimeID, p.process.runtimeID)
	}
	for i, t := range c.id.tags {
		if !p.over[i] {
			m.pair(t.key, t.value)
		}
	}
	return m.close()
}

func (p *payloadV04) metrics(b []byte, c *chunk, v *spanView, first, top bool) []byte {
	m := openMap(b)
	in := reader{s: v.attrs, keys: c.id.keys.numbered()}
	rate, weighted := c.weight(v)
	marked := c.facts.decision.Priority <= 0 && v.flags&flagRefused == 0
	for a, ok := in.attr(); ok; a, ok = in.attr() {
		if !marked && strings.HasPrefix(a.key, prefixSpanSampling) {
			continue
		}
		if weighted && a.key == keySampleRate {
			rate *= share(a)
			continue
		}
		m.attr(a, true)
	}
	if weighted {
		m.number(keySampleRate, rate)
	}
	if first {
		m.number(keyPriority, float64(c.facts.decision.Priority))
	}
	if v.flags&flagRoot != 0 {
		m.number(ext.Pid, float64(p.process.pid))
		m.rates(c.facts.decision)
	}
	if top {
		m.number(keyTopLevel, 1)
	}
	return m.close()
}

// v04Map is a msgpack map whose number of pairs is not known beforehand: its
// header takes the longest form.
type v04Map struct {
	b  []byte
	at int
	n  uint32
}

func openMap(b []byte) v04Map { return v04Map{b: append(b, 0xdf, 0, 0, 0, 0), at: len(b) + 1} }

func (m *v04Map) close() []byte {
	binary.BigEndian.PutUint32(m.b[m.at:], m.n)
	return m.b
}

func (m *v04Map) pair(key, value string) {
	m.b = appendPair(m.b, key, value)
	m.n++
}

func (m *v04Map) number(key string, value float64) {
	m.b = msgpack.AppendFloat64(msgpack.AppendString(m.b, key), value)
	m.n++
}

// chunk adds what v0.4 says of a trace on its first span.
func (m *v04Map) chunk(c *chunk, v *spanView) {
	if high := binary.BigEndian.Uint64(c.trace[:8]); high != 0 {
		m.pair(keyTraceHigh, c.trace.String()[:16])
	}
	if d := c.facts.decision; d.Priority > 0 && d.Mechanism != obsctx.MechanismUnknown {
		m.pair(keyDecisionMaker, "-"+strconv.Itoa(int(d.Mechanism)))
	}
	if c.facts.origin != "" {
		m.pair(keyOrigin, clean(c.facts.origin, maxValue))
	}
	if v.flags&flagRoot != 0 && c.facts.lastParent.IsValid() {
		m.pair(keyLastParent, c.facts.lastParent.String())
	}
	if v.flags&flagRoot != 0 && c.facts.problem != "" {
		m.pair(keyPropagation, c.facts.problem)
	}
	for member := range strings.SplitSeq(c.facts.tags, ",") {
		if key, value, ok := strings.Cut(member, "="); ok && key != keyTraceHigh && key != keyDecisionMaker {
			m.pair(clean(key, maxKey), clean(value, maxValue))
		}
	}
}

// rates adds to a local root by what it was decided.
func (m *v04Map) rates(d obsctx.Decision) {
	if d.Rates == nil {
		return
	}
	if d.Mechanism == obsctx.MechanismAgent {
		m.number(keyAgentRate, d.Rates.Rate)
		return
	}
	m.number(keyRuleRate, d.Rates.Rate)
	if d.Rates.Limit >= 0 {
		m.number(keyLimitRate, d.Rates.Limit)
	}
}

// attr adds a to metrics if it is a number, else to meta; the caller says to
// which of them m belongs. The elements of arrays stand under key.0, key.1 and
// so on, as Datadog's tracers have it.
func (m *v04Map) attr(a attrView, metrics bool) {
	if a.kind != kindArray {
		m.scalar("", a, metrics)
		return
	}
	in := reader{s: a.str}
	for i := 0; ; i++ {
		el, ok := in.element()
		if !ok {
			return
		}
		el.key = "." + strconv.Itoa(i)
		m.scalar(a.key, el, metrics)
	}
}

// scalar adds a, with prefix in front of its key.
func (m *v04Map) scalar(prefix string, a attrView, metrics bool) {
	if number := a.kind == kindInt || a.kind == kindFloat; number != metrics {
		return
	}
	if prefix != "" {
		a.key = prefix + a.key
	}
	switch a.kind {
	case kindString:
		m.pair(a.key, a.str)
	case kindBool:
		m.pair(a.key, strconv.FormatBool(a.num != 0))
	default:
		m.number(a.key, a.float())
	}
}

func appendPair(b []byte, key, value string) []byte {
	return msgpack.AppendString(msgpack.AppendString(b, key), value)
}

// knownFlags says that a link's flags are known, so that 0 means not sampled.
const knownFlags = 1 << 31

func appendLinks(b []byte, links string) []byte {
	n := 0
	for in := (reader{s: links}); ; n++ {
		if _, ok := in.link(); !ok {
			break
		}
	}
	b = msgpack.AppendArrayHeader(b, n)
	in := reader{s: links}
	for l, ok := in.link(); ok; l, ok = in.link() {
		b = msgpack.AppendMapHeader(b, 6)
		b = msgpack.AppendUint(msgpack.AppendString(b, "trace_id"), l.traceLow)
		b = msgpack.AppendUint(msgpack.AppendString(b, "trace_id_high"), l.traceHigh)
		b = msgpack.AppendUint(msgpack.AppendString(b, "span_id"), l.id)
		b = msgpack.AppendUint(msgpack.AppendString(b, "flags"), uint64(l.flags|knownFlags))
		b = appendPair(b, "tracestate", l.state)
		m := openMap(msgpack.AppendString(b, "attributes"))
		attrs := reader{s: l.attrs}
		for a, ok := attrs.attr(); ok; a, ok = attrs.attr() {
			m.text(a)
		}
		b = m.close()
	}
	return b
}

// text adds a as a string whatever it is: links have no other attributes.
func (m *v04Map) text(a attrView) {
	switch a.kind {
	case kindInt:
		m.pair(a.key, strconv.FormatInt(int64(a.num), 10))
	case kindFloat:
		m.pair(a.key, strconv.FormatFloat(math.Float64frombits(a.num), 'g', -1, 64))
	case kindArray:
		in := reader{s: a.str}
		for i := 0; ; i++ {
			el, ok := in.element()
			if !ok {
				return
			}
			el.key = a.key + "." + strconv.Itoa(i)
			m.text(el)
		}
	default:
		m.attr(a, false)
	}
}

func appendEvents(b []byte, events string) []byte {
	n := 0
	for in := (reader{s: events}); ; n++ {
		if _, ok := in.event(); !ok {
			break
		}
	}
	b = msgpack.AppendArrayHeader(b, n)
	in := reader{s: events}
	for e, ok := in.event(); ok; e, ok = in.event() {
		b = msgpack.AppendMapHeader(b, 3)
		b = msgpack.AppendUint(msgpack.AppendString(b, "time_unix_nano"), e.time)
		b = appendPair(b, "name", e.name)
		m := openMap(msgpack.AppendString(b, "attributes"))
		attrs := reader{s: e.attrs}
		for a, ok := attrs.attr(); ok; a, ok = attrs.attr() {
			m.b = appendTyped(msgpack.AppendString(m.b, a.key), a)
			m.n++
		}
		b = m.close()
	}
	return b
}

// appendTyped appends a as an AttributeAnyValue, or as an array element, which
// has the same form. Its types are 0 string, 1 bool, 2 int, 3 double, 4 array.
func appendTyped(b []byte, a attrView) []byte {
	typed := func(typ uint64, field string) []byte {
		b = msgpack.AppendMapHeader(b, 2)
		b = msgpack.AppendUint(msgpack.AppendString(b, "type"), typ)
		return msgpack.AppendString(b, field)
	}
	switch a.kind {
	case kindBool:
		return msgpack.AppendBool(typed(1, "bool_value"), a.num != 0)
	case kindInt:
		return msgpack.AppendInt(typed(2, "int_value"), int64(a.num))
	case kindFloat:
		return msgpack.AppendFloat64(typed(3, "double_value"), math.Float64frombits(a.num))
	case kindArray:
		return appendTypedArray(typed(4, "array_value"), a.str)
	default:
		return msgpack.AppendString(typed(0, "string_value"), a.str)
	}
}

func appendTypedArray(b []byte, elements string) []byte {
	n := 0
	for in := (reader{s: elements}); ; n++ {
		if _, ok := in.element(); !ok {
			break
		}
	}
	b = msgpack.AppendString(msgpack.AppendMapHeader(b, 1), "values")
	b = msgpack.AppendArrayHeader(b, n)
	in := reader{s: elements}
	for el, ok := in.element(); ok; el, ok = in.element() {
		b = appendTyped(b, el)
	}
	return b
}
