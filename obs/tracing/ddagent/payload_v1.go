package ddagent

import (
	"encoding/binary"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/msgpack"
	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// payloadV1 encodes chunks for /v1.0/traces: a map with a number for each
// field, attributes with their types, and each string in full only once. It is
// reused; one goroutine at a time uses it.
type payloadV1 struct {
	process process
	table   stringTable
	over    []bool
	places  [places]memo
	keys    []keyUse // by their numbers in the key table
	b       []byte   // the payload
	key     []byte   // of an array's element

	// The common tags as they go out once their strings have numbers, for the
	// identity of the chunk at hand.
	tagged   *identity
	tags     []byte
	tagCount int
}

// append appends the payload of chunks, which share env and version.
func (p *payloadV1) append(b []byte, chunks []chunk) []byte {
	p.b = b
	p.reset()
	env, version := "", ""
	if len(chunks) > 0 {
		env, version = chunks[0].id.env, chunks[0].id.version
	}
	at := p.openMap()
	n := p.field(payloadLanguage, "go") +
		p.field(payloadLanguageVersion, strings.TrimPrefix(runtime.Version(), "go")) +
		p.field(payloadTracerVersion, tracerVersion) +
		p.field(payloadRuntimeID, p.process.runtimeID) +
		p.field(payloadEnv, env) +
		p.field(payloadAppVersion, version)
	p.b = msgpack.AppendArrayHeader(append(p.b, payloadChunks), len(chunks))
	for i := range chunks {
		p.chunk(&chunks[i])
	}
	p.b[at] |= byte(n + 1)
	b, p.b = p.b, nil
	p.reset() // what it refers to are the chunks' records
	return b
}

func (p *payloadV1) reset() {
	p.table.reset()
	p.tagged = nil
	clear(p.places[:])
	clear(p.keys)
}

// openMap begins a map of at most 15 fields, whose number the caller enters.
func (p *payloadV1) openMap() (at int) {
	p.b = append(p.b, 0x80)
	return len(p.b) - 1
}

// field appends a field unless s is empty, and returns how many it appended.
func (p *payloadV1) field(id byte, s string) int {
	if s == "" {
		return 0
	}
	p.b = p.table.append(append(p.b, id), s)
	return 1
}

func (p *payloadV1) str(s string) { p.b = p.table.append(p.b, s) }

// same is str for a place whose string is mostly the same.
func (p *payloadV1) same(place int, s string) { p.b = p.table.again(p.b, &p.places[place], s) }

// sameField is field for such a place.
func (p *payloadV1) sameField(id byte, place int, s string) int {
	if s == "" {
		return 0
	}
	p.b = append(p.b, id)
	p.same(place, s)
	return 1
}

func (p *payloadV1) chunk(c *chunk) {
	at := p.openMap()
	n := 4
	p.b = msgpack.AppendInt(append(p.b, chunkPriority), int64(c.facts.decision.Priority))
	n += p.field(chunkOrigin, clean(c.facts.origin, maxValue))
	p.b = append(p.b, chunkAttributes, 0x93) // the root's service, as dd-trace-go has it
	p.same(placeChunkKey, "service")
	p.b = append(p.b, kindString)
	p.same(placeChunkService, c.id.service)
	p.b = append(append(p.b, chunkTraceID, 0xc4, 16), c.trace[:]...)
	if d := c.facts.decision; d.Priority > 0 && d.Mechanism > 0 {
		p.b = append(p.b, chunkMechanism, byte(d.Mechanism))
		n++
	}
	p.b = msgpack.AppendArrayHeader(append(p.b, chunkSpans), c.spans)
	services := c.services()
	for r := c.read(); r.next(); {
		p.span(c, &r.v, r.n == 1, services.topLevel(&r.v))
	}
	p.b[at] |= byte(n)
}

func (p *payloadV1) span(c *chunk, v *spanView, first, top bool) {
	at := p.openMap()
	service := v.service
	if service == "" {
		service = c.id.service
	}
	n := 4 + p.sameField(spanService, placeService, service) + p.sameField(spanName, placeName, v.name) +
		p.sameField(spanResource, placeResource, v.resource) + p.sameField(spanTypeField, placeType, v.typ)
	p.b = msgpack.AppendUint(append(p.b, spanID), v.id)
	if v.parent != 0 {
		p.b = msgpack.AppendUint(append(p.b, spanParent), v.parent)
		n++
	}
	p.b = msgpack.AppendUint(append(p.b, spanStart), v.start)
	p.b = msgpack.AppendUint(append(p.b, spanDuration), v.duration)
	if v.flags&flagError != 0 {
		p.b = append(p.b, spanError, 0xc3)
		n++
	}
	if v.kind != 0 {
		p.b = append(p.b, spanKind, v.kind)
		n++
	}
	own := p.spanAttributes(c, v, first, top)
	if v.links != "" {
		p.links(v.links)
		n++
	}
	if v.events != "" {
		p.events(v.events)
		n++
	}
	n += p.field(spanEnv, own.env) + p.field(spanVersion, own.version) + p.field(spanComponent, own.component)
	if n <= 15 {
		p.b[at] |= byte(n)
		return
	}
	p.b = append(p.b, 0, 0) // all 16 there are: one more than the short form holds
	copy(p.b[at+3:], p.b[at+1:])
	p.b[at], p.b[at+1], p.b[at+2] = 0xde, 0, byte(n)
}

// promoted are attributes that v1.0 has fields for.
type promoted struct{ env, version, component string }

// spanAttributes appends the span's attributes: its own, the chunk's on the
// first span, and the common tags where the span has none of the name. It
// returns those that go elsewhere.
func (p *payloadV1) spanAttributes(c *chunk, v *spanView, first, top bool) (own promoted) {
	at := p.openAttrs(spanAttrs)
	n, some := 0, false // some: attributes that override common tags
	rate, weighted := c.weight(v)
	marked := c.facts.decision.Priority <= 0 && v.flags&flagRefused == 0
	p.over = append(p.over[:0], make([]bool, len(c.id.tags))...)
	in := reader{s: v.attrs, keys: c.id.keys.numbered()}
	for a := new(attrView); in.attrTo(a); {
		some = c.id.override(p.over, a.key) || some
		if !marked && strings.HasPrefix(a.key, prefixSpanSampling) {
			continue
		}
		if weighted && a.key == keySampleRate {
			rate *= share(*a)
			continue
		}
		if a.kind == kindString {
			switch a.key {
			case ext.Environment:
				own.env = a.str
				continue
			case ext.Version:
				own.version = a.str
				continue
			case ext.Component:
				own.component = a.str
				continue
			}
		}
		n += p.attr(a)
	}
	if v.service != "" {
		n += p.pair(keyBaseService, c.id.service)
	}
	if first {
		n += p.traceTags(c, v)
	}
	if v.flags&flagRoot != 0 {
		n += p.number(placePid, ext.Pid, uint64(p.process.pid))
		n += p.rates(c.facts.decision)
	}
	if top {
		n += p.number(placeTopLevel, keyTopLevel, 1)
	}
	if weighted {
		n += p.float(keySampleRate, rate)
	}
	n += p.commonTags(c.id, some)
	p.closeAttrs(at, n)
	return own
}

// openAttrs begins a field of attributes, of which closeAttrs enters the
// number. 21,845 attributes fit into the header that is kept free for it.
func (p *payloadV1) openAttrs(field byte) (at int) {
	p.b = append(p.b, field, 0xdc, 0, 0)
	return len(p.b) - 3
}

func (p *payloadV1) closeAttrs(at, n int) {
	if 3*n <= math.MaxUint16 {
		binary.BigEndian.PutUint16(p.b[at+1:], uint16(3*n))
		return
	}
	p.b = append(p.b, 0, 0)
	copy(p.b[at+5:], p.b[at+3:])
	p.b[at] = 0xdd
	binary.BigEndian.PutUint32(p.b[at+1:], uint32(3*n))
}

func (p *payloadV1) pair(key, value string) int {
	p.str(key)
	p.b = append(p.b, kindString)
	p.str(value)
	return 1
}

func (p *payloadV1) number(place int, key string, value uint64) int {
	p.same(place, key)
	p.b = msgpack.AppendUint(append(p.b, kindInt), value)
	return 1
}

// attr appends an attribute of a span. The elements of arrays stand under
// key.0, key.1 and so on, as Datadog's tracers have it.
func (p *payloadV1) attr(a *attrView) (n int) {
	if a.kind != kindArray {
		use := p.attrKey(a)
		if a.kind == kindString && use != nil {
			p.b = p.table.again(append(p.b, kindString), &use.value, a.str)
		} else {
			p.value(*a)
		}
		return 1
	}
	in := reader{s: a.str}
	for el, ok := in.element(); ok; el, ok = in.element() {
		p.elementKey(a.key, n)
		p.value(el)
		n++
	}
	return n
}

// attrKey appends a's key, mostly without looking it up. It returns what is
// known of the key, if it has a number.
func (p *payloadV1) attrKey(a *attrView) *keyUse {
	if a.number == 0 {
		p.str(a.key)
		return nil
	}
	if int(a.number) >= len(p.keys) {
		p.keys = append(p.keys, make([]keyUse, int(a.number)+1-len(p.keys))...)
	}
	use := &p.keys[a.number]
	if use.number != 0 {
		p.b = msgpack.AppendUint(p.b, uint64(use.number))
	} else {
		p.b, use.number = p.table.put(p.b, a.key)
	}
	return use
}

func (p *payloadV1) elementKey(key string, i int) {
	p.key = strconv.AppendInt(append(append(p.key[:0], key...), '.'), int64(i), 10)
	p.b = p.table.appendBytes(p.b, p.key)
}

// value appends kind and value.
func (p *payloadV1) value(a attrView) {
	p.b = append(p.b, a.kind)
	switch a.kind {
	case kindString:
		p.str(a.str)
	case kindBool:
		p.b = msgpack.AppendBool(p.b, a.num != 0)
	case kindFloat:
		p.b = msgpack.AppendFloat64(p.b, math.Float64frombits(a.num))
	case kindInt:
		p.b = msgpack.AppendInt(p.b, int64(a.num))
	case kindArray:
		n := 0
		for in := (reader{s: a.str}); ; n++ {
			if _, ok := in.element(); !ok {
				break
			}
		}
		p.b = msgpack.AppendArrayHeader(p.b, 2*n)
		in := reader{s: a.str}
		for el, ok := in.element(); ok; el, ok = in.element() {
			p.value(el)
		}
	}
}

// rates appends by what the trace was decided.
func (p *payloadV1) rates(d obsctx.Decision) (n int) {
	if d.Rates == nil {
		return 0
	}
	if d.Mechanism == obsctx.MechanismAgent {
		return p.float(keyAgentRate, d.Rates.Rate)
	}
	n = p.float(keyRuleRate, d.Rates.Rate)
	if d.Rates.Limit >= 0 {
		n += p.float(keyLimitRate, d.Rates.Limit)
	}
	return n
}

func (p *payloadV1) float(key string, value float64) int {
	p.str(key)
	p.b = msgpack.AppendFloat64(append(p.b, kindFloat), value)
	return 1
}

// traceTags appends what belongs to the trace and has no field of its own.
func (p *payloadV1) traceTags(c *chunk, v *spanView) (n int) {
	if v.flags&flagRoot != 0 && c.facts.lastParent.IsValid() {
		n += p.pair(keyLastParent, c.facts.lastParent.String())
	}
	if v.flags&flagRoot != 0 && c.facts.problem != "" {
		n += p.pair(keyPropagation, c.facts.problem)
	}
	if c.facts.tags == "" {
		return n
	}
	for member := range strings.SplitSeq(c.facts.tags, ",") {
		if key, value, ok := strings.Cut(member, "="); ok && key != keyTraceHigh && key != keyDecisionMaker {
			n += p.pair(clean(key, maxKey), clean(value, maxValue))
		}
	}
	return n
}

// commonTags appends the tags of id but those overridden, if some are.
func (p *payloadV1) commonTags(id *identity, some bool) (n int) {
	if !some && p.tagged == id {
		p.b = append(p.b, p.tags...)
		return p.tagCount
	}
	n = p.eachTag(id)
	if !some { // all their strings have numbers now
		b := p.b
		p.b = p.tags[:0]
		p.tagCount = p.eachTag(id)
		p.tags, p.b, p.tagged = p.b, b, id
	}
	return n
}

func (p *payloadV1) eachTag(id *identity) (n int) {
	for i, t := range id.tags {
		if !p.over[i] && !t.promoted {
			n += p.pair(t.key, t.value)
		}
	}
	return n
}
