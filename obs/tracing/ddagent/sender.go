package ddagent

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// sender is the state of the exporter's goroutine.
type sender struct {
	*Exporter
	health   health
	protocol protocol
	v04      payloadV04
	v10      payloadV1
	body     []byte  // of the last payload, if it may be written again
	batch    []chunk // the room of the last one
	suspects

	limit     int           // estimated bytes of a payload; an agent's 413 lowers it
	successes int           // payloads since limit last changed
	failures  int           // attempts in a row that failed
	retryAt   time.Time     // no attempt before it
	frozen    time.Duration // for so long the process did not run since the queue was last empty
	closing   bool          // Shutdown waits

	sweepAt    time.Time // zero: no group has ended spans
	sweepEvery time.Duration
}

// run sends until Shutdown.
func (e *Exporter) run() {
	defer close(e.done)
	s := &sender{
		Exporter: e, limit: maxPayload,
		health: health{logger: e.opts.Logger, agent: e.client.name, hint: e.opts.Hint},
		v04:    payloadV04{process: e.client.process},
		v10:    payloadV1{process: e.client.process},
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, stop := s.plan(time.Now())
		if stop {
			return
		}
		wait := time.Until(next)
		if !next.IsZero() && wait <= 0 {
			s.act(next)
			continue
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(wait)
		}
		select {
		case <-e.wake:
		case <-timer.C:
		case <-e.ctx.Done():
			return
		}
		if late := time.Since(next); !next.IsZero() && late > longGap {
			s.frozen += late
		}
	}
}

// plan says when there is something to do: never if the time is zero.
func (s *sender) plan(now time.Time) (next time.Time, stop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweepIn > 0 {
		s.sweepAt, s.sweepEvery, s.sweepIn = now.Add(s.sweepIn), s.sweepIn, 0
	}
	if s.stopping && !s.closing { // one attempt at once, whatever the last one said
		s.closing, s.failures, s.retryAt = true, 0, now
	}
	switch oldest := s.queue.oldest(); {
	case s.ctx.Err() != nil:
		return now, true
	case oldest != nil:
		next = s.due(oldest, now)
	case s.stopping:
		s.dead = true
		return now, true
	}
	if !s.sweepAt.IsZero() && (next.IsZero() || s.sweepAt.Before(next)) {
		next = s.sweepAt
	}
	return next, false
}

func (s *sender) due(oldest *chunk, now time.Time) time.Time {
	due := oldest.at.Add(s.opts.FlushInterval)
	if s.closing || len(s.waiters) > 0 || s.queue.size >= s.limit {
		due = now
	}
	if due.Before(s.retryAt) {
		due = s.retryAt
	}
	return due
}

// act does what was due at the given time.
func (s *sender) act(due time.Time) {
	if due.Equal(s.sweepAt) {
		s.sweepAt = time.Time{}
		s.sweeping.Store(false)
		if s.sweepAged(time.Now()) {
			s.sweepLater(s.sweepEvery)
		}
		return
	}
	v := s.protocol.choose(s.ctx, s.client)
	batch := s.take(v)
	if len(batch) == 0 {
		return // evicted meanwhile
	}
	defer func() {
		clear(batch) // lets go of the records
		if s.batch = batch[:0]; cap(batch) > maxBatch {
			s.batch = nil
		}
	}()
	a := s.post(v, batch)
	if a.status == http.StatusNotFound { // the same once more in the other version
		if a = s.post(v.other(), batch); a.status != http.StatusNotFound {
			s.protocol.version = v.other()
		} else if !s.health.failing {
			a.otlp = s.client.takesOTLP(s.ctx)
		}
	}
	s.protocol.seen(a.state)
	if a.outcome == delivered {
		s.rates.update(a.ratesVersion, a.rates, time.Now())
	}
	s.settle(a)
}

// post encodes batch and makes one attempt to deliver it.
func (s *sender) post(v version, batch []chunk) answer {
	var body []byte
	if v == v10 {
		body = s.v10.append(s.body[:0], batch)
	} else {
		body = s.v04.append(s.body[:0], batch)
	}
	s.body = nil
	p := &payload{data: body}
	s.stats.requests.Add(1)
	if s.failures > 0 {
		s.stats.retries.Add(1)
	}
	a := s.client.post(s.ctx, v, p, len(batch), s.rates.version)
	if a.outcome == delivered && p.unread() && cap(body) <= 2*maxPayload {
		s.body = body
	}
	return a
}

// probePayload is the size of a payload for an agent that has just failed: if
// it fails again, less has been encoded for nothing.
const probePayload = maxPayload / 8

// take moves the oldest chunks that make one payload from the queue into
// flight.
func (s *sender) take(v version) []chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.limit
	if s.failures > 0 {
		limit = min(limit, probePayload)
	}
	size, spans := 0, 0
	batch := s.batch[:0]
	for c := s.queue.oldest(); c != nil; c = s.queue.oldest() {
		if size += c.sizeIn(v); len(batch) > 0 && (size > limit || !s.room(len(batch)) || !c.id.agrees(batch[0].id)) {
			break
		}
		spans += c.spans
		batch = append(batch, s.queue.pop())
	}
	s.inFlight = batch
	s.stats.inFlight.Store(int64(spans))
	return batch
}

// settle does with the chunks in flight what the agent's answer asks for.
func (s *sender) settle(a answer) {
	now := time.Now()
	s.frozen += a.frozen
	s.mu.Lock()
	batch := s.inFlight
	if batch == nil { // Shutdown has given up on them
		s.mu.Unlock()
		return
	}
	s.inFlight = nil
	s.stats.inFlight.Store(0)
	if a.outcome == tooLarge && !s.shrink(batch) {
		a.outcome = failed
	}
	if a.outcome == rejected && s.narrow(a, batch) {
		a.outcome = narrowed
	}
	switch a.outcome {
	case delivered:
		s.release(batch, &s.stats.sent)
		s.cleared(len(batch), true)
		s.relax()
		if s.queue.empty() {
			s.frozen = 0
		}
	case rejected:
		s.release(batch, &s.stats.rejected)
		s.cleared(len(batch), false)
	case failed, refused:
		s.queue.unpop(batch)
		s.expire(now)
	}
	s.notify()
	waiting := s.queue.spans
	s.mu.Unlock()

	if s.ctx.Err() != nil {
		return // broken off, which says nothing of the agent
	}
	if a.outcome == failed && a.frozen > 0 {
		s.retryAt = now.Add(rand.N(firstPause)) // which says nothing of it either
		return
	}
	switch a.outcome {
	case delivered:
		s.failures = 0
		s.health.good(s.ctx, now, waiting+spansOf(batch), s.Stats().Dropped.lost())
	case failed, refused:
		s.failures++
		s.retryAt = now.Add(s.pause(a))
		s.health.bad(s.ctx, now, a, s.Stats().Dropped.lost())
	case rejected:
		s.health.bad(s.ctx, now, a, s.Stats().Dropped.lost()-spansOf(batch))
	}
}

// expire drops what has waited for too long, the time not counted in which the
// process did not run. It comes after an attempt that failed, so nothing
// expires that has not been tried. The caller holds the lock.
func (s *sender) expire(now time.Time) {
	if spans, bytes := s.queue.expire(now.Add(-maxAge - s.frozen)); spans > 0 {
		s.stats.expired.Add(spans)
		s.used.Add(-bytes)
	}
}

// release counts batch, which is settled for good.
func (s *sender) release(batch []chunk, counter interface{ Add(int64) int64 }) {
	for i := range batch {
		s.used.Add(-batch[i].cost())
	}
	counter.Add(spansOf(batch))
}

func spansOf(batch []chunk) (n int64) {
	for i := range batch {
		n += int64(batch[i].spans)
	}
	return n
}

// tinySpan is a span that nobody's limit is below.
const tinySpan = 4 << 10

// shrink halves what an agent found too large: the payload, then the chunk. A
// span alone is cut down, and if that is not enough it is dropped. It does
// nothing and reports false if the span is tiny: then the size is not what is
// wrong.
func (s *sender) shrink(batch []chunk) bool {
	s.successes = 0
	if len(batch) > 1 {
		size := 0
		for i := range batch {
			size += batch[i].sizeIn(s.protocol.version)
		}
		s.limit = max(size/2, 1)
		s.queue.unpop(batch)
		return true
	}
	if first, second, ok := batch[0].halve(); ok {
		s.used.Add(first.cost() + second.cost() - batch[0].cost())
		s.queue.unpop([]chunk{first, second})
		return true
	}
	if batch[0].sizeIn(s.protocol.version) <= tinySpan {
		s.limit = maxPayload
		return false
	}
	if less, ok := batch[0].reduce(); ok {
		s.used.Add(less.cost() - batch[0].cost())
		s.queue.unpop([]chunk{less})
		return true
	}
	s.release(batch, &s.stats.tooLarge)
	return true
}

// relax raises a lowered limit again after a while: what stood in the way may
// be gone.
func (s *sender) relax() {
	if s.successes++; s.successes >= 64 && s.limit < maxPayload {
		s.limit, s.successes = min(2*s.limit, maxPayload), 0
	}
}

// maxBatch is the number of chunks whose room is kept: 350 KB.
const maxBatch = 2048

const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	longestWish  = time.Minute // of a Retry-After that is heeded
	closingPause = time.Second
)

// pause returns how long to wait after a failed attempt: exponential with full
// jitter, or 30–60 s where only a person can help; never less than the agent
// asks for, within reason. While Shutdown waits it is short.
func (s *sender) pause(a answer) time.Duration {
	d := longestPause
	if doublings := s.failures - 1; doublings < 7 {
		d = min(d, firstPause<<doublings)
	}
	d = rand.N(d) + 1
	if a.outcome == refused {
		d = longestPause + rand.N(longestPause)
	}
	d = max(d, min(a.retryAfter, longestWish))
	if s.closing {
		d = min(d, closingPause)
	}
	return d
}
