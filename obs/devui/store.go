package devui

import (
	"slices"
	"sync"

	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// A store holds what can be seen. Oldest traces and records give way.
type store struct {
	maxTraces, maxSpans int
	maxBytes            int64

	mu        sync.Mutex // guards what follows
	traces    map[trace.TraceID]*traceEntry
	ring      queue[*traceEntry] // in the order of coming
	newest    *traceEntry        // by change
	logs      queue[logRecord]
	names     names
	resources []*resource.Resource // by number, the first of which is nobody's
	bytes     int64                // of traces
	logBytes  int64
	spans     int
	changes   uint64 // count of them
	coming    uint64 // count of traces
	evicted   int64
	dropped   int64         // spans
	changed   chan struct{} // closed and replaced at each change
	buf       []byte
}

const (
	maxLogs      = 20_000
	maxResources = 256
)

func newStore(o Options) *store {
	return &store{
		maxTraces: o.MaxTraces, maxSpans: o.MaxSpans, maxBytes: o.MaxBytes,
		traces:    make(map[trace.TraceID]*traceEntry),
		resources: []*resource.Resource{resource.Empty()},
		changed:   make(chan struct{}),
	}
}

// queue is a slice that gives way at the front.
type queue[T any] struct {
	items []T
	from  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.from }
func (q *queue[T]) all() []T  { return q.items[q.from:] }
func (q *queue[T]) push(v T)  { q.items = append(q.items, v) }
func (q *queue[T]) front() *T { return &q.items[q.from] }
func (q *queue[T]) pop() {
	var none T
	q.items[q.from] = none
	if q.from++; q.from > 64 && q.from > len(q.items)/2 {
		q.items, q.from = slices.Delete(q.items, 0, q.from), 0
	}
}

// addition is a span on its way into the store.
type addition struct {
	trace trace.TraceID
	span  span
	res   *resource.Resource // nil: a foreign span's, which has none
}

// add takes spans and records.
func (st *store) add(spans []addition, logs []logRecord) {
	if len(spans) == 0 && len(logs) == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := range logs {
		st.addLog(&logs[i])
	}
	for i := range spans {
		st.addSpan(&spans[i])
	}
	st.evict()
	close(st.changed)
	st.changed = make(chan struct{})
}

func (st *store) addSpan(a *addition) {
	if !a.trace.IsValid() || !a.span.id.IsValid() {
		st.dropped++
		return
	}
	t := st.entry(a.trace)
	st.touch(t)
	if len(t.spans) >= st.maxSpans {
		t.dropped++
		st.dropped++
		return
	}
	a.span.process = st.process(a.res)
	st.buf = st.names.encode(st.buf[:0], &a.span)
	before := t.bytes
	for _, text := range []*string{&a.span.service, &a.span.name, &a.span.resource} {
		*text = st.names.keep(*text)
	}
	t.note(&a.span)
	t.top.method, t.top.route = st.names.keep(t.top.method), st.names.keep(t.top.route)
	blob := string(st.buf)
	t.spans = append(t.spans, blob)
	st.spans++
	t.bytes += blobCost(blob)
	st.bytes += t.bytes - before
}

func (st *store) addLog(r *logRecord) {
	st.changes++
	r.seq = st.changes
	st.logs.push(*r)
	st.logBytes += r.cost()
	if !r.trace.IsValid() {
		return
	}
	t := st.entry(r.trace)
	st.touch(t)
	t.logs++
	if !t.hasRecords || r.level > t.level {
		t.level, t.hasRecords = r.level, true
	}
}

// entry returns the trace's, which may be new.
func (st *store) entry(id trace.TraceID) *traceEntry {
	if t := st.traces[id]; t != nil {
		return t
	}
	st.coming++
	t := &traceEntry{id: id, number: st.coming}
	st.traces[id] = t
	st.ring.push(t)
	st.bytes += t.cost()
	return t
}

// touch makes t the one that changed last.
func (st *store) touch(t *traceEntry) {
	st.changes++
	t.changed = st.changes
	if st.newest == t {
		return
	}
	st.unlink(t)
	t.older = st.newest
	if st.newest != nil {
		st.newest.newer = t
	}
	st.newest = t
}

func (st *store) unlink(t *traceEntry) {
	if t.newer != nil {
		t.newer.older = t.older
	} else if st.newest == t {
		st.newest = t.older
	}
	if t.older != nil {
		t.older.newer = t.newer
	}
	t.newer, t.older = nil, nil
}

// process returns the number of a resource.
func (st *store) process(res *resource.Resource) int {
	if res == nil {
		return 0
	}
	i := slices.Index(st.resources, res)
	if i < 0 && len(st.resources) < maxResources {
		i = len(st.resources)
		st.resources = append(st.resources, res)
	}
	return max(i, 0)
}

// evict lets go of what is beyond the bounds. Records may take a quarter of
// the bytes.
func (st *store) evict() {
	for st.logs.len() > 0 && (st.logs.len() > maxLogs || st.logBytes > st.maxBytes/4) {
		st.logBytes -= st.logs.front().cost()
		st.logs.pop()
	}
	for st.ring.len() > 0 && (st.ring.len() > st.maxTraces || st.total() > st.maxBytes) {
		t := *st.ring.front()
		st.ring.pop()
		st.unlink(t)
		delete(st.traces, t.id)
		st.bytes -= t.cost()
		st.spans -= len(t.spans)
		st.evicted++
	}
}

func (st *store) total() int64 { return st.bytes + st.logBytes + st.names.bytes }

func (st *store) stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return Stats{Traces: st.ring.len(), Spans: st.spans, Logs: st.logs.len(), Bytes: st.total(), Evicted: st.evicted, DroppedSpans: st.dropped}
}

// wait returns a channel that is closed at the next change.
func (st *store) wait() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.changed
}

// snapshot is a trace at one moment, to be read without the store's lock:
// blobs and names never change.
type snapshot struct {
	entry     traceEntry
	names     []string
	resources []*resource.Resource
	logs      []logRecord
}

// trace returns what is held of a trace.
func (st *store) trace(id trace.TraceID) (snapshot, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	t := st.traces[id]
	if t == nil {
		return snapshot{}, false
	}
	s := snapshot{entry: *t, names: st.names.list, resources: st.resources}
	s.entry.services = slices.Clone(t.services)
	for _, r := range st.logs.all() {
		if r.trace == id {
			s.logs = append(s.logs, r)
		}
	}
	return s, true
}
