package tracing

import (
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// vendor is the key of Datadog's member of tracestate.
const vendor = "dd"

const (
	maxMember  = 256  // bytes of the dd member, both ways
	maxOther   = 512  // bytes of another vendor's member
	maxState   = 4096 // bytes of tracestate, both ways
	maxMembers = 32
)

// appendState appends tracestate: the dd member first, then the other vendors'
// in the order they came.
func (h *hop) appendState(b []byte, x *index) []byte {
	start, n := len(b), 0
	if b = h.appendMember(b); len(b) > start {
		n++
	}
	h.state.Walk(func(key, value string) bool {
		size := len(key) + 1 + len(value)
		if key == vendor || size > maxOther {
			return true
		}
		if n == maxMembers || len(b)-start+1+size > maxState {
			return false
		}
		n++
		b = appendComma(b, start)
		b = append(b, key...)
		b = append(b, '=')
		b = append(b, value...)
		return true
	})
	if len(b) > start {
		x.end(&headerTracestate, b)
	}
	return b
}

// appendMember appends "dd=s:1;o:rum;p:00f067aa0ba902b7;t.dm:-0", or nothing
// where there is nothing to say. Tags that do not fit are left out.
func (h *hop) appendMember(b []byte) []byte {
	start := len(b)
	b = append(b, vendor+"="...)
	empty := len(b)
	if h.decided {
		b = strconv.AppendInt(append(b, "s:"...), int64(h.decision.Priority), 10)
	}
	if h.origin != "" {
		b = appendEscaped(append(appendSemicolon(b, empty), "o:"...), h.origin, originChars)
	}
	if h.lastParent.IsValid() {
		b = appendHex(append(appendSemicolon(b, empty), "p:"...), h.lastParent[:])
	}
	if m, ok := h.mechanism(); ok {
		b = strconv.AppendInt(append(appendSemicolon(b, empty), "t.dm:-"...), int64(m), 10)
	}
	if h.hasHigh() && len(b) > empty {
		b = appendHex(append(b, ";t.tid:"...), h.trace[:8])
	}
	for rest := h.tags; rest != ""; {
		var tag string
		tag, rest, _ = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(strings.TrimPrefix(tag, tagPrefix), "=")
		if len(b)-start+len(";t.:")+len(key)+len(value) > maxMember {
			continue
		}
		b = appendEscaped(append(appendSemicolon(b, empty), "t."...), key, keyChars)
		b = appendEscaped(append(b, ':'), value, valueChars)
	}
	if len(b) == empty {
		return b[:start]
	}
	if b[len(b)-1] == ' ' { // W3C's values end in none
		b[len(b)-1] = '_'
	}
	return b
}

func appendSemicolon(b []byte, empty int) []byte {
	if len(b) > empty {
		b = append(b, ';')
	}
	return b
}

// A charset is what a part of the dd member does with each byte: pass it on,
// replace it, or join it, in a run of its kind, to one '_'.
type charset [256]byte

const (
	passes byte = 0
	joins  byte = 1
)

// newCharset is the set in which the bytes of not become '_'. Datadog's tracers
// write '=' as '~' and back; what is no printable ASCII joins.
func newCharset(not string) *charset {
	var s charset
	for c := range s {
		if c < ' ' || c > '~' {
			s[c] = joins
		}
	}
	s['='] = '~'
	for _, c := range []byte(not) {
		s[c] = '_'
	}
	return &s
}

// pass reports whether all of s passes.
func (c *charset) pass(s string) bool {
	for i := range len(s) {
		if c[s[i]] != passes {
			return false
		}
	}
	return true
}

// The parts of the dd member, and those of x-datadog-tags.
var (
	keyChars    = newCharset(",=:;")
	valueChars  = newCharset(",;~")
	originChars = func() *charset {
		s := newCharset(",;~")
		s[' '] = joins
		return s
	}()

	tagKeyChars   = newCharset(" ,=")
	tagValueChars = func() *charset {
		s := newCharset(",")
		s['='] = passes
		return s
	}()
)

// appendEscaped appends s as chars has it.
func appendEscaped(b []byte, s string, chars *charset) []byte {
	start, run := 0, false
	for i := range len(s) {
		as := chars[s[i]]
		if as == passes {
			run = false
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch {
		case as != joins:
			b = append(b, as)
			run = false
		case !run:
			b = append(b, '_')
			run = true
		}
	}
	return append(b, s[start:]...)
}

// splitState returns the value of the dd member, "" if it is too long, and
// what stands beside it.
func splitState(s string) (member, others string) {
	if len(s) > maxState {
		return "", ""
	}
	for at := 0; at < len(s); {
		end := len(s)
		if i := strings.IndexByte(s[at:], ','); i >= 0 {
			end = at + i
		}
		value, ok := strings.CutPrefix(trimBlanks(s[at:end]), vendor+"=")
		if !ok {
			at = end + 1
			continue
		}
		if len(value)+len(vendor+"=") > maxMember {
			value = ""
		}
		switch before, after := s[:at], s[min(end+1, len(s)):]; {
		case before == "":
			return value, after
		case after == "":
			return value, before[:len(before)-1]
		default:
			return value, before + after
		}
	}
	return "", s
}

// readMember reads the dd member and sets it against the sampled flag, which
// tracers that know no priority may have changed since.
func (h *hop) readMember() {
	priority, ok := h.readFacts()
	sampled := h.flags.IsSampled()
	mechanism := h.decision.Mechanism
	h.keep(sampled)
	switch {
	case !ok, sampled == (priority > 0):
		h.decision.Mechanism = mechanism
		if ok {
			h.decision.Priority = priority
		}
	case sampled:
		h.decision.Mechanism = obsctx.MechanismDefault
	}
}

// readFacts reads the dd member, but for the decision, of which it returns the
// priority and sets who made it.
func (h *hop) readFacts() (priority int, ok bool) {
	var room [maxMember + 32]byte // "_dd.p." is longer than ";t."
	tags := room[:0]
	h.decision.Mechanism = obsctx.MechanismUnknown
	for rest := h.member; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, ";")
		key, value, _ := strings.Cut(part, ":")
		switch key {
		case "s":
			priority, ok = parsePriority(value)
		case "o":
			h.origin = cleanOrigin(strings.ReplaceAll(value, "~", "="))
		case "p":
			h.lastParent = parseParent(value)
		case "t.dm":
			h.decision.Mechanism = parseMechanism(value)
		case "t.tid": // traceparent has it
		default:
			if suffix, isTag := strings.CutPrefix(key, "t."); isTag {
				tags = appendTag(tags, suffix, value)
			}
		}
	}
	h.tags = string(tags)
	return priority, ok
}

func appendTag(tags []byte, suffix, value string) []byte {
	start := len(tags)
	b := append(append(appendComma(tags, 0), tagPrefix...), suffix...)
	if b = append(b, '='); !validTag(tagPrefix+suffix, value) || len(b)+len(value) > maxTags {
		return tags[:start]
	}
	for i := range len(value) {
		c := value[i]
		if c == '~' {
			c = '='
		}
		b = append(b, c)
	}
	return b
}

// memberParent returns the p: of a member that is not read.
func (h *hop) memberParent() trace.SpanID {
	for part := range strings.SplitSeq(h.member, ";") {
		if value, ok := strings.CutPrefix(part, "p:"); ok {
			return parseParent(value)
		}
	}
	return trace.SpanID{}
}

func parseParent(s string) (id trace.SpanID) {
	if !unhex(id[:], s) {
		return trace.SpanID{}
	}
	return id
}

// parseState returns the members of a tracestate. One that breaks the rules
// does not take the others with it. A single one is put in as it is, 2
// allocations less than parsing a list.
func parseState(s string) trace.TraceState {
	if strings.IndexByte(s, ',') < 0 {
		key, value, _ := strings.Cut(trimBlanks(s), "=")
		ts, _ := trace.TraceState{}.Insert(key, value)
		return ts
	}
	ts, err := trace.ParseTraceState(s)
	if err == nil {
		return ts
	}
	members := strings.SplitN(s, ",", 2*maxMembers+1)
	if len(members) > 2*maxMembers {
		members = members[:2*maxMembers]
	}
	for i := len(members) - 1; i >= 0; i-- { // Insert puts in front
		key, value, _ := strings.Cut(trimBlanks(members[i]), "=")
		if next, err := ts.Insert(key, value); err == nil {
			ts = next
		}
	}
	return ts
}

// trimBlanks is strings.Trim(s, "\t "), which takes 10 ns where there are none.
func trimBlanks(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
