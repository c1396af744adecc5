package spanqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// flush waits until all batches that arrived before seq are sent or dropped.
type flush struct {
	seq  int64
	done chan struct{}
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run exports until Shutdown. It holds no timer while nothing waits.
func (q *Queue) run() {
	defer close(q.done)
	h := health{logger: q.opts.Logger}
	for {
		b, ok := q.next(h.backoff)
		if !ok {
			return
		}
		err := q.export(b)
		q.settle(b, err, &h)
	}
}

// next waits until there is something to export and time to do it. It reports
// false when the goroutine shall end.
func (q *Queue) next(backoff time.Duration) (b batch, ok bool) {
	began := time.Now()
	for {
		q.mu.Lock()
		q.expire(time.Now())
		if q.dead || q.stopping && len(q.queue) == 0 {
			q.running = false
			q.mu.Unlock()
			return b, false
		}
		if q.stopping && !q.closing { // one attempt at once, whatever the last one said
			q.closing, backoff = true, 0
		}
		wait := q.due(began, backoff)
		if wait <= 0 {
			b = q.take()
			q.inFlight = b
			q.requests++
			if b.tries > 0 {
				q.retries++
			}
			q.mu.Unlock()
			return b, true
		}
		q.mu.Unlock()
		q.sleep(wait)
	}
}

// due returns how long the next export has to wait: forever while there is
// nothing to do.
func (q *Queue) due(began time.Time, backoff time.Duration) time.Duration {
	const forever = 1<<63 - 1
	if len(q.queue) == 0 {
		return forever
	}
	wait := maxDelay - time.Since(q.queue[0].at)
	if q.queued >= maxBatch || len(q.flushes) > 0 || q.stopping {
		wait = 0
	}
	return max(wait, backoff-time.Since(began))
}

func (q *Queue) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-q.wake:
	case <-t.C:
	case <-q.ctx.Done():
	}
}

// expire drops what has waited too long.
func (q *Queue) expire(now time.Time) {
	if !slices.ContainsFunc(q.queue, func(b batch) bool { return now.Sub(b.at) > maxAge }) {
		return
	}
	var kept []batch
	for _, b := range q.queue {
		if now.Sub(b.at) <= maxAge {
			kept = append(kept, b)
			continue
		}
		q.queued -= int64(len(b.spans))
		q.bytes -= b.bytes
		q.dropped.Expired += int64(len(b.spans))
	}
	q.queue = kept
	q.settleFlushes()
}

// export hands b to the exporter. A panic of that is an error.
func (q *Queue) export(b batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(q.ctx, exportLimit)
	defer cancel()
	spans := make([]sdktrace.ReadOnlySpan, len(b.spans))
	for i, s := range b.spans {
		spans[i] = Redacted(s, q.opts.Redactor)
	}
	return q.opts.Exporter.ExportSpans(ctx, spans)
}

// settle counts b by what became of it, or puts it back, behind the others: a
// batch that always fails must not hold them up.
func (q *Queue) settle(b batch, err error, h *health) {
	spans := int64(len(b.spans))
	q.mu.Lock()
	if q.dead { // Shutdown has counted it
		q.mu.Unlock()
		return
	}
	q.inFlight = batch{}
	split := false
	switch {
	case err == nil:
		q.bytes -= b.bytes
		q.sent += spans
	case tooLarge(err) && spans > 1:
		split = true
		first, second := b.halves()
		q.queue = append([]batch{first, second}, q.queue...)
		q.queued += spans
		q.fits()
	case tooLarge(err):
		q.bytes -= b.bytes
		q.dropped.TooLarge += spans
	case permanent(err):
		lost := min(rejected(err, spans), spans)
		q.bytes -= b.bytes
		q.sent += spans - lost
		q.dropped.Rejected += lost
	default:
		b.tries++
		q.queue = append(q.queue, b)
		q.queued += spans
		q.fits()
	}
	waiting, lost := q.queued, q.dropped.Total()-q.dropped.Unsampled
	q.mu.Unlock()
	if !split {
		h.note(q.ctx, err, waiting, lost) // before those who flush go on
	}
	q.mu.Lock()
	q.settleFlushes()
	q.mu.Unlock()
}

// settleFlushes ends the flushes that wait for nothing any more.
func (q *Queue) settleFlushes() {
	if len(q.flushes) == 0 {
		return
	}
	oldest := q.arrived
	if len(q.inFlight.spans) > 0 {
		oldest = q.inFlight.seq
	}
	for i := range q.queue {
		oldest = min(oldest, q.queue[i].seq)
	}
	q.flushes = slices.DeleteFunc(q.flushes, func(f flush) bool {
		if f.seq > oldest {
			return false
		}
		close(f.done)
		return true
	})
}

// ForceFlush exports what has ended, the spans of open traces included, and
// returns when all of it is sent or dropped, or ctx is done. It does not
// shorten the pause after a failure.
func (q *Queue) ForceFlush(ctx context.Context) error {
	q.mu.Lock()
	now := time.Now()
	q.sweep(now, now)
	f := flush{seq: q.arrived, done: make(chan struct{})}
	q.flushes = append(q.flushes, f)
	q.settleFlushes()
	q.signal()
	q.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("spanqueue: flush: %w", ctx.Err())
	}
}

// Shutdown exports what has ended, after a failure without the rest of the
// pause, and shuts the exporter down, until ctx is done. What is left then, and
// what ends later, is counted as dropped.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.shutdown.Do(func() { q.left = q.stop(ctx) })
	return q.left
}

func (q *Queue) stop(ctx context.Context) error {
	q.mu.Lock()
	q.stopping = true
	now := time.Now()
	q.sweep(now, now)
	running := q.running
	q.signal()
	q.mu.Unlock()
	if running {
		select {
		case <-q.done:
		case <-ctx.Done():
		}
	}
	err := q.abandon()
	q.cancel()
	over := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				over <- fmt.Errorf("panic: %v", p)
			}
		}()
		over <- q.opts.Exporter.Shutdown(ctx)
	}()
	select {
	case e := <-over:
		return errors.Join(err, e)
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("spanqueue: shutdown of the exporter: %w", ctx.Err()))
	}
}

// abandon counts what is left as dropped.
func (q *Queue) abandon() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = true
	n := q.queued + int64(len(q.inFlight.spans))
	q.dropped.Shutdown += n
	q.queue, q.queued, q.inFlight, q.bytes = nil, 0, batch{}, 0
	q.settleFlushes()
	if n > 0 {
		return fmt.Errorf("spanqueue: %d spans were not delivered", n)
	}
	return nil
}
