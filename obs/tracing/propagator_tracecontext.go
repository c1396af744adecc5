package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// W3C's headers: https://www.w3.org/TR/trace-context/
var (
	headerTraceparent = header{"traceparent", "Traceparent"}
	headerTracestate  = header{"tracestate", "Tracestate"}
)

// traceparentLen is the length of version 00; later ones may be longer.
const traceparentLen = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

func (h *hop) appendTraceContext(b []byte, x *index) []byte {
	b = append(b, "00-"...)
	b = appendHex(b, h.trace[:])
	b = append(b, '-')
	b = appendHex(b, h.parent[:])
	// Without a decision the flag is set: a tracer that knows no third state
	// would otherwise drop the trace.
	flags := (h.flags & trace.FlagsRandom).WithSampled(h.kept() || !h.decided)
	b = append(b, '-', '0', '0'+byte(flags)) // 3 at most
	x.end(&headerTraceparent, b)
	return h.appendState(b, x)
}

// readTraceContext reads the headers and leaves the members of tracestate
// unread: where another style's trace wins, most are of no use.
func (h *hop) readTraceContext(in *incoming) bool {
	if !h.readTraceparent(headerTraceparent.only(in)) || !h.parent.IsValid() {
		return false
	}
	h.member, h.others = splitState(headerTracestate.list(in))
	return true
}

// readTraceparent reads a traceparent. The span id may be zero.
func (h *hop) readTraceparent(s string) bool {
	if len(s) != traceparentLen || s[0] <= '-' || s[traceparentLen-1] <= '-' {
		s = strings.Trim(s, "\t -") // all up to '-'; 11 ns that hardly any needs
	}
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[:2]) || !unhex(h.trace[:], s[3:35]) ||
		!unhex(h.parent[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return false
	}
	switch {
	case version[0] == 0xff, !h.trace.IsValid():
		return false
	case len(s) > traceparentLen && (version[0] == 0 || s[traceparentLen] != '-'):
		return false
	}
	h.flags = trace.TraceFlags(flags[0]) & (trace.FlagsSampled | trace.FlagsRandom)
	return true
}
