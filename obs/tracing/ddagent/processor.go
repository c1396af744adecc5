package ddagent

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Processor groups ended spans by the local root they belong to and hands each
// group to its [Exporter] as a chunk: when the group's last open span ends, or
// part of it when it has become large or old. Spans that end or start after
// that form a later chunk with the same priority. It implements
// sdktrace.SpanProcessor.
type Processor struct {
	exporter *Exporter
	opts     ProcessorOptions
	maxOpen  int64
	shards   [shards]shard
	encoders sync.Pool // of *encoder
	groups   sync.Pool // of *group; none is reachable from a context

	latest     atomic.Pointer[identity] // the one last used; mostly the only one
	identityMu sync.Mutex               // guards identities
	identities map[*resource.Resource]*identity
}

var _ sdktrace.SpanProcessor = (*Processor)(nil)

// shards is the number of locks the traces are spread over.
const shards = 64

// shard holds the open spans of some traces, and their groups.
type shard struct {
	mu     sync.Mutex // guards the maps and the groups in them
	open   map[spanKey]*group
	groups map[trace.TraceID]*group // the newest of a trace; group.next has the others
}

type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

// NewProcessor returns a Processor that feeds e. Several may feed one.
func NewProcessor(e *Exporter, opts ProcessorOptions) *Processor {
	p := &Processor{
		exporter: e, opts: opts.withDefaults(),
		maxOpen:    e.opts.QueueBytes / openCost,
		identities: make(map[*resource.Resource]*identity),
	}
	for i := range p.shards {
		p.shards[i].open = make(map[spanKey]*group)
		p.shards[i].groups = make(map[trace.TraceID]*group)
	}
	e.register(p)
	return p
}

func (p *Processor) shard(id trace.TraceID) *shard {
	return &p.shards[binary.BigEndian.Uint64(id[8:])%shards]
}

// OnStart notes an open span and the group it belongs to.
func (p *Processor) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	sc, parent := s.SpanContext(), s.Parent()
	key := spanKey{sc.TraceID(), sc.SpanID()}
	root := !parent.IsValid() || parent.IsRemote()
	state := obsctx.TraceFrom(ctx)
	if state != nil && (state.ID != key.trace || state.Remote) {
		state = nil // of another trace, or no local root's
	}
	started := p.exporter.stats.started.Add(1)

	sh := p.shard(key.trace)
	if p.exporter.stats.open.Load() >= p.maxOpen {
		p.forget(sh)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, known := sh.open[key]; known {
		return // an id generator that repeats itself; OnEnd copes
	}
	var g *group
	if !root {
		g = sh.find(spanKey{key.trace, parent.SpanID()}, state, s.Resource())
	}
	if g == nil {
		g = p.newGroup(key.trace, state, s.Resource())
		g.sampled = sc.IsSampled()
		if last := sh.groups[key.trace]; state == nil && last != nil && !root {
			g.state, g.sampled = last.state, last.sampled // the context was lost
		}
		sh.add(g)
	}
	sh.open[key] = g
	g.open++
	g.touched = started
	p.exporter.stats.open.Add(1)
}

// find returns the group of a span that is no local root: its parent's while
// that is open, else the one with the same state, or with none known the
// newest.
func (sh *shard) find(parent spanKey, state *obsctx.Trace, res *resource.Resource) *group {
	if g := sh.open[parent]; g != nil && g.res == res {
		return g
	}
	for g := sh.groups[parent.trace]; g != nil; g = g.next {
		if g.res == res && (state == nil || g.state == state) {
			return g
		}
	}
	return nil
}

func (sh *shard) add(g *group) {
	g.next = sh.groups[g.trace]
	sh.groups[g.trace] = g
}

func (sh *shard) remove(g *group) {
	at := sh.groups[g.trace]
	if at == g {
		if g.next == nil {
			delete(sh.groups, g.trace)
		} else {
			sh.groups[g.trace] = g.next
		}
		return
	}
	for ; at != nil; at = at.next {
		if at.next == g {
			at.next = g.next
			return
		}
	}
}

// OnEnd turns s into a record and, if that completes a group, queues its
// chunk. It waits for no one but other spans of the same trace.
func (p *Processor) OnEnd(s sdktrace.ReadOnlySpan) {
	p.exporter.stats.ended.Add(1)
	now := time.Now()
	id := p.identity(s.Resource())
	enc := p.encoder()
	enc.encode(s, id, now)
	if c, ok := p.finish(s, enc, now); ok {
		p.exporter.enqueue(c, now)
	}
	if cap(enc.buf) <= maxPooled && cap(enc.infos) <= maxUnique {
		p.encoders.Put(enc)
	}
}

// finish adds the record of s, which enc has, to its group. It returns the
// group's chunk when that is due.
func (p *Processor) finish(s sdktrace.ReadOnlySpan, enc *encoder, now time.Time) (c chunk, due bool) {
	sc := s.SpanContext()
	key := spanKey{sc.TraceID(), sc.SpanID()}
	sh := p.shard(key.trace)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	g := sh.open[key]
	if g != nil {
		delete(sh.open, key)
		g.open--
		p.exporter.stats.open.Add(-1)
	} else { // started before the processor was there, forgotten, or its id was not unique
		p.remembered()
		g = p.newGroup(key.trace, nil, s.Resource())
		g.sampled = sc.IsSampled()
		sh.add(g)
	}
	g.decide(enc.verdict)
	if p.exporter.admit(len(enc.buf)) {
		g.append(enc, now)
	}
	last := g.open == 0
	if last {
		sh.remove(g)
	}
	if g.spans > 0 && (last || g.spans >= p.opts.PartialFlushSpans ||
		len(g.buf) >= maxPayload/2 || now.Sub(g.first) >= p.opts.PartialFlushAge) {
		c, due = g.cut(p.identity(g.res)), true
	}
	if last {
		p.recycle(g)
	} else if g.spans == 1 {
		p.exporter.sweepLater(p.opts.PartialFlushAge)
	}
	return c, due
}

// sweep queues the finished spans of open traces that have waited since before
// the given time. It reports whether some wait on.
func (p *Processor) sweep(before time.Time) (more bool) {
	for i := range p.shards {
		more = p.sweepShard(&p.shards[i], before) || more
	}
	return more
}

func (p *Processor) sweepShard(sh *shard, before time.Time) (more bool) {
	var due []chunk
	sh.mu.Lock()
	for _, g := range sh.groups {
		for ; g != nil; g = g.next {
			switch {
			case g.spans == 0:
			case g.first.Before(before):
				due = append(due, g.cut(p.identity(g.res)))
			default:
				more = true
			}
		}
	}
	sh.mu.Unlock()
	for _, c := range due {
		p.exporter.enqueue(c, time.Now())
	}
	return more
}

// ForceFlush sends what has ended, as [Exporter.Flush] does.
func (p *Processor) ForceFlush(ctx context.Context) error { return p.exporter.Flush(ctx) }

// Shutdown shuts the exporter down, as [Exporter.Shutdown] does. Spans that
// end afterwards are counted as dropped.
func (p *Processor) Shutdown(ctx context.Context) error { return p.exporter.Shutdown(ctx) }

func (p *Processor) identity(res *resource.Resource) *identity {
	if id := p.latest.Load(); id != nil && id.source == res {
		return id
	}
	p.identityMu.Lock()
	defer p.identityMu.Unlock()
	id := p.identities[res]
	if id == nil {
		id = newIdentity(p.exporter.opts, &p.exporter.keys, res)
		p.identities[res] = id
	}
	p.latest.Store(id)
	return id
}

func (p *Processor) encoder() *encoder {
	if enc, ok := p.encoders.Get().(*encoder); ok {
		return enc
	}
	return &encoder{keys: &p.exporter.keys, hook: p.opts.Map}
}
