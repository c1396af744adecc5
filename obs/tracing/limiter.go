package tracing

import (
	"math"
	"sync"
	"time"
)

// A limiter lets through so many a second, and in a burst as many at once. It
// also knows what share it has let through of late, from which Datadog
// computes how many traces the others stand for.
type limiter struct {
	perSecond, burst float64

	mu     sync.Mutex // guards what follows
	tokens float64
	filled time.Time // when tokens was right

	second                    time.Time // the one that is counted
	seen, allowed             float64   // in it
	seenBefore, allowedBefore float64   // in the one before
}

func newLimiter(perSecond float64) *limiter {
	burst := math.Ceil(perSecond)
	return &limiter{perSecond: perSecond, burst: burst, tokens: burst}
}

// allow takes one away. The share is of this second and the one before.
func (l *limiter) allow(now time.Time) (ok bool, share float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(now)
	if d := now.Sub(l.filled).Seconds(); d > 0 {
		if !l.filled.IsZero() {
			l.tokens = min(l.tokens+d*l.perSecond, l.burst)
		}
		l.filled = now
	}
	l.seen++
	if ok = l.tokens >= 1; ok {
		l.tokens--
		l.allowed++
	}
	return ok, (l.allowedBefore + l.allowed) / (l.seenBefore + l.seen)
}

// count begins a new second where the last is over.
func (l *limiter) count(now time.Time) {
	d := now.Sub(l.second)
	if d < time.Second {
		return
	}
	l.seenBefore, l.allowedBefore = 0, 0
	if d < 2*time.Second {
		l.seenBefore, l.allowedBefore = l.seen, l.allowed
	}
	l.second, l.seen, l.allowed = now, 0, 0
}
