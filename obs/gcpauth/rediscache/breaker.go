package rediscache

import (
	"errors"
	"sync"
	"time"
)

const (
	maxFailures = 3
	pause       = 30 * time.Second
)

var errPaused = errors.New("rediscache: not asked: Redis failed three times in a row, it is tried again every 30s")

// breaker spares callers the timeout while Redis is down: after maxFailures in
// a row calls are refused for a pause; then one is let through.
type breaker struct {
	mu       sync.Mutex // guards the fields below
	failures int
	until    time.Time
}

func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < maxFailures {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(pause) // this call tries; others wait for its outcome
	return true
}

func (b *breaker) note(now time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ok {
		b.failures = 0
		return
	}
	if b.failures++; b.failures >= maxFailures {
		b.until = now.Add(pause)
	}
}
