// Package spanqueue stands between the SDK and an sdktrace.SpanExporter: it
// holds the spans of a trace until the trace's decision is final, queues those
// that are kept within a bound, hands them on in batches, tries again what
// failed, and counts every span once.
//
// Read spanqueue.go for the account, group.go for how spans wait for their
// trace, sender.go for the queue and its goroutine, batch.go for what waits
// there, verdict.go for what an exporter's errors say, and redacted.go for what
// it gets to see.
package spanqueue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

const (
	defaultQueueBytes = 16 << 20

	maxBatch    = 512             // spans in one export, as the SDK's batch processor has it
	maxBytes    = 4 << 20         // of more than one trace in one export, as estimated
	maxDelay    = 2 * time.Second // from a span's arrival to its export, while the exporter works
	maxAge      = 10 * time.Minute
	partialAge  = 10 * time.Second // of the first ended span of an open trace
	exportLimit = 30 * time.Second // of one export
	minBackoff  = time.Second
	maxBackoff  = 30 * time.Second

	openCost = 160 // bytes an open span costs here, about
)

// Options are the parts of a [Queue].
type Options struct {
	// Exporter gets the spans of traces that are kept, from one goroutine. An
	// error of it is temporary unless it has methods, in its chain, that say
	// otherwise: see verdict.go.
	Exporter sdktrace.SpanExporter

	// QueueBytes bounds what waits, as the memory it takes is estimated.
	// Default: 16 MiB.
	QueueBytes int64

	Logger   *slog.Logger
	Redactor *redact.Redactor
}

// Queue is an sdktrace.SpanProcessor that feeds an exporter. All its methods
// are safe for concurrent use; none but ForceFlush and Shutdown waits.
type Queue struct {
	opts    Options
	maxOpen int
	ctx     context.Context // of every export; marked as telemetry's own
	cancel  context.CancelFunc
	wake    chan struct{} // has room for one
	done    chan struct{} // closed when the goroutine has ended

	started, ended, untracked atomic.Int64

	mu       sync.Mutex // guards what follows
	open     map[spanKey]*group
	groups   map[trace.TraceID]*group // the newest of a trace; group.next has the others
	sweeping bool                     // a sweep of the groups is planned
	waiting  int64                    // spans that ended, in groups
	queue    []batch                  // oldest first
	queued   int64
	bytes    int64 // of groups, queue and flight
	inFlight batch
	sent     int64
	dropped  ddagent.Dropped
	requests int64
	retries  int64
	flushes  []flush
	arrived  int64 // batches that were queued, ever
	running  bool
	stopping bool // spans that end are dropped
	closing  bool // the goroutine knows it
	dead     bool // what an export still under way does no longer counts

	shutdown sync.Once
	left     error
}

var _ sdktrace.SpanProcessor = (*Queue)(nil)

type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

// New returns a Queue. It starts nothing before a span has ended.
func New(opts Options) *Queue {
	if opts.QueueBytes <= 0 {
		opts.QueueBytes = defaultQueueBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		opts: opts, maxOpen: int(opts.QueueBytes / openCost),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		open: make(map[spanKey]*group), groups: make(map[trace.TraceID]*group),
	}
	q.ctx, q.cancel = context.WithCancel(obsctx.Suppress(context.Background()))
	return q
}

// Stats returns the account so far, by the rules of ddagent.Stats.
func (q *Queue) Stats() ddagent.Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return ddagent.Stats{
		Started: q.started.Load(), Open: int64(len(q.open)), Forgotten: q.untracked.Load(), Ended: q.ended.Load(),
		Sent: q.sent, Queued: q.waiting + q.queued, InFlight: int64(len(q.inFlight.spans)), Dropped: q.dropped,
		QueueBytes: q.bytes, Requests: q.requests, Retries: q.retries,
	}
}
