package ddagent

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Exporter sends chunks of spans to an agent. One goroutine does so, started
// by the first chunk and ended by Shutdown; with nothing to send it holds no
// timer and makes no request. All methods are safe for concurrent use.
type Exporter struct {
	opts   Options
	keys   keyTable
	stats  counters
	used   atomic.Int64 // bytes of records in groups, queue and flight
	client *client
	rates  rateTable

	ctx    context.Context // of every request; marked as telemetry's own
	cancel context.CancelFunc
	wake   chan struct{} // has room for one
	done   chan struct{} // closed when the goroutine has ended

	draining atomic.Bool // Shutdown has begun: spans that end are dropped
	sweeping atomic.Bool // a sweep of the groups is planned

	mu         sync.Mutex // guards what follows
	processors []*Processor
	queue      queue
	thinner    thinner
	inFlight   []chunk
	waiters    []waiter
	next       uint64        // seq of the next chunk
	sweepIn    time.Duration // a sweep is wanted, this much from now
	running    bool
	stopping   bool // the goroutine ends once the queue is empty
	dead       bool // chunks that come are dropped

	unobserve func() // ends the metrics

	over chan struct{} // closed when the first Shutdown has returned
	left error         // what it returned
}

// waiter waits until all chunks before seq have been sent or dropped.
type waiter struct {
	seq  uint64
	done chan struct{}
}

// NewExporter returns an Exporter. It opens no connection and starts nothing.
// A URL that cannot be used shows in the first report and in [Stats].
func NewExporter(opts Options) *Exporter {
	opts = opts.withDefaults()
	e := &Exporter{
		opts: opts,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
		over: make(chan struct{}),
	}
	e.keys.redactor = opts.Redactor
	e.thinner.limit = opts.UnsampledPerSecond
	e.client = newClient(opts, process{pid: os.Getpid(), runtimeID: newUUID(), container: thisContainer()})
	e.ctx, e.cancel = context.WithCancel(obsctx.Suppress(context.Background()))
	e.unobserve = func() {}
	if opts.MeterProvider != nil {
		if r, err := e.observe(opts.MeterProvider); err != nil {
			opts.Logger.Warn("spans are exported without metrics", "error", err)
		} else {
			e.unobserve = func() { r.Unregister() } //nolint:errcheck // there is nobody to tell
		}
	}
	return e
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (e *Exporter) register(p *Processor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.processors = append(e.processors, p)
}

// admit says whether there is room for a record of n bytes in a group, and
// counts the span as waiting there or as dropped. The caller holds the lock of
// a shard, which is how Shutdown knows that no span slips in behind its sweep.
func (e *Exporter) admit(n int) bool {
	switch {
	case e.draining.Load():
		e.stats.shutdown.Add(1)
	case e.used.Add(int64(n)) > e.opts.QueueBytes && !e.makeRoom():
		e.used.Add(-int64(n))
		e.stats.queueFull.Add(1)
	default:
		e.stats.pending.Add(1)
		return true
	}
	return false
}

// makeRoom drops the oldest chunks of the lowest priorities until what is left
// fits.
func (e *Exporter) makeRoom() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.evict()
}

func (e *Exporter) evict() bool {
	for e.used.Load() > e.opts.QueueBytes {
		c, ok := e.queue.evict()
		if !ok {
			return false
		}
		e.used.Add(-c.cost())
		e.stats.queueFull.Add(int64(c.spans))
		e.notify()
	}
	return true
}

// enqueue takes over a chunk whose spans have been waiting in a group.
func (e *Exporter) enqueue(c chunk, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.pending.Add(-int64(c.spans))
	e.used.Add(-int64(len(c.records)))
	if e.dead {
		e.stats.shutdown.Add(int64(c.spans))
		return
	}
	if c.facts.decision.Priority <= 0 {
		ok := true
		if c.rate, ok = e.thinner.pass(&c, now); !ok {
			e.stats.unsampled.Add(int64(c.spans))
			return
		}
	}
	c.seq, c.at = e.next, now
	e.next++
	before := e.queue.size
	e.queue.push(c)
	e.used.Add(c.cost())
	e.evict()
	e.start()
	if before == 0 || before < maxPayload && e.queue.size >= maxPayload {
		e.signal()
	}
}

// start starts the goroutine. The caller holds the lock.
func (e *Exporter) start() {
	if !e.running && !e.dead {
		e.running = true
		go e.run()
	}
}

func (e *Exporter) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// sweepLater sees to it that the groups are looked through after d.
func (e *Exporter) sweepLater(d time.Duration) {
	if e.sweeping.Load() || !e.sweeping.CompareAndSwap(false, true) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sweepIn = d
	e.start()
	e.signal()
}

// Flush sends what has ended, the finished spans of open traces included, and
// returns when all of it has been sent or dropped, or ctx is done; without a
// deadline it gives up after 8 s. It does not hurry an agent that fails: the
// pause between attempts stays.
func (e *Exporter) Flush(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	e.sweep(time.Now().Add(time.Hour))
	e.mu.Lock()
	w := waiter{seq: e.next, done: make(chan struct{})}
	e.waiters = append(e.waiters, w)
	e.notify()
	e.mu.Unlock()
	e.signal()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.forget(w)
	e.mu.Unlock()
	s := e.Stats()
	return fmt.Errorf("ddagent: flush: %d spans still wait for %s: %w", s.Queued+s.InFlight, e.client.name, ctx.Err())
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, shutdownTimeout)
}

// sweep queues the finished spans of all groups that have waited since before
// the given time, and reports whether some wait on.
func (e *Exporter) sweep(before time.Time) (more bool) {
	e.mu.Lock()
	processors := e.processors
	e.mu.Unlock()
	for _, p := range processors {
		more = p.sweep(before) || more
	}
	return more
}

// sweepAged is sweep for what is older than each processor's own limit.
func (e *Exporter) sweepAged(now time.Time) (more bool) {
	e.mu.Lock()
	processors := e.processors
	e.mu.Unlock()
	for _, p := range processors {
		more = p.sweep(now.Add(-p.opts.PartialFlushAge)) || more
	}
	return more
}

// notify releases the waiters whose chunks are all settled. The caller holds
// the lock.
func (e *Exporter) notify() {
	if len(e.waiters) == 0 {
		return
	}
	oldest := e.next
	if c := e.queue.oldest(); c != nil {
		oldest = c.seq
	}
	for i := range e.inFlight {
		oldest = min(oldest, e.inFlight[i].seq)
	}
	kept := e.waiters[:0]
	for _, w := range e.waiters {
		if oldest >= w.seq {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	e.waiters = kept
}

func (e *Exporter) forget(w waiter) {
	for i := range e.waiters {
		if e.waiters[i].done == w.done {
			e.waiters = append(e.waiters[:i], e.waiters[i+1:]...)
			return
		}
	}
}

// Shutdown sends what has ended, stops, and returns. At ctx's deadline, or
// after 8 s if it has none, it breaks off the request under way, counts what
// is left as dropped and returns an error that says how much. Spans that end
// once it has begun are counted as dropped too. Further calls wait for the
// first and return what it returned.
func (e *Exporter) Shutdown(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if e.draining.CompareAndSwap(false, true) {
		e.left = e.drain(ctx)
		close(e.over)
		return e.left
	}
	select {
	case <-e.over:
		return e.left
	case <-ctx.Done():
	}
	select {
	case <-e.over: // both were ready
		return e.left
	default:
		return fmt.Errorf("ddagent: shutdown: the first call has not ended: %w", ctx.Err())
	}
}

// unwinding is how long Shutdown waits for a request it has broken off.
const unwinding = 50 * time.Millisecond

func (e *Exporter) drain(ctx context.Context) error {
	e.sweep(time.Now().Add(time.Hour))
	e.mu.Lock()
	e.stopping = true
	if !e.running {
		e.dead = true
		close(e.done)
	}
	e.mu.Unlock()
	e.signal()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	e.cancel()
	grace := time.NewTimer(unwinding)
	defer grace.Stop()
	select {
	case <-e.done:
	case <-grace.C: // a RoundTripper that does not mind its context
	}
	lost := e.abandon()
	e.unobserve()
	e.client.close()
	if lost > 0 {
		return fmt.Errorf("ddagent: shutdown: %d spans not delivered to %s: %w", lost, e.client.name, ctx.Err())
	}
	return nil
}

// abandon counts all that is left as dropped, and returns how many spans that
// is.
func (e *Exporter) abandon() (lost int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = true
	for c, ok := e.queue.evict(); ok; c, ok = e.queue.evict() {
		lost += int64(c.spans)
		e.used.Add(-c.cost())
	}
	for i := range e.inFlight {
		lost += int64(e.inFlight[i].spans)
		e.used.Add(-e.inFlight[i].cost())
	}
	e.inFlight = nil
	e.stats.inFlight.Store(0)
	e.stats.shutdown.Add(lost)
	e.notify()
	return lost
}
