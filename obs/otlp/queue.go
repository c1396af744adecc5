package otlp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

const (
	defaultQueueBytes = 16 << 20

	maxRecords    = 512         // in one request, as the SDK's batch processor has it
	maxBatchBytes = 4 << 20     // in one request; the Collector takes 20 MiB
	maxDelay      = time.Second // from a record to its request, while the receiver works
	maxAge        = 10 * time.Minute
	exportLimit   = 30 * time.Second // of one request
	minBackoff    = time.Second
	maxBackoff    = 30 * time.Second
	unwinding     = 40 * time.Millisecond // that Shutdown waits for a request it has broken off

	recordCost = 600 // bytes of a record without its parts
)

// LogStats is the account of a LoggerProvider's records. Each that was emitted
// is sent, dropped with a reason, queued or in flight:
// Emitted = Sent + Dropped.Total() + Queued + InFlight.
type LogStats struct {
	Emitted, Sent, Queued, InFlight int64
	Dropped                         LogsDropped

	// QueueBytes is the memory of what waits and is in flight, about.
	QueueBytes int64

	// Requests are those that were made; Retries are those of them that were
	// not the first for their records.
	Requests, Retries int64
}

// LogsDropped counts lost records by reason.
type LogsDropped struct {
	QueueFull int64 // the oldest made room for newer ones
	Rejected  int64 // the receiver will never take them
	TooLarge  int64 // alone larger than the queue, or than what the receiver takes
	Expired   int64 // they waited ten minutes
	Shutdown  int64 // they were left at the end, or came after it
}

// Total is the number of lost records.
func (d LogsDropped) Total() int64 {
	return d.QueueFull + d.Rejected + d.TooLarge + d.Expired + d.Shutdown
}

// batch is records that are sent together.
type batch struct {
	records []sdklog.Record
	bytes   int64
	at      time.Time // of the first
	seq     int64     // order of arrival
	tries   int
}

// queue is an sdklog.Processor between the program and an exporter: bounded,
// patient and counted.
type queue struct {
	exporter sdklog.Exporter
	maxBytes int64
	ctx      context.Context // of every request; marked as telemetry's own
	cancel   context.CancelFunc
	wake     chan struct{} // has room for one
	done     chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex // guards what follows
	waiting  []*batch   // in the order of sending
	open     *batch     // the one of them that takes more; nil if none does
	inFlight *batch
	arrived  int64 // batches, ever
	flushes  []flush
	stats    LogStats // but for Queued and InFlight
	health   health
	running  bool
	stopping bool // records that come are dropped
	closing  bool // the goroutine knows it
	dead     bool // what a request still under way does no longer counts

	shutdown sync.Once
	left     error
}

var _ sdklog.Processor = (*queue)(nil)

func newQueue(e sdklog.Exporter, maxBytes int64) *queue {
	if maxBytes <= 0 {
		maxBytes = defaultQueueBytes
	}
	q := &queue{exporter: e, maxBytes: maxBytes, wake: make(chan struct{}, 1), done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(obsctx.Suppress(context.Background()))
	return q
}

func (q *queue) account() LogStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	for _, b := range q.waiting {
		s.Queued += int64(len(b.records))
	}
	if q.inFlight != nil {
		s.InFlight = int64(len(q.inFlight.records))
	}
	return s
}

// sizeOf estimates the memory r holds.
func sizeOf(r *sdklog.Record) int64 {
	n := recordCost + len(r.SeverityText()) + len(r.EventName()) + sizeOfValue(r.Body())
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		n += 64 + len(kv.Key) + sizeOfValue(kv.Value)
		return true
	})
	return int64(n)
}

func sizeOfValue(v attribute.Value) (n int) {
	switch v.Type() {
	case attribute.STRING:
		return len(v.AsString())
	case attribute.BYTESLICE:
		return len(v.AsByteSlice())
	case attribute.SLICE:
		for _, e := range v.AsSlice() {
			n += 48 + sizeOfValue(e)
		}
	case attribute.MAP:
		for _, kv := range v.AsMap() {
			n += 64 + len(kv.Key) + sizeOfValue(kv.Value)
		}
	case attribute.STRINGSLICE:
		for _, s := range v.AsStringSlice() {
			n += 16 + len(s)
		}
	}
	return n
}

// Enabled implements sdklog.Processor: which records there are is the filter's
// affair.
func (q *queue) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit queues a copy of r.
func (q *queue) OnEmit(ctx context.Context, r *sdklog.Record) error {
	record, now := r.Clone(), time.Now()
	size := sizeOf(&record)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Emitted++
	switch {
	case q.dead, q.stopping && ctx.Value(reportKey{}) == nil:
		q.stats.Dropped.Shutdown++
		return nil
	case size > q.maxBytes: // the others need not make room in vain
		q.stats.Dropped.TooLarge++
		return nil
	}
	if q.stats.QueueBytes += size; !q.fits() {
		q.stats.QueueBytes -= size
		q.stats.Dropped.QueueFull++
		return nil
	}
	if b := q.open; b == nil || b.bytes+size > maxBatchBytes {
		q.open = &batch{at: now, seq: q.arrived}
		q.arrived++
		q.waiting = append(q.waiting, q.open)
		q.signal()
	}
	q.open.records = append(q.open.records, record)
	q.open.bytes += size
	if len(q.open.records) == maxRecords {
		q.open = nil
		q.signal()
	}
	if !q.running {
		q.running = true
		go q.run()
	}
	return nil
}

// fits makes room by dropping what waits in front, and reports whether that was
// enough.
func (q *queue) fits() bool {
	for q.stats.QueueBytes > q.maxBytes && len(q.waiting) > 0 {
		b := q.waiting[0]
		size := sizeOf(&b.records[0])
		b.records[0] = sdklog.Record{}
		b.records = b.records[1:]
		b.bytes -= size
		q.stats.QueueBytes -= size
		q.stats.Dropped.QueueFull++
		if len(b.records) == 0 {
			q.pop()
			q.settleFlushes()
		}
	}
	return q.stats.QueueBytes <= q.maxBytes
}

func (q *queue) pop() *batch {
	b := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	if b == q.open {
		q.open = nil
	}
	return b
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// flush waits until all batches that arrived before seq are sent or dropped.
type flush struct {
	seq  int64
	done chan struct{}
}

// settleFlushes ends the flushes that wait for nothing any more.
func (q *queue) settleFlushes() {
	if len(q.flushes) == 0 {
		return
	}
	oldest := q.arrived
	if q.inFlight != nil {
		oldest = q.inFlight.seq
	}
	for _, b := range q.waiting {
		oldest = min(oldest, b.seq)
	}
	q.flushes = slices.DeleteFunc(q.flushes, func(f flush) bool {
		if f.seq > oldest {
			return false
		}
		close(f.done)
		return true
	})
}

// ForceFlush implements sdklog.Processor. It does not shorten the pause after a
// failure.
func (q *queue) ForceFlush(ctx context.Context) error {
	q.mu.Lock()
	q.open = nil
	f := flush{seq: q.arrived, done: make(chan struct{})}
	q.flushes = append(q.flushes, f)
	q.settleFlushes()
	q.signal()
	q.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("otlp: flush of log records: %w", ctx.Err())
	}
}

// Shutdown implements sdklog.Processor.
func (q *queue) Shutdown(ctx context.Context) error {
	q.shutdown.Do(func() { q.left = q.stop(ctx) })
	return q.left
}

func (q *queue) stop(ctx context.Context) error {
	q.mu.Lock()
	q.stopping = true
	running := q.running
	q.signal()
	q.mu.Unlock()
	if running {
		select {
		case <-q.done:
		case <-ctx.Done():
		}
	}
	left := q.abandon()
	q.cancel()
	if running {
		select {
		case <-q.done:
		case <-time.After(unwinding): // the program's client may heed no context
		}
	}
	return errors.Join(left, q.exporter.Shutdown(ctx))
}

// abandon counts what is left as dropped.
func (q *queue) abandon() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = true
	var n int64
	for _, b := range append(q.waiting, q.inFlight) {
		if b != nil {
			n += int64(len(b.records))
		}
	}
	q.stats.Dropped.Shutdown += n
	q.waiting, q.open, q.inFlight, q.stats.QueueBytes = nil, nil, nil, 0
	q.settleFlushes()
	if n > 0 {
		return fmt.Errorf("otlp: %d log records were not delivered", n)
	}
	return nil
}
