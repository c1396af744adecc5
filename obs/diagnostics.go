package obs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/kumihimo/kumihimo/internal/obsctx"
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

// repeatEvery is how often one error of OpenTelemetry's is said again at most.
const repeatEvery = time.Minute

// errorHandler takes what OpenTelemetry has no other place for. An error that
// repeats itself is said once a minute, with the number of times.
type errorHandler struct {
	logger *slog.Logger

	mu      sync.Mutex // guards what follows
	last    string
	said    time.Time
	repeats int
}

var _ otel.ErrorHandler = (*errorHandler)(nil)

func newErrorHandler(logger *slog.Logger) *errorHandler { return &errorHandler{logger: logger} }

// Handle implements otel.ErrorHandler.
func (h *errorHandler) Handle(err error) {
	if err == nil {
		return
	}
	text, now := sprint(err), time.Now()
	h.mu.Lock()
	if text == h.last && now.Sub(h.said) < repeatEvery {
		h.repeats++
		h.mu.Unlock()
		return
	}
	repeats := h.repeats
	h.last, h.said, h.repeats = text, now, 0
	h.mu.Unlock()

	attrs := []slog.Attr{slog.String("error", text)}
	if repeats > 0 {
		attrs = append(attrs, slog.Int("repeats", repeats)) // of the one before
	}
	h.logger.LogAttrs(obsctx.Suppress(context.Background()), slog.LevelWarn, "OpenTelemetry reports an error", attrs...)
}
