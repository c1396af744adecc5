package gcpauth

import (
	"context"
	"log/slog"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// health turns the outcomes of requests into reports: one a change.
type health struct {
	state int // one of the below
	since time.Time
}

const (
	healthy = iota
	failing // with a token left
	out     // of tokens
)

// bad notes a failed request and returns what reports it, to be called without
// a lock.
func (h *health) bad(logger *slog.Logger, err error, tokenLeft bool, retry time.Duration) (report func()) {
	state, message := out, "no ID token: the token source fails and none is left"
	if tokenLeft {
		state, message = failing, "token source fails; the ID token in memory is still valid"
	}
	if state <= h.state {
		return func() {}
	}
	if h.state == healthy {
		h.since = time.Now()
	}
	h.state = state
	return func() {
		logger.LogAttrs(ownContext(), slog.LevelWarn, message,
			slog.Any("error", err), slog.Duration("retry", retry))
	}
}

// good notes a token that came in.
func (h *health) good(logger *slog.Logger, now time.Time) (report func()) {
	if h.state == healthy {
		return func() {}
	}
	h.state = healthy
	after := now.Sub(h.since)
	return func() {
		logger.LogAttrs(ownContext(), slog.LevelInfo, "token source works again", slog.Duration("after", after))
	}
}

// ownContext is that of records about ourselves.
func ownContext() context.Context { return obsctx.Suppress(context.Background()) }
