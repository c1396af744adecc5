package devui

import (
	"cmp"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// A traceEntry is one trace as far as it has come: its spans as blobs, and what
// the list says of it, kept up with every span and record.
type traceEntry struct {
	id      trace.TraceID
	number  uint64 // in the order of coming
	spans   []string
	bytes   int64
	changed uint64 // the store's count when it last changed

	newer, older *traceEntry // by change

	top         head // of the span that stands for the request
	first, last int64
	failed      bool
	services    []string // in the order of coming
	names       []string // of spans, to search in
	logs        int
	level       int16 // the highest of a record
	dropped     int   // spans beyond the bound
	rank        rank
	hasRecords  bool
}

// head is what the list says of a trace's top span.
type head struct {
	name, service, method, route, path string
	status                             int
	start, duration                    int64
}

// rank orders the spans of a trace by how well they stand for the request.
type rank int8

const (
	rankNone rank = iota
	rankAny
	rankServer // the service's own entry, though its caller's span may come
	rankRoot   // it has no parent
)

func rankOf(s *span) rank {
	switch {
	case !s.parent.IsValid():
		return rankRoot
	case s.kind == trace.SpanKindServer || s.kind == trace.SpanKindConsumer:
		return rankServer
	}
	return rankAny
}

// note keeps what the list says up with s.
func (t *traceEntry) note(s *span) {
	end := endOf(s)
	if len(t.spans) == 0 {
		t.first, t.last = s.start, end
	}
	t.first, t.last = min(t.first, s.start), max(t.last, end)
	t.failed = t.failed || s.failed
	if !slices.Contains(t.services, s.service) && len(t.services) < maxServices {
		t.services = append(t.services, s.service)
	}
	if !slices.Contains(t.names, s.name) && len(t.names) < maxSpanNames {
		t.names = append(t.names, s.name)
		t.bytes += 32
	}
	if r := rankOf(s); r > t.rank || r == t.rank && s.start < t.top.start {
		t.rank, t.top = r, headOf(s)
	}
}

// maxServices of a trace are named in the list, and maxSpanNames found by a
// search.
const (
	maxServices  = 32
	maxSpanNames = 128
)

func endOf(s *span) int64 {
	if s.duration > maxTime-s.start {
		return maxTime
	}
	return s.start + s.duration
}

func headOf(s *span) head {
	h := head{name: cmp.Or(s.resource, s.name), service: s.service, start: s.start, duration: s.duration}
	var status string
	for _, kv := range s.attrs {
		switch kv.Key {
		case "http.request.method", "http.method":
			h.method = short(kv.Value)
		case "http.route":
			h.route = short(kv.Value)
		case "url.path":
			h.path = short(kv.Value)
		case "http.response.status_code", "http.status_code":
			status = kv.Value.String()
		}
	}
	if n, err := strconv.ParseFloat(status, 64); err == nil && n >= 0 && n < 1000 {
		h.status = int(n) // metrics are floats
	}
	return h
}

// length is that of the request: the top span's, unless that has not come.
func (t *traceEntry) length() int64 {
	if t.rank >= rankServer {
		return t.top.duration
	}
	return t.last - t.first
}

// maxHead bounds a text in the list.
const maxHead = 300

func short(v attribute.Value) string { return clip(v.String(), maxHead) }

// cost is the memory a trace takes: what was measured of the struct, its place
// in the map and in the ring, and the growth of its slices.
func (t *traceEntry) cost() int64 {
	const fixed = 640
	return t.bytes + fixed
}

// blobCost is that of one span: the string's header twice, as slices grow, and
// the allocator's rounding.
func blobCost(blob string) int64 { return int64(len(blob)+len(blob)/8) + 40 }
