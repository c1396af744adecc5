package logging

import (
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// Of one call site, stackBurst stacks are written in each stackWindow: 8 KiB
	// a second, where each record could be that long.
	stackBurst  = 10
	stackWindow = 10 * time.Second
)

// A limiter lets a number of events through in each window of time. It is
// exact but for events on the border of two windows.
type limiter struct {
	start, seen atomic.Int64
	withheld    atomic.Int64 // since the last one that took the count
}

func (l *limiter) allow(now time.Time, window time.Duration, burst int) bool {
	t := now.UnixNano()
	if start := l.start.Load(); t-start >= int64(window) || t < start {
		if l.start.CompareAndSwap(start, t) {
			l.seen.Store(0)
		}
	}
	if l.seen.Add(1) <= int64(burst) {
		return true
	}
	l.withheld.Add(1)
	return false
}

// admit reports whether Options.SitePerSecond lets r through, and how many of
// its call site's it did not before.
func (c *core) admit(r *slog.Record) (withheld int64, ok bool) {
	burst := c.opts.SitePerSecond
	if burst <= 0 || r.PC == 0 || r.Level >= slog.LevelWarn {
		return 0, true
	}
	site := c.sites.get(r.PC)
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	if !site.records.allow(now, time.Second, burst) {
		return 0, false
	}
	if site.records.withheld.Load() == 0 {
		return 0, true
	}
	return site.records.withheld.Swap(0), true
}
