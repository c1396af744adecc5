package logging

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"

	"github.com/kumihimo/kumihimo/internal/fault"
)

// The functions of this file are about records that have another reader than
// the writer: the span, of which errors become events, and the flight recorder,
// which keeps what the filter withholds.

// hears reports whether a record of level is of use even if the filter
// withholds it.
func (c *core) hears(ctx context.Context, level slog.Level) bool {
	return ctx != nil && (c.opts.Flight.Of(ctx, level) != nil || c.opts.Braid.Takes(ctx, level))
}

// aside does with a record that is not to be written what else is to be done
// with it. It reports whether there was something.
func (h *jsonHandler) aside(ctx context.Context, r *slog.Record) (taken bool) {
	f, event := h.opts.Flight.Of(ctx, r.Level), h.opts.Braid.Takes(ctx, r.Level)
	if f == nil && !event {
		return false
	}
	l := h.line()
	defer h.release(l)
	h.appendRecord(ctx, l, r, 0)
	f.Add(l.buf, h.core)
	if event {
		h.toSpan(ctx, l, r, l.failure)
	}
	return true
}

func (h *textHandler) aside(ctx context.Context, r *slog.Record) (taken bool) {
	f, event := h.opts.Flight.Of(ctx, r.Level), h.opts.Braid.Takes(ctx, r.Level)
	if f == nil && !event {
		return false
	}
	l := h.line()
	defer h.release(l)
	h.appendRecord(ctx, l, r, 0)
	f.Add(l.buf, h.core)
	if event {
		h.toSpan(ctx, l, r, h.firstFailure(l))
	}
	return true
}

// alarm is called with a record that is about to be written: an error is what
// the flight recorder waits for, and an event of its span.
func (c *core) alarm(ctx context.Context, l *line, r *slog.Record, err error) {
	if r.Level >= slog.LevelError {
		c.opts.Flight.Of(ctx, r.Level).Trigger()
	}
	if c.opts.Braid.Takes(ctx, r.Level) {
		c.toSpan(ctx, l, r, err)
	}
}

// loud reports whether alarm has something to do with records of level.
func (c *core) loud(level slog.Level) bool {
	return level >= slog.LevelError || c.opts.Braid != nil && level >= c.opts.Braid.Level
}

func (c *core) toSpan(ctx context.Context, l *line, r *slog.Record, err error) {
	message, pc := r.Message, r.PC // of their own: r must not escape
	c.opts.Braid.Logged(ctx, message, err, func() []byte {
		var site *callSite
		if pc != 0 {
			site = c.sites.get(pc)
		}
		header, frames := l.stackOf(site, err)
		return append(bytes.Clone(header), frames...)
	})
}

// stackOf returns the stack that err brings along, else that of the caller of
// the logger: its first line, and its frames.
func (l *line) stackOf(site *callSite, err error) (header, frames []byte) {
	if pcs := fault.Callers(err); len(pcs) > 0 {
		return []byte(fault.Header), fault.Frames(pcs)
	}
	if l.stack == nil {
		l.stack = make([]byte, rawStack)
	}
	return splitStack(l.stack[:runtime.Stack(l.stack, false)], site)
}

// WriteLine implements flight.Sink. A failed Write is OnError's.
func (c *core) WriteLine(line []byte) {
	_ = c.write(line, slog.LevelDebug) // has been counted
}

// WriteNote implements flight.Sink.
func (c *core) WriteNote(ctx context.Context, n int64) {
	_ = c.write(c.note(ctx, "earlier records of this request were dropped: the flight recorder had no room", n), slog.LevelDebug) // has been counted
}
