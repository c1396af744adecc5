package logging

import (
	"context"
	"log/slog"
)

// Handler returns h behind f, for a handler that knows no filter: it gets the
// records that one of this package would write with f.
func (f *Filter) Handler(h slog.Handler) slog.Handler {
	return &filtered{inner: h, gate: gate{filter: f}, sites: new(callSites)}
}

type filtered struct {
	inner slog.Handler
	gate
	sites   *callSites
	grouped bool
}

func (h *filtered) Enabled(ctx context.Context, l slog.Level) bool {
	return h.enabled(l) && h.inner.Enabled(ctx, l)
}

func (h *filtered) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.inner = h.inner.WithAttrs(attrs)
	if !h.grouped {
		with.gate = h.bind(attrs)
	}
	return &with
}

func (h *filtered) WithGroup(name string) slog.Handler {
	with := *h
	with.inner = h.inner.WithGroup(name)
	with.grouped = h.grouped || name != ""
	return &with
}

func (h *filtered) Handle(ctx context.Context, r slog.Record) error {
	if h.withheld(h.sites, r.Level, r.PC) {
		return nil
	}
	return h.inner.Handle(ctx, r)
}
