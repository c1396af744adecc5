package ddagent

import "sync/atomic"

// Stats is the account of an [Exporter]. At rest, that is with no span just
// ending and no request just answered,
//
//	Started = Open + Forgotten + Ended and
//	Ended = Sent + Dropped.Total() + Queued + InFlight.
type Stats struct {
	Started   int64 // spans begun under the exporter's processors
	Open      int64 // begun and not ended
	Forgotten int64 // begun and, too many being open, no longer waited for; an end still counts
	Ended     int64
	Sent      int64 // accepted by an agent
	Queued    int64 // ended and waiting, those of unfinished traces included
	InFlight  int64 // in the request under way
	Dropped   Dropped

	QueueBytes int64 // what Queued and InFlight take of Options.QueueBytes
	Requests   int64 // attempts to post a payload
	Retries    int64 // of them, after one that failed
}

// Dropped counts lost spans by reason.
type Dropped struct {
	QueueFull int64 // no room for them in Options.QueueBytes
	Rejected  int64 // the agent understood the request and refused it for good
	TooLarge  int64 // a single span was more than the agent takes
	Expired   int64 // the agent failed for ten minutes
	Unsampled int64 // of traces not to be kept, above Options.UnsampledPerSecond; others count for them
	Shutdown  int64 // not delivered when Shutdown's time was up, or ended after it
}

// Total returns the sum of all reasons.
func (d Dropped) Total() int64 {
	return d.QueueFull + d.Rejected + d.TooLarge + d.Expired + d.Unsampled + d.Shutdown
}

// lost is what nothing that was sent counts for.
func (d Dropped) lost() int64 { return d.Total() - d.Unsampled }

// counters are the live form of Stats.
type counters struct {
	started, open, ended atomic.Int64
	forgotten            atomic.Int64
	sent                 atomic.Int64
	pending              atomic.Int64 // ended, in a group
	inFlight             atomic.Int64
	requests, retries    atomic.Int64

	queueFull, rejected, tooLarge, expired, unsampled, shutdown atomic.Int64
}

// Stats returns the account so far. It is safe for concurrent use.
func (e *Exporter) Stats() Stats {
	e.mu.Lock()
	queued := e.queue.spans
	e.mu.Unlock()
	c := &e.stats
	return Stats{
		Started: c.started.Load(), Open: c.open.Load(), Forgotten: c.forgotten.Load(), Ended: c.ended.Load(),
		Sent: c.sent.Load(), Queued: queued + c.pending.Load(), InFlight: c.inFlight.Load(),
		Dropped: Dropped{
			QueueFull: c.queueFull.Load(), Rejected: c.rejected.Load(), TooLarge: c.tooLarge.Load(),
			Expired: c.expired.Load(), Unsampled: c.unsampled.Load(), Shutdown: c.shutdown.Load(),
		},
		QueueBytes: e.used.Load(), Requests: c.requests.Load(), Retries: c.retries.Load(),
	}
}
