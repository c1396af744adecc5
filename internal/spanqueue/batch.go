package spanqueue

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// A batch is spans that are queued together.
type batch struct {
	spans []sdktrace.ReadOnlySpan
	bytes int64     // what they take, about
	at    time.Time // of arrival
	seq   int64     // order of arrival
	tries int
}

// spanCost is what a span takes without its parts, on the high side.
const spanCost = 1700

// sizeOf estimates the memory s holds.
func sizeOf(s sdktrace.ReadOnlySpan) int64 {
	n := spanCost + len(s.Name()) + len(s.Status().Description) + sizeOfAttributes(s.Attributes())
	for _, e := range s.Events() {
		n += 80 + len(e.Name) + sizeOfAttributes(e.Attributes)
	}
	for _, l := range s.Links() {
		n += 100 + sizeOfAttributes(l.Attributes)
	}
	return int64(n)
}

func sizeOfAttributes(kvs []attribute.KeyValue) (n int) {
	for _, kv := range kvs {
		n += 64 + len(kv.Key)
		switch kv.Value.Type() {
		case attribute.STRING:
			n += len(kv.Value.AsString())
		case attribute.STRINGSLICE:
			for _, s := range kv.Value.AsStringSlice() {
				n += 16 + len(s)
			}
		case attribute.INT64SLICE:
			n += 8 * len(kv.Value.AsInt64Slice())
		case attribute.FLOAT64SLICE:
			n += 8 * len(kv.Value.AsFloat64Slice())
		case attribute.BOOLSLICE:
			n += len(kv.Value.AsBoolSlice())
		}
	}
	return n
}

// fits makes room by dropping the oldest of the queue, and reports whether
// that was enough.
func (q *Queue) fits() bool {
	for q.bytes > q.opts.QueueBytes && len(q.queue) > 0 {
		q.dropped.QueueFull += int64(len(q.pop().spans))
		q.settleFlushes()
	}
	return q.bytes <= q.opts.QueueBytes
}

// push queues a batch that has just arrived.
func (q *Queue) push(b batch) {
	b.seq = q.arrived
	q.arrived++
	q.queue = append(q.queue, b)
	before := q.queued
	q.queued += int64(len(b.spans))
	if !q.running && !q.dead {
		q.running = true
		go q.run()
	}
	if before == 0 || before < maxBatch && q.queued >= maxBatch {
		q.signal()
	}
}

// halves makes two batches of b, to be tried again, each by itself.
func (b batch) halves() (first, second batch) {
	half := len(b.spans) / 2
	b.tries++
	first, second = b, b
	first.spans, second.spans = b.spans[:half:half], b.spans[half:]
	first.bytes = 0
	for _, s := range first.spans {
		first.bytes += sizeOf(s)
	}
	second.bytes = b.bytes - first.bytes
	return first, second
}

// pop takes the oldest batch out of the queue and out of its bytes.
func (q *Queue) pop() batch {
	b := q.queue[0]
	q.queue[0] = batch{}
	q.queue = q.queue[1:]
	q.queued -= int64(len(b.spans))
	q.bytes -= b.bytes
	return b
}

// take makes one batch of the oldest in the queue, as large as one export may
// be, or of a single one.
func (q *Queue) take() (b batch) {
	for len(q.queue) > 0 {
		next := q.queue[0]
		if len(b.spans) > 0 && (len(b.spans)+len(next.spans) > maxBatch || b.bytes+next.bytes > maxBytes || b.tries > 0 || next.tries > 0) {
			break
		}
		q.pop()
		q.bytes += next.bytes // in flight it still counts
		if len(b.spans) == 0 {
			b = next
			continue
		}
		b.spans = append(b.spans, next.spans...)
		b.bytes += next.bytes
	}
	return b
}
