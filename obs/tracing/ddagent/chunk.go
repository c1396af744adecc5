package ddagent

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A chunk is finished spans of one local root: one trace id, one service's
// root, one priority. It is immutable but for its place in the queue.
type chunk struct {
	records  string
	spans    int
	root     int     // where the local root's record begins; -1: not here
	override bool    // a span of it names a service of its own
	failed   bool    // a span of it has the status Error
	single   bool    // a span of it is to be kept though the trace is not
	rate     float64 // of such traces go out: their weight is 1/rate; 0 is 1

	id    *identity
	trace trace.TraceID
	facts chunkFacts

	seq uint64    // order of arrival
	at  time.Time // of arrival
}

// chunkFacts is what the per-trace state says of a chunk.
type chunkFacts struct {
	decision   obsctx.Decision
	origin     string
	tags       string // "_dd.p.key=value", joined by commas
	lastParent trace.SpanID
	problem    string // why tags of the trace are missing
}

// chunkOverhead is what a queued chunk costs beside its records: the struct,
// twice, as the queue's rings double when they grow.
const chunkOverhead = 384

// cost is what c takes of the queue's bytes.
func (c *chunk) cost() int64 { return int64(len(c.records)) + chunkOverhead }

// size estimates c's bytes in a payload, on the high side: v0.4 repeats the
// names of the fields, the keys of attributes and the common tags on each span.
func (c *chunk) size() int {
	return len(c.records)*2 + c.spans*(c.id.size+190) + 400
}

// sizeIn is size for one version. In v1.0 most strings are numbers: this is
// twice what ordinary spans take, though not what strings that are all
// different would.
func (c *chunk) sizeIn(v version) int {
	if v == v10 {
		return len(c.records)/2 + c.spans*(4*len(c.id.tags)+40) + 100
	}
	return c.size()
}

// class is c's place among the priorities, 0 the lowest.
func (c *chunk) class() int { return min(max(c.facts.decision.Priority+1, 0), classes-1) }

// halve splits c into two chunks with about half of its spans each. It
// reports false if c has only one span.
func (c *chunk) halve() (first, second chunk, ok bool) {
	if c.spans < 2 {
		return first, second, false
	}
	in := reader{s: c.records}
	for range c.spans / 2 {
		in.section()
	}
	cut := in.at
	first, second = *c, *c
	first.records, second.records = c.records[:cut], c.records[cut:]
	first.spans, second.spans = c.spans/2, c.spans-c.spans/2
	switch {
	case c.root >= cut:
		first.root, second.root = -1, c.root-cut
	case c.root >= 0:
		second.root = -1
	}
	return first, second, true
}

// chunkReader reads the spans of a chunk, the local root first.
type chunkReader struct {
	in   reader
	root int // where its record begins; -1: not here
	n    int // spans read
	v    spanView
}

func (c *chunk) read() chunkReader { return chunkReader{in: reader{s: c.records}, root: c.root} }

// next puts the next span into r.v, and reports whether there is one.
func (r *chunkReader) next() (ok bool) {
	if r.n == 0 && r.root >= 0 {
		at := reader{s: r.in.s[r.root:]}
		r.n++
		return at.span(&r.v)
	}
	if r.in.at == r.root { // it has been first
		r.in.section()
	}
	r.n++
	return r.in.span(&r.v)
}

// weight returns the rate that v carries, if it does. The agent reads it on the
// span it takes for the root: one without a parent, else any whose parent is
// not here.
func (c *chunk) weight(v *spanView) (rate float64, ok bool) {
	return c.rate, c.rate > 0 && c.rate < 1 && (c.root < 0 || v.flags&flagRoot != 0)
}

// share returns what a _sample_rate of the span's own says: a sampler's, by
// which ours must be multiplied.
func share(a attrView) float64 {
	if r := a.float(); (a.kind == kindFloat || a.kind == kindInt) && r > 0 && r <= 1 {
		return r
	}
	return 1
}

// services are those of a chunk's spans, by span id; nil if none has one of
// its own.
type services map[uint64]string

func (c *chunk) services() services {
	if !c.override {
		return nil
	}
	m := make(services, c.spans)
	for r := c.read(); r.next(); {
		m[r.v.id] = r.v.service
	}
	return m
}

// topLevel says whether a span is its service's entry: the local root, and a
// span whose parent within the chunk belongs to another service.
func (m services) topLevel(v *spanView) bool {
	if m == nil || v.flags&flagRoot != 0 {
		return v.flags&flagRoot != 0
	}
	parent, here := m[v.parent]
	return here && parent != v.service || !here && v.service != ""
}
