package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/kumihimo/kumihimo/internal/fault"
)

// run sends until Shutdown. It holds no timer while nothing waits.
func (q *queue) run() {
	defer close(q.done)
	var backoff time.Duration
	for {
		b, ok := q.next(backoff)
		if !ok {
			return
		}
		backoff = q.settle(b, q.send(b), backoff)
	}
}

// next waits until there is something to send and time to do it. It reports
// false when the goroutine shall end.
func (q *queue) next(backoff time.Duration) (b *batch, ok bool) {
	began := time.Now()
	for {
		q.mu.Lock()
		q.expire(time.Now())
		if q.dead || q.stopping && len(q.waiting) == 0 {
			q.mu.Unlock()
			return nil, false
		}
		if q.stopping && !q.closing { // one attempt at once, whatever the last one said
			q.closing, backoff = true, 0
		}
		wait := q.due(began, backoff)
		if wait <= 0 {
			b = q.pop()
			q.inFlight = b
			q.stats.Requests++
			if b.tries > 0 {
				q.stats.Retries++
			}
			q.mu.Unlock()
			return b, true
		}
		q.mu.Unlock()
		q.sleep(wait)
	}
}

// due returns how long the next request has to wait: forever while there is
// nothing to do.
func (q *queue) due(began time.Time, backoff time.Duration) time.Duration {
	const forever = 1<<63 - 1
	if len(q.waiting) == 0 {
		return forever
	}
	wait := maxDelay - time.Since(q.waiting[0].at)
	if q.waiting[0] != q.open || len(q.flushes) > 0 || q.stopping {
		wait = 0
	}
	return max(wait, backoff-time.Since(began))
}

func (q *queue) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-q.wake:
	case <-t.C:
	case <-q.ctx.Done():
	}
}

// expire drops what has waited too long.
func (q *queue) expire(now time.Time) {
	q.waiting = slices.DeleteFunc(q.waiting, func(b *batch) bool {
		if now.Sub(b.at) <= maxAge {
			return false
		}
		if b == q.open {
			q.open = nil
		}
		q.stats.QueueBytes -= b.bytes
		q.stats.Dropped.Expired += int64(len(b.records))
		return true
	})
	q.settleFlushes()
}

// send hands b to the exporter. A panic of that, or of the program's client
// below it, is an error.
func (q *queue) send(b *batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("otlp: panic: %s", fault.Text(p))
		}
	}()
	ctx, cancel := context.WithTimeout(q.ctx, exportLimit)
	defer cancel()
	return q.exporter.Export(ctx, b.records)
}

// settle counts b by what became of it, or puts it back, behind the others: a
// batch that always fails must not hold them up. It returns how long to wait.
func (q *queue) settle(b *batch, err error, backoff time.Duration) time.Duration {
	f := verdict(err)
	n := int64(len(b.records))
	q.mu.Lock()
	if q.dead { // Shutdown has counted it
		q.mu.Unlock()
		return 0
	}
	q.inFlight = nil
	again, split := false, false
	switch {
	case err == nil:
		q.stats.Sent += n
	case f.tooLarge && n > 1:
		q.waiting = append(b.halves(), q.waiting...)
		again, split = true, true
	case f.tooLarge:
		q.stats.Dropped.TooLarge += n
	case f.permanent:
		lost := n
		if f.rejected > 0 {
			lost = min(n, int64(f.rejected))
		}
		q.stats.Sent += n - lost
		q.stats.Dropped.Rejected += lost
	default:
		b.tries++
		q.waiting = append(q.waiting, b)
		again = true
	}
	if again {
		q.fits()
	} else {
		q.stats.QueueBytes -= b.bytes
	}
	var report *report
	var lost int64
	if !split {
		report, lost = q.health.note(f, time.Now(), q.stats.Dropped.Total())
	}
	logger := q.health.logger
	q.mu.Unlock()
	// Outside: the program's handlers are below it, and this queue.
	report.to(context.WithValue(q.ctx, reportKey{}, true), logger, lost)
	q.mu.Lock()
	q.settleFlushes()
	q.mu.Unlock()
	return pause(f, backoff)
}

// halves makes two batches of b, to be tried again, each by itself.
func (b *batch) halves() []*batch {
	half := len(b.records) / 2
	first := &batch{records: b.records[:half:half], at: b.at, seq: b.seq, tries: b.tries + 1}
	for i := range first.records {
		first.bytes += sizeOf(&first.records[i])
	}
	second := &batch{records: b.records[half:], bytes: b.bytes - first.bytes, at: b.at, seq: b.seq, tries: b.tries + 1}
	return []*batch{first, second}
}

// final reports whether what was sent, alone, is of no use ever.
func (f *failure) final() bool { return f.permanent || f.tooLarge }

// verdict returns err as a failure, nil if it is nil.
func verdict(err error) *failure {
	var f *failure
	if err != nil && !errors.As(err, &f) {
		f = &failure{text: err.Error(), err: err} // no answer in time, or a panic
	}
	return f
}

// pause is how long the queue leaves the receiver alone after f.
func pause(f *failure, before time.Duration) time.Duration {
	if f == nil || f.final() { // it answers
		return 0
	}
	backoff := min(max(2*before, minBackoff), maxBackoff)
	backoff -= rand.N(backoff / 4)
	return max(backoff, min(f.retryAfter, maxAge/2))
}

// health tells when the receiver begins to fail, and when it works again.
type health struct {
	logger  *slog.Logger // nil: OpenTelemetry's error handler
	failing bool
	since   time.Time
	lost    int64     // when that began
	said    time.Time // of the last failure
}

// repeatEvery is how often at most a receiver is reported that rejects some
// records and takes others.
const repeatEvery = time.Minute

// reportKey marks the context of a report, which a queue that is stopping takes
// still: its goroutine has made it, and is there to send it.
type reportKey struct{}

// report is what there is to say; nil if nothing.
type report struct {
	err   *failure // nil: it works again
	after time.Duration
}

// note notes the end of a request. lost is the number of records lost so far; it
// returns those of them lost since the receiver began to fail.
func (h *health) note(f *failure, now time.Time, lost int64) (r *report, since int64) {
	switch {
	case f == nil && h.failing:
		h.failing = false
		return &report{after: now.Sub(h.since)}, lost - h.lost
	case f == nil, h.failing, f.final() && !h.said.IsZero() && now.Sub(h.said) < repeatEvery:
		return nil, 0
	}
	h.failing, h.since, h.lost, h.said = true, now, lost, now
	return &report{err: f}, 0
}

func (r *report) to(ctx context.Context, logger *slog.Logger, lost int64) {
	switch {
	case r == nil:
	case logger == nil && r.err != nil:
		otel.Handle(r.err)
	case logger == nil:
	case r.err == nil:
		logger.LogAttrs(ctx, slog.LevelInfo, "log exporter takes records again", slog.Duration("after", r.after), slog.Int64("records.lost", lost))
	case r.err.final():
		logger.LogAttrs(ctx, slog.LevelWarn, "log exporter rejects records; they are lost", slog.Any("error", r.err))
	default:
		logger.LogAttrs(ctx, slog.LevelWarn, "log exporter does not take records; they wait", slog.Any("error", r.err))
	}
}

func (q *queue) reportTo(l *slog.Logger) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.health.logger = l
}
