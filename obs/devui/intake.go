package devui

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// maxQueued bounds the spans and the records that wait, which is 10 MB of
	// ordinary ones.
	maxQueued = 8192

	// batching is how long the queue gathers before it is emptied: waking a
	// goroutine costs the service more than the span does.
	batching = 10 * time.Millisecond
)

// An intake stands between the program and the store: the program appends to
// a slice, and a goroutine does the rest.
type intake struct {
	take func([]sdktrace.ReadOnlySpan, []logRecord)

	mu     sync.Mutex // guards the queue
	spans  []sdktrace.ReadOnlySpan
	logs   []logRecord
	closed bool

	draining    sync.Mutex // guards what follows, and is held while take runs
	spareSpans  []sdktrace.ReadOnlySpan
	spareLogs   []logRecord
	wake        chan struct{} // has room for one
	stop, ended chan struct{}

	droppedSpans, droppedLogs atomic.Int64
}

func newIntake(take func([]sdktrace.ReadOnlySpan, []logRecord)) *intake {
	in := &intake{take: take, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go in.run()
	return in
}

// span queues s. It is what a span costs the service.
func (in *intake) span(s sdktrace.ReadOnlySpan) {
	in.mu.Lock()
	full, first := in.closed || len(in.spans) >= maxQueued, len(in.spans) == 0
	if !full {
		in.spans = append(in.spans, s)
	}
	in.mu.Unlock()
	if full {
		in.droppedSpans.Add(1)
	} else if first {
		in.rouse()
	}
}

func (in *intake) log(r logRecord) {
	in.mu.Lock()
	full, first := in.closed || len(in.logs) >= maxQueued, len(in.logs) == 0
	if !full {
		in.logs = append(in.logs, r)
	}
	in.mu.Unlock()
	if full {
		in.droppedLogs.Add(1)
	} else if first {
		in.rouse()
	}
}

func (in *intake) rouse() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *intake) run() {
	defer close(in.ended)
	defer in.drain()
	for {
		select {
		case <-in.wake:
		case <-in.stop:
			return
		}
		select {
		case <-time.After(batching):
		case <-in.stop:
			return
		}
		in.drain()
	}
}

// drain hands on everything queued.
func (in *intake) drain() {
	in.draining.Lock()
	defer in.draining.Unlock()
	in.mu.Lock()
	spans, logs := in.spans, in.logs
	in.spans, in.logs = in.spareSpans, in.spareLogs
	in.mu.Unlock()
	in.take(spans, logs)
	clear(spans)
	clear(logs)
	in.spareSpans, in.spareLogs = spans[:0], logs[:0]
}

// close ends the goroutine.
func (in *intake) close(ctx context.Context) error {
	in.mu.Lock()
	first := !in.closed
	in.closed = true
	in.mu.Unlock()
	if first {
		close(in.stop)
	}
	select {
	case <-in.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
