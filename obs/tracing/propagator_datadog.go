package tracing

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Datadog's own headers:
// https://docs.datadoghq.com/tracing/trace_collection/trace_context_propagation/#datadog-format
var (
	headerTraceID  = header{"x-datadog-trace-id", "X-Datadog-Trace-Id"}
	headerParentID = header{"x-datadog-parent-id", "X-Datadog-Parent-Id"}
	headerPriority = header{"x-datadog-sampling-priority", "X-Datadog-Sampling-Priority"}
	headerOrigin   = header{"x-datadog-origin", "X-Datadog-Origin"}
	headerTags     = header{"x-datadog-tags", "X-Datadog-Tags"}
)

const (
	// tagPrefix begins the names of the tags that all services of a trace
	// share.
	tagPrefix = "_dd.p."

	tagTID = tagPrefix + "tid" // the high half of the trace id
	tagDM  = tagPrefix + "dm"  // who decided

	maxTags   = 512 // bytes of x-datadog-tags, both ways
	maxOrigin = 128 // bytes; "synthetics-browser" is the longest in use
)

// What _dd.propagation_error says of x-datadog-tags that were left out.
const (
	problemTooLong   = "extract_max_size"
	problemMalformed = "decoding_error"
)

// originSynthetics marks Datadog's synthetic tests. They send no parent.
const originSynthetics = "synthetics"

// appendDatadog appends nothing where the low half of the trace id is zero:
// x-datadog-trace-id could hold no other half, and a 0 in it is no trace to
// most of Datadog's tracers. Such a trace goes on in W3C's headers.
func (h *hop) appendDatadog(b []byte, x *index) []byte {
	if low(h.trace) == 0 {
		return b
	}
	b = strconv.AppendUint(b, low(h.trace), 10)
	x.end(&headerTraceID, b)
	b = strconv.AppendUint(b, binary.BigEndian.Uint64(h.parent[:]), 10)
	x.end(&headerParentID, b)
	if h.decided {
		b = strconv.AppendInt(b, int64(h.decision.Priority), 10)
		x.end(&headerPriority, b)
	}
	if h.origin != "" {
		b = append(b, h.origin...)
		x.end(&headerOrigin, b)
	}
	start := len(b)
	if h.hasHigh() {
		b = append(b, tagTID+"="...)
		b = appendHex(b, h.trace[:8])
	}
	if m, ok := h.mechanism(); ok {
		b = appendComma(b, start)
		b = append(b, tagDM+"=-"...)
		b = strconv.AppendInt(b, int64(m), 10)
	}
	// The tags above are part of id and decision: where there is room for
	// those alone, upstream's tags stay behind.
	if h.tags != "" {
		own := len(b)
		b = append(appendComma(b, start), h.tags...)
		if h.left = len(b)-start > maxTags; h.left {
			b = b[:own]
		}
	}
	if len(b) > start {
		x.end(&headerTags, b)
	}
	return b
}

func (h *hop) hasHigh() bool { return binary.BigEndian.Uint64(h.trace[:8]) != 0 }

func appendComma(b []byte, start int) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	return b
}

func (h *hop) readDatadog(in *incoming) bool {
	low, ok := parseDecimal(headerTraceID.get(in))
	if !ok {
		return false
	}
	binary.BigEndian.PutUint64(h.trace[8:], low)
	parent, _ := parseDecimal(headerParentID.get(in))
	binary.BigEndian.PutUint64(h.parent[:], parent)
	h.lastParent = h.parent // who sends these headers sends spans to Datadog
	h.origin = cleanOrigin(headerOrigin.get(in))
	h.decision.Mechanism = obsctx.MechanismUnknown
	h.readTags(headerTags.get(in))
	h.decision.Priority, h.decided = parsePriority(headerPriority.get(in))
	return h.trace.IsValid() && (h.parent.IsValid() || h.origin == originSynthetics)
}

// parseDecimal reads an id, and returns 0 if it is none. Some tracers write it
// as a signed number.
func parseDecimal(s string) (id uint64, ok bool) {
	if len(s) == 0 || len(s) > 20 { // digits of 2^64; errors copy their input
		return 0, false
	}
	if s[0] == '-' {
		n, err := strconv.ParseInt(s, 10, 64)
		id, ok = uint64(n), err == nil
	} else {
		n, err := strconv.ParseUint(s, 10, 64)
		id, ok = n, err == nil
	}
	if !ok {
		return 0, false // strconv's answer to what is too large is the largest
	}
	return id, true
}

// parsePriority reads a priority. Those beyond -1 to 2 are kept as they are:
// their sign is what counts.
func parsePriority(s string) (int, bool) {
	if len(s) == 0 || len(s) > 11 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil
}

// parseMechanism reads a decision maker, "-4".
func parseMechanism(s string) obsctx.Mechanism {
	if len(s) < 2 || len(s) > 4 || s[0] != '-' || s[1] == '+' || s[1] == '-' {
		return obsctx.MechanismUnknown
	}
	n, err := strconv.ParseInt(s[1:], 10, 8)
	if err != nil {
		return obsctx.MechanismUnknown
	}
	return obsctx.Mechanism(n)
}

// cleanOrigin returns s if it can be sent on as it is, else "".
func cleanOrigin(s string) string {
	if len(s) > maxOrigin || !printable(s, "") {
		return ""
	}
	return s
}

// readTags reads x-datadog-tags. A list that is too long or malformed is left
// out as a whole, as Datadog's tracers do: what is missing from its end could
// be anything.
func (h *hop) readTags(list string) {
	switch {
	case list == "":
		return
	case len(list) > maxTags:
		h.problem = problemTooLong
		return
	case !wellFormed(list):
		h.problem = problemMalformed
		return
	}
	from, to := 0, 0 // h.tags in list, of which it is a part if it can be
	var apart strings.Builder
	for at := 0; at < len(list); {
		start, end := at, len(list)
		if i := strings.IndexByte(list[at:], ','); i >= 0 {
			end = at + i
		}
		at = end + 1
		tag := list[start:end]
		key, value, _ := strings.Cut(tag, "=")
		switch {
		case key == tagTID:
			h.readHigh(value)
		case key == tagDM:
			h.decision.Mechanism = parseMechanism(value)
		case !validTag(key, value) || repeated(list[min(at, len(list)):], key):
		case h.tags == "":
			h.tags, from, to = tag, start, end
		case to == start-1: // the tags kept so far stand before it
			h.tags, to = list[from:end], end
		default:
			if apart.Len() == 0 {
				apart.Grow(len(list))
				apart.WriteString(h.tags)
				to = len(list) // so that all others come here, too
			}
			apart.WriteByte(',')
			apart.WriteString(tag)
		}
	}
	if apart.Len() != 0 {
		h.tags = apart.String()
	}
}

// readHigh reads the high half of the trace id: 16 digits in lower case.
func (h *hop) readHigh(s string) {
	var high [8]byte
	if unhex(high[:], s) && !strings.ContainsAny(s, "ABCDEF") {
		copy(h.trace[:], high[:])
	}
}

func wellFormed(list string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if key, value, ok := strings.Cut(tag, "="); !ok || key == "" || value == "" {
			return false
		}
	}
	return true
}

// validTag reports whether a tag may be sent on: one that is no _dd.p. tag is
// not meant for others, and no header may hold control characters.
func validTag(key, value string) bool {
	return len(key) > len(tagPrefix) && strings.HasPrefix(key, tagPrefix) &&
		tagKeyChars.pass(key) && value != "" && tagValueChars.pass(value)
}

// repeated reports whether key stands in list: the last one counts.
func repeated(list, key string) bool {
	if !strings.Contains(list, key) { // the common case, in no time
		return false
	}
	for tag := range strings.SplitSeq(list, ",") {
		if k, _, _ := strings.Cut(tag, "="); k == key {
			return true
		}
	}
	return false
}

// printable reports whether s is printable ASCII without any of the bytes of
// not.
func printable(s, not string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || strings.IndexByte(not, s[i]) >= 0 {
			return false
		}
	}
	return true
}
