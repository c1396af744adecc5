package ddagent

import (
	"context"
	"sync"
	"time"
)

// Cloud Run takes the CPU away between requests, and with it the right to
// judge: an answer that came in time is read late, and a deadline that was far
// is long past. The monotonic clock runs on meanwhile, so a freeze shows only
// in what should have run and did not.
const (
	tickEvery = 250 * time.Millisecond
	longGap   = time.Second // a tick later than this tells of a freeze
)

// attempt bounds a request by the time in which the process ran. A request
// that is over within a tick costs one timer.
type attempt struct {
	cancel context.CancelFunc
	timer  *time.Timer

	mu       sync.Mutex // guards what follows
	last     time.Time  // of the last tick
	deadline time.Time
	frozen   time.Duration
	expired  bool
}

// beginAttempt returns a context that is done when the process has run for d since.
func beginAttempt(ctx context.Context, d time.Duration) (context.Context, *attempt) {
	now := time.Now()
	a := &attempt{last: now, deadline: now.Add(d)}
	ctx, a.cancel = context.WithCancel(ctx)
	a.mu.Lock() // the timer may fire before it is assigned
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(tickEvery, a.tick)
	return ctx, a
}

func (a *attempt) tick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if next := a.check(time.Now()); next > 0 {
		a.timer.Reset(next)
		return
	}
	a.expired = true
	a.cancel()
}

// check moves the deadline if the process has been frozen since the last tick,
// and returns how long it is to the next; 0 means that the time is up.
func (a *attempt) check(now time.Time) time.Duration {
	if late := now.Sub(a.last) - tickEvery; late > longGap {
		a.deadline = a.deadline.Add(late)
		a.frozen += late
	}
	a.last = now
	return max(min(tickEvery, a.deadline.Sub(now)), 0)
}

// end returns for how long the process was frozen meanwhile, and whether the
// attempt's time was up.
func (a *attempt) end() (frozen time.Duration, expired bool) {
	a.timer.Stop()
	a.cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.expired {
		a.check(time.Now()) // the answer may have come before the tick
	}
	return a.frozen, a.expired
}
