package spanqueue

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// group is the spans of one local root that are open, or ended and not yet
// queued.
type group struct {
	trace   trace.TraceID
	state   *obsctx.Trace // nil if the context had none
	res     *resource.Resource
	sampled bool // the trace flag, which decides where state does not
	next    *group

	open  int
	spans []sdktrace.ReadOnlySpan
	bytes int64
	first time.Time // when the first of spans ended
}

// OnStart notes an open span and the group it belongs to. Beyond as many open
// spans as would fill the queue's bound, which only a program has that does
// not end its spans, a span is a group of its own once it ends.
func (q *Queue) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	q.started.Add(1)
	sc, parent := s.SpanContext(), s.Parent()
	key := spanKey{sc.TraceID(), sc.SpanID()}
	root := !parent.IsValid() || parent.IsRemote()
	state := obsctx.TraceFrom(ctx)
	if state != nil && (state.ID != key.trace || state.Remote) {
		state = nil // of another trace, or no local root's
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.open[key]; known || len(q.open) >= q.maxOpen {
		q.untracked.Add(1)
		return
	}
	var g *group
	if !root {
		g = q.find(spanKey{key.trace, parent.SpanID()}, state, s.Resource())
	}
	if g == nil {
		g = &group{trace: key.trace, state: state, res: s.Resource(), sampled: sc.IsSampled()}
		if last := q.groups[key.trace]; state == nil && last != nil && !root {
			g.state, g.sampled = last.state, last.sampled // the context was lost
		}
		g.next = q.groups[key.trace]
		q.groups[key.trace] = g
	}
	q.open[key] = g
	g.open++
}

// find returns the group of a span that is no local root: its parent's while
// that is open, else the newest with the same state, or of any if that is
// unknown.
func (q *Queue) find(parent spanKey, state *obsctx.Trace, res *resource.Resource) *group {
	if g := q.open[parent]; g != nil && g.res == res {
		return g
	}
	for g := q.groups[parent.trace]; g != nil; g = g.next {
		if g.res == res && (state == nil || g.state == state) {
			return g
		}
	}
	return nil
}

func (q *Queue) remove(g *group) {
	at := q.groups[g.trace]
	if at == g {
		if g.next == nil {
			delete(q.groups, g.trace)
		} else {
			q.groups[g.trace] = g.next
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

// OnEnd adds s to its group, and queues the group if that completes it.
func (q *Queue) OnEnd(s sdktrace.ReadOnlySpan) {
	sc := s.SpanContext()
	key := spanKey{sc.TraceID(), sc.SpanID()}
	size := sizeOf(s)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended.Add(1)
	g := q.open[key]
	if g != nil {
		delete(q.open, key)
		g.open--
	} else { // not noted, or started before the processor was there
		if q.untracked.Load() > 0 {
			q.untracked.Add(-1)
		}
		g = &group{trace: key.trace, res: s.Resource(), sampled: sc.IsSampled()}
	}
	q.admit(g, s, size, now)
	if g.open == 0 {
		q.remove(g)
	}
	switch {
	case len(g.spans) == 0:
	case g.open == 0 || len(g.spans) >= maxBatch || now.Sub(g.first) >= partialAge:
		q.release(g, now)
	case !q.sweeping && !q.stopping:
		q.sweeping = true
		time.AfterFunc(partialAge, q.sweepOld)
	}
}

// admit puts s into its group if there is room and time for it.
func (q *Queue) admit(g *group, s sdktrace.ReadOnlySpan, size int64, now time.Time) {
	if q.stopping {
		q.dropped.Shutdown++
		return
	}
	if size > q.opts.QueueBytes { // the others need not make room in vain
		q.dropped.TooLarge++
		return
	}
	if q.bytes += size; !q.fits() {
		q.bytes -= size
		q.dropped.QueueFull++
		return
	}
	if len(g.spans) == 0 {
		g.first = now
	}
	g.spans = append(g.spans, s)
	g.bytes += size
	q.waiting++
}

// release takes the ended spans out of g: into the queue if the trace is kept.
func (q *Queue) release(g *group, now time.Time) {
	b := batch{spans: g.spans, bytes: g.bytes, at: now}
	g.spans, g.bytes = nil, 0
	q.waiting -= int64(len(b.spans))
	if !g.kept() {
		q.bytes -= b.bytes
		q.dropped.Unsampled += int64(len(b.spans))
		return
	}
	q.push(b)
}

func (g *group) kept() bool {
	if g.state != nil {
		if d, ok := g.state.Settle(); ok {
			return d.Priority > 0
		}
	}
	return g.sampled
}

// sweepOld queues the ended spans of open traces that have waited long.
func (q *Queue) sweepOld() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.sweeping = q.sweep(now.Add(-partialAge), now) && !q.stopping; q.sweeping {
		time.AfterFunc(partialAge, q.sweepOld)
	}
}

// sweep queues what ended in a group not after limit. It reports whether some
// wait on.
func (q *Queue) sweep(limit, now time.Time) (more bool) {
	for _, g := range q.groups {
		for ; g != nil; g = g.next {
			switch {
			case len(g.spans) == 0:
			case g.first.After(limit):
				more = true
			default:
				q.release(g, now)
			}
		}
	}
	return more
}
