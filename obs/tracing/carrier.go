package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/propagation"
)

// A header is a name in the two forms carriers have it. The canonical one
// saves an http.Header making it anew, an allocation a header.
type header struct {
	name, canonical string
}

// get returns the last value of the header, as Datadog's tracers do.
func (h *header) get(c propagation.TextMapCarrier) string {
	hc, ok := c.(propagation.HeaderCarrier)
	if !ok {
		return c.Get(h.name)
	}
	if v := hc[h.canonical]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// only returns the value of a header that may not be repeated, and "" where it
// is.
func (h *header) only(c propagation.TextMapCarrier) string {
	hc, ok := c.(propagation.HeaderCarrier)
	if !ok {
		return c.Get(h.name)
	}
	if v := hc[h.canonical]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// list returns the value of a header whose lines form one list.
func (h *header) list(c propagation.TextMapCarrier) string {
	hc, ok := c.(propagation.HeaderCarrier)
	if !ok {
		return c.Get(h.name)
	}
	switch v := hc[h.canonical]; len(v) {
	case 0:
		return ""
	case 1:
		return v[0]
	default:
		return strings.Join(v, ",")
	}
}

// maxHeaders is the number of headers all styles together set.
const maxHeaders = 11

// An index tells the values of headers apart that stand in one buffer, so that
// all of them cost two allocations: one string, and one array for the slices
// http.Header wants. (The buffer is no part of it: kept behind a pointer it
// would be a third.)
type index struct {
	names [maxHeaders]*header
	ends  [maxHeaders]int
	n     int
}

// end says that what was appended to b since the last end is the value of h.
func (x *index) end(h *header, b []byte) {
	x.names[x.n], x.ends[x.n] = h, len(b)
	x.n++
}

// set sets the headers, whose values are in b.
func (x *index) set(c propagation.TextMapCarrier, b []byte) {
	if x.n == 0 {
		return
	}
	all, start := string(b), 0
	hc, isHeader := c.(propagation.HeaderCarrier)
	var values []string
	if isHeader {
		values = make([]string, x.n)
	}
	for i, h := range x.names[:x.n] {
		v := all[start:x.ends[i]]
		start = x.ends[i]
		if isHeader {
			values[i] = v
			hc[h.canonical] = values[i : i+1 : i+1]
		} else {
			c.Set(h.name, v)
		}
	}
}
