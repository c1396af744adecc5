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

// inScan are the headers that a scan keeps, by the lengths of their names,
// which differ: what a name in a map could be is known without hashing it.
// Zipkin's and the front end's are few programs' and are looked up.
var inScan = func() (byLength [scanLimit]*header) {
	for _, h := range []*header{
		&headerTraceID, &headerParentID, &headerPriority, &headerOrigin, &headerTags,
		&headerTraceparent, &headerTracestate, &headerBaggage,
	} {
		byLength[len(h.canonical)] = h
	}
	return byLength
}()

const scanLimit = len("x-datadog-sampling-priority") + 1

// incoming is the carrier of one Extract.
type incoming struct {
	carrier propagation.TextMapCarrier
	header  propagation.HeaderCarrier // carrier, where it is one
	plain   bool                      // carrier is not one

	scanned bool
	found   [scanLimit][]string // by the length of the name, as inScan
}

func (in *incoming) of(c propagation.TextMapCarrier) {
	hc, ok := c.(propagation.HeaderCarrier)
	in.carrier, in.header, in.plain = c, hc, !ok
}

// scan reads the headers that inScan has in one pass, in place of a look-up
// each, and reports whether there are any of legacyPrefix, for whose sake all
// names have to be seen.
func (in *incoming) scan() (legacy bool) {
	for name, v := range in.header {
		if n := len(name); n < scanLimit && inScan[n] != nil && inScan[n].canonical == name {
			in.found[n] = v
		} else if isLegacy(name) {
			legacy = true
		}
	}
	in.scanned = true
	return legacy
}

func (in *incoming) values(h *header) []string {
	if n := len(h.canonical); in.scanned && n < scanLimit && inScan[n] == h {
		return in.found[n]
	}
	return in.header[h.canonical]
}

// get returns the last value of the header, as Datadog's tracers do.
func (h *header) get(in *incoming) string {
	if in.plain {
		return in.carrier.Get(h.name)
	}
	if v := in.values(h); len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// only returns the value of a header that may not be repeated, and "" where it
// is.
func (h *header) only(in *incoming) string {
	if in.plain {
		return in.carrier.Get(h.name)
	}
	if v := in.values(h); len(v) == 1 {
		return v[0]
	}
	return ""
}

// list returns the value of a header whose lines form one list.
func (h *header) list(in *incoming) string {
	if in.plain {
		return in.carrier.Get(h.name)
	}
	switch v := in.values(h); len(v) {
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
	hc, ok := c.(propagation.HeaderCarrier)
	if !ok {
		for i, h := range x.names[:x.n] {
			c.Set(h.name, all[start:x.ends[i]])
			start = x.ends[i]
		}
		return
	}
	values := make([]string, x.n)
	for i, h := range x.names[:x.n] {
		values[i] = all[start:x.ends[i]]
		start = x.ends[i]
		hc[h.canonical] = values[i : i+1 : i+1]
	}
}
