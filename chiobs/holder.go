package chiobs

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/internal/spanattr"
)

// maxAdded bounds what is added to one request.
const maxAdded = 64

type requestKey struct{}

// requestOf returns the request that ctx belongs to, or nil.
func requestOf(ctx context.Context) *request {
	if ctx == nil {
		return nil
	}
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

// Add adds attrs to the server span of the request that ctx belongs to, and to
// its access record. Of attributes with the same key the last one stays. A
// request takes 64; what is more is left out, and the record says how much as
// chiobs.attributes_lost. Without a request, or after its end, Add does nothing.
//
// It is safe for concurrent use. What obs.With adds is, in contrast, bound to
// its context: it reaches the records and spans made under that.
func Add(ctx context.Context, attrs ...slog.Attr) {
	if q := requestOf(ctx); q != nil {
		q.add(attrs)
	}
}

func (q *request) add(attrs []slog.Attr) {
	if attrs = q.holder.add(attrs); len(attrs) > 0 && q.span.IsRecording() {
		// Outside of the lock: a LogValue may come back here.
		q.span.SetAttributes(spanattr.Append(q.redactor, nil, attrs...)...)
	}
}

// A holder has what may still change while a request is served, by whatever
// goroutines serve it.
type holder struct {
	mu       sync.Mutex // guards what follows
	settings *settings
	added    []slog.Attr
	lost     int
	sealed   bool // the request has ended
}

// add returns those of attrs for which there was room.
func (h *holder) add(attrs []slog.Attr) (taken []slog.Attr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		return nil
	}
	for i, a := range attrs {
		if j := slices.IndexFunc(h.added, func(b slog.Attr) bool { return a.Key != "" && a.Key == b.Key }); j >= 0 {
			h.added[j] = a
		} else if len(h.added) < maxAdded {
			h.added = append(h.added, a)
		} else {
			if h.lost++; taken == nil {
				taken = slices.Clone(attrs[:i])
			}
			continue
		}
		if taken != nil {
			taken = append(taken, a)
		}
	}
	if taken == nil {
		return attrs
	}
	return taken
}

func (h *holder) current() *settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings
}

func (h *holder) refine(inner *settings, skip bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settings = h.settings.refined(inner, skip)
}

func (h *holder) ended() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sealed
}

// seal ends all adding.
func (h *holder) seal() (added []slog.Attr, lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed = true
	return h.added, h.lost
}

// skips, onStart and onEnd call the hooks of the program.
func (h *handler) skips(r *http.Request, logger *slog.Logger) (skip bool) {
	if h.settings.Skip == nil {
		return false
	}
	defer h.survive(r.Context(), "Skip", logger)
	return h.settings.Skip(r)
}

func (h *handler) onStart(r *http.Request, logger *slog.Logger) (attrs []slog.Attr) {
	if h.settings.OnStart == nil {
		return nil
	}
	defer h.survive(r.Context(), "OnStart", logger)
	return h.settings.OnStart(r)
}

func (h *handler) onEnd(r *http.Request, o Outcome, logger *slog.Logger) (attrs []slog.Attr) {
	defer h.survive(r.Context(), "OnEnd", logger)
	return h.settings.OnEnd(r, o)
}

// survive is deferred around a hook. The first panic of any is reported.
func (h *handler) survive(ctx context.Context, hook string, logger *slog.Logger) {
	if p := recover(); p != nil && h.failed.CompareAndSwap(false, true) {
		logger.LogAttrs(ctx, slog.LevelError, "chiobs: a hook panicked; requests are served without it",
			slog.String("hook", hook), slog.String("error.message", sprint(p)))
	}
}

// spanAttributes are attrs as a span has them.
func spanAttributes(red *redact.Redactor, kvs []attribute.KeyValue, attrs []slog.Attr) []attribute.KeyValue {
	if len(attrs) == 0 {
		return kvs
	}
	return spanattr.Append(red, kvs, attrs...)
}
