package ddagent

import (
	"encoding/binary"
	"math"
)

// A record is one ended span as bytes, mapped to Datadog's terms but to no
// version of its protocol. Records of a chunk stand one after another:
//
//	u32 length of what follows
//	u64 span id, u64 parent id, u64 start, u64 duration (ns), u8 flags, u8 kind
//	str service, name, resource, type
//	u32 length, attributes:  { u8 kind, key, value }*
//	u32 length, events:      { u64 time, str name, u32 length, attributes }*
//	u32 length, links:       { [16]trace id, u64 span id, u32 flags, str tracestate, u32 length, attributes }*
//
// A key is a uvarint: a number in the exporter's key table, or 0 before a str;
// events and links have only such. Integers are little endian, str is a uvarint length and the bytes, always
// valid UTF-8. Lengths stand in front so that a reader can skip.

// The kinds of a value, numbered as v1.0 of the protocol numbers them.
const (
	kindString = 1 // str
	kindBool   = 2 // u8
	kindFloat  = 3 // u64 of IEEE 754
	kindInt    = 4 // u64 of two's complement
	kindArray  = 6 // str that holds { u8 kind, value }*
)

const (
	flagError    = 1 << iota // the status is Error
	flagRoot                 // the local root
	flagOverride             // the service is the span's own
	flagRefused              // what a rule for single spans says of it does not hold
)

// flagsAt is where the flags stand, counted from the record's length field.
const flagsAt = 4 + 4*8

func appendKey(b []byte, k *keyInfo) []byte {
	if k.number != 0 {
		return binary.AppendUvarint(b, uint64(k.number))
	}
	return appendStr(append(b, 0), k.as)
}

func appendStr(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// open reserves a length field; seal fills it in.
func open(b []byte) (out []byte, at int) { return append(b, 0, 0, 0, 0), len(b) }

func seal(b []byte, at int) {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
}

// spanView is a decoded record. Its strings share the record's memory.
type spanView struct {
	id, parent      uint64
	start, duration uint64
	flags, kind     byte
	service         string // empty: the chunk's
	name, resource  string
	typ             string
	attrs           string
	events, links   string
}

type eventView struct {
	time  uint64
	name  string
	attrs string
}

type linkView struct {
	traceHigh, traceLow uint64
	id                  uint64
	flags               uint32
	state, attrs        string
}

// attrView is one attribute. num holds bools, integers and the bits of floats,
// str strings and the elements of arrays.
type attrView struct {
	key    string
	number uint32 // of the key, or 0
	kind   byte
	str    string
	num    uint64
}

func (a attrView) float() float64 {
	if a.kind == kindFloat {
		return math.Float64frombits(a.num)
	}
	return float64(int64(a.num))
}

// reader takes apart what the functions above put together. Bytes that end too
// early set bad and yield zero values; it never panics. Holding a string, it
// hands out parts of it without copying.
//
// It moves an index and not the string: a pointer stored for each part read is
// a write barrier each while the garbage collector runs.
type reader struct {
	s    string
	at   int
	keys []string // of a keyTable, where attributes of spans are read
	bad  bool
}

func (r *reader) fail() { r.at, r.bad = len(r.s), true }

func (r *reader) take(n uint64) string {
	if n > uint64(len(r.s)-r.at) {
		r.fail()
		return ""
	}
	part := r.s[r.at : r.at+int(n)]
	r.at += int(n)
	return part
}

func (r *reader) u8() byte {
	if r.at == len(r.s) {
		r.fail()
		return 0
	}
	r.at++
	return r.s[r.at-1]
}

func (r *reader) u32() uint32 {
	p := r.take(4)
	if p == "" {
		return 0
	}
	return uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
}

func (r *reader) u64() uint64 {
	p := r.take(8)
	if p == "" {
		return 0
	}
	return uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
		uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
}

func (r *reader) uvarint() uint64 {
	if r.at < len(r.s) && r.s[r.at] < 0x80 { // nearly always
		r.at++
		return uint64(r.s[r.at-1])
	}
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := r.u8()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail()
	return 0
}

func (r *reader) str() string     { return r.take(r.uvarint()) }
func (r *reader) section() string { return r.take(uint64(r.u32())) }

// span reads one record into v; ok is false at the end and for damaged bytes.
func (r *reader) span(v *spanView) (ok bool) {
	if r.at == len(r.s) {
		return false
	}
	in := reader{s: r.section()}
	if r.bad {
		return false
	}
	v.id, v.parent = in.u64(), in.u64()
	v.start, v.duration = in.u64(), in.u64()
	v.flags, v.kind = in.u8(), in.u8()
	v.service, v.name, v.resource, v.typ = in.str(), in.str(), in.str(), in.str()
	v.attrs, v.events, v.links = in.section(), in.section(), in.section()
	if in.bad {
		r.fail()
		return false
	}
	return true
}

func (r *reader) attr() (a attrView, ok bool) {
	ok = r.attrTo(&a)
	return a, ok
}

// attrTo is attr into a place that is used again: an attrView is 56 bytes, and
// a span has many.
func (r *reader) attrTo(a *attrView) (ok bool) {
	if r.at == len(r.s) {
		return false
	}
	a.kind = r.u8()
	switch n := r.uvarint(); {
	case n == 0:
		a.key, a.number = r.str(), 0
	case n <= uint64(len(r.keys)):
		a.key, a.number = r.keys[n-1], uint32(n)
	default:
		r.fail()
	}
	switch a.kind {
	case kindString:
		a.str, a.num = r.str(), 0
	default:
		a.str, a.num = r.value(a.kind)
	}
	return !r.bad
}

// element reads one element of an array.
func (r *reader) element() (a attrView, ok bool) {
	if r.at == len(r.s) {
		return a, false
	}
	a.kind = r.u8()
	a.str, a.num = r.value(a.kind)
	return a, !r.bad
}

func (r *reader) value(kind byte) (string, uint64) {
	switch kind {
	case kindString, kindArray:
		return r.str(), 0
	case kindBool:
		return "", uint64(r.u8())
	case kindFloat, kindInt:
		return "", r.u64()
	default:
		r.fail()
		return "", 0
	}
}

func (r *reader) event() (e eventView, ok bool) {
	if r.at == len(r.s) {
		return e, false
	}
	e.time, e.name, e.attrs = r.u64(), r.str(), r.section()
	return e, !r.bad
}

func (r *reader) link() (l linkView, ok bool) {
	if r.at == len(r.s) {
		return l, false
	}
	l.traceHigh, l.traceLow, l.id = r.u64(), r.u64(), r.u64()
	l.flags, l.state, l.attrs = r.u32(), r.str(), r.section()
	return l, !r.bad
}
