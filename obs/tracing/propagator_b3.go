package tracing

import "strings"

// Zipkin's headers: https://github.com/openzipkin/b3-propagation
var (
	headerB3TraceID = header{"x-b3-traceid", "X-B3-Traceid"}
	headerB3SpanID  = header{"x-b3-spanid", "X-B3-Spanid"}
	headerB3Sampled = header{"x-b3-sampled", "X-B3-Sampled"}
	headerB3        = header{"b3", "B3"}
)

func (h *hop) appendB3(b []byte, x *index) []byte {
	b = h.appendB3TraceID(b)
	x.end(&headerB3TraceID, b)
	b = appendHex(b, h.parent[:])
	x.end(&headerB3SpanID, b)
	if h.decided {
		b = append(b, h.b3Sampled())
		x.end(&headerB3Sampled, b)
	}
	return b
}

func (h *hop) appendB3Single(b []byte, x *index) []byte {
	b = append(h.appendB3TraceID(b), '-')
	b = appendHex(b, h.parent[:])
	if h.decided {
		b = append(b, '-', h.b3Sampled())
	}
	x.end(&headerB3, b)
	return b
}

func (h *hop) appendB3TraceID(b []byte) []byte {
	if h.hasHigh() {
		return appendHex(b, h.trace[:])
	}
	return appendHex(b, h.trace[8:])
}

func (h *hop) b3Sampled() byte {
	if h.kept() {
		return '1'
	}
	return '0'
}

func (h *hop) readB3Multi(in *incoming) bool {
	return h.readB3(headerB3TraceID.get(in), headerB3SpanID.get(in), headerB3Sampled.get(in))
}

// readB3Single reads "trace-span-sampled-parent", of which the last two may be
// missing. A lone "0", a decision without a trace, is not supported.
func (h *hop) readB3Single(in *incoming) bool {
	traceID, rest, _ := strings.Cut(headerB3.get(in), "-")
	spanID, rest, _ := strings.Cut(rest, "-")
	sampled, _, _ := strings.Cut(rest, "-")
	return h.readB3(traceID, spanID, sampled)
}

// readB3 reads a trace id of 64 or 128 bits, leading zeros left out or not.
// Any other decision than yes or no is none: B3 calls it deferred.
func (h *hop) readB3(traceID, spanID, sampled string) bool {
	if !unhexShort(h.trace[:], traceID) || !unhexShort(h.parent[:], spanID) {
		return false
	}
	switch sampled {
	case "1", "d", "true": // d: debug
		h.keep(true)
	case "0", "false":
		h.keep(false)
	}
	return h.trace.IsValid() && h.parent.IsValid()
}

// unhexShort fills the end of dst from as many digits as there are.
func unhexShort(dst []byte, s string) bool {
	if s == "" || len(s) > 2*len(dst) {
		return false
	}
	if len(s)%2 != 0 {
		s = "0" + s
	}
	return unhex(dst[len(dst)-len(s)/2:], s)
}
