package ddagent

import (
	"encoding/binary"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
)

// What is left of a span that is alone in a payload and still too large for
// whatever stands before the agent. The agent itself takes 25 MiB.
const (
	reducedSpan  = 16 << 10 // bytes of the record; a smaller one is not cut
	reducedValue = 500      // bytes of a value, and of the resource
)

// reduce returns a chunk of one span cut down: without events, links and
// arrays, its texts shortened, and saying so in keyTruncated. It reports false
// if there is nothing to gain.
func (c *chunk) reduce() (out chunk, ok bool) {
	in := reader{s: c.records}
	var v spanView
	if ok = in.span(&v); c.spans != 1 || len(c.records) <= reducedSpan || !ok {
		return out, false
	}
	b, _ := open(make([]byte, 0, reducedSpan))
	for _, n := range [...]uint64{v.id, v.parent, v.start, v.duration} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, v.flags, v.kind)
	for _, s := range [...]string{v.service, v.name, clean(v.resource, reducedValue), v.typ} {
		b = appendStr(b, s)
	}
	b, at := open(b)
	b = appendReduced(b, v.attrs, c.id.keys.numbered())
	seal(b, at)
	b, at = open(b) // events
	seal(b, at)
	b, at = open(b) // links
	seal(b, at)
	seal(b, 0)
	out = *c
	out.records = string(b)
	return out, len(b) < len(c.records)
}

// appendReduced appends attributes while there is room, a little more for what
// explains an error, and at the end how many are not whole. Keys have 200
// bytes at most, so the record stays below reducedSpan and is not cut again.
func appendReduced(b []byte, attrs string, keys []string) []byte {
	const room = reducedSpan - 4*reducedValue
	changed := int64(0)
	in := reader{s: attrs, keys: keys}
	for a, ok := in.attr(); ok; a, ok = in.attr() {
		switch {
		case a.key == keyTruncated:
			changed += int64(a.num)
			continue
		case a.kind == kindArray,
			len(b) > room && a.key != ext.ErrorMsg && a.key != ext.ErrorType && a.key != ext.ErrorStack:
			changed++
			continue
		case len(a.str) > reducedValue:
			a.str = clean(a.str, reducedValue)
			changed++
		}
		b = appendView(b, a)
	}
	return appendView(b, attrView{key: keyTruncated, kind: kindInt, num: uint64(changed)})
}

// appendView appends an attribute, no array, as it was read.
func appendView(b []byte, a attrView) []byte {
	b = binary.AppendUvarint(append(b, a.kind), uint64(a.number))
	if a.number == 0 {
		b = appendStr(b, a.key)
	}
	switch a.kind {
	case kindString:
		return appendStr(b, a.str)
	case kindBool:
		return append(b, byte(a.num))
	default:
		return binary.LittleEndian.AppendUint64(b, a.num)
	}
}
