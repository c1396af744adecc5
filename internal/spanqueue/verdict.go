package spanqueue

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// permanent reports whether err says that another attempt is of no use.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

// rejected returns how many of the spans a permanent err says are lost: all of
// them unless it says how many, where the others were taken.
func rejected(err error, spans int64) int64 {
	var r interface{ Rejected() int }
	if errors.As(err, &r) && r.Rejected() > 0 {
		return int64(r.Rejected())
	}
	return spans
}

// tooLarge reports whether err says that fewer spans at a time may pass.
func tooLarge(err error) bool {
	var t interface{ TooLarge() bool }
	return errors.As(err, &t) && t.TooLarge()
}

// retryAfter returns how long err says that the other side wants to be left
// alone; it is heeded for as long as spans could outlive it.
func retryAfter(err error) time.Duration {
	var r interface{ RetryAfter() time.Duration }
	if !errors.As(err, &r) {
		return 0
	}
	return min(r.RetryAfter(), maxAge/2)
}

// repeatEvery is how often at most an exporter is reported that rejects some
// spans and takes others.
const repeatEvery = time.Minute

// health says once that the exporter fails, and once that it works again.
type health struct {
	logger  *slog.Logger
	failing bool
	since   time.Time
	lost    int64 // when that began
	backoff time.Duration
}

// note notes the end of an export: err is nil, final for all or some of its
// spans, or temporary.
func (h *health) note(ctx context.Context, err error, waiting, lost int64) {
	now := time.Now()
	if err == nil {
		if h.failing {
			h.logger.LogAttrs(ctx, slog.LevelInfo, "span exporter takes spans again",
				slog.Duration("after", now.Sub(h.since)), slog.Int64("spans.waiting", waiting), slog.Int64("spans.lost", lost-h.lost))
		}
		h.failing, h.backoff = false, 0
		return
	}
	final := permanent(err) || tooLarge(err)
	if final {
		h.backoff = 0 // it answers
	} else {
		h.backoff = min(max(2*h.backoff, minBackoff), maxBackoff)
		h.backoff -= rand.N(h.backoff / 4)
		h.backoff = max(h.backoff, retryAfter(err))
	}
	if h.failing || final && !h.since.IsZero() && now.Sub(h.since) < repeatEvery {
		return
	}
	h.failing, h.since, h.lost = true, now, lost
	message := "span exporter does not take spans; they wait"
	if final {
		message = "span exporter rejects spans; they are lost"
	}
	h.logger.LogAttrs(ctx, slog.LevelWarn, message, slog.Any("error", err))
}
