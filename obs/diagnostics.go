package obs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// newInternal returns the logger of our own diagnostics, which go where the
// program's records go. Without a level of its own the filter decides, under
// the name kumihimo.
func newInternal(handlers []slog.Handler, level slog.Leveler) *slog.Logger {
	named := make([]slog.Handler, len(handlers))
	for i, h := range handlers {
		named[i] = h.WithAttrs([]slog.Attr{slog.String("logger", "kumihimo")})
		if level != nil {
			named[i] = &levelHandler{named[i], level}
		}
	}
	return slog.New(join(named))
}

// levelHandler lets through what is at or above its own level, whatever the
// handler within would say.
type levelHandler struct {
	slog.Handler
	level slog.Leveler
}

func (h *levelHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &levelHandler{h.Handler.WithAttrs(attrs), h.level}
}

func (h *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{h.Handler.WithGroup(name), h.level}
}

const (
	// repeatEvery is how often one error of OpenTelemetry's is said at most.
	repeatEvery = time.Minute

	// maxErrors bounds the errors that are remembered; texts that differ each
	// time would grow without end.
	maxErrors = 64
)

// errorHandler takes what OpenTelemetry has no other place for. An error that
// repeats itself is said once a minute, with the number of times.
type errorHandler struct {
	logger *slog.Logger
	red    *redact.Redactor

	mu   sync.Mutex // guards said
	said map[string]*saidError
}

type saidError struct {
	at      time.Time
	repeats int // since then
}

var _ otel.ErrorHandler = (*errorHandler)(nil)

func newErrorHandler(logger *slog.Logger, red *redact.Redactor) *errorHandler {
	return &errorHandler{logger: logger, red: red, said: make(map[string]*saidError)}
}

// Handle implements otel.ErrorHandler.
func (h *errorHandler) Handle(err error) {
	if err == nil {
		return
	}
	text := errorText(err, h.red)
	repeats, again := h.note(text, time.Now())
	if !again {
		return
	}
	attrs := []slog.Attr{slog.String("error", text)}
	if repeats > 0 {
		attrs = append(attrs, slog.Int("repeats", repeats))
	}
	h.logger.LogAttrs(obsctx.Suppress(context.Background()), slog.LevelWarn, "OpenTelemetry reports an error", attrs...)
}

// note reports whether text is to be said, and how often it was not.
func (h *errorHandler) note(text string, now time.Time) (repeats int, say bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.said[text]
	switch {
	case e == nil:
		if len(h.said) >= maxErrors {
			clear(h.said)
		}
		h.said[text] = &saidError{at: now}
		return 0, true
	case now.Sub(e.at) < repeatEvery:
		e.repeats++
		return 0, false
	}
	repeats = e.repeats
	*e = saidError{at: now}
	return repeats, true
}
