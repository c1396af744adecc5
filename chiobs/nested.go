package chiobs

import (
	"log/slog"
	"net/http"
	"reflect"

	"go.opentelemetry.io/otel/trace"
)

// serves reports whether w and r, which came to a middleware of provider, are
// still those of q: not a request that a handler makes to a router of its own,
// with the context it has.
func (q *request) serves(w http.ResponseWriter, r *http.Request, provider trace.TracerProvider) bool {
	if !canCompare(provider) || !canCompare(q.provider) || provider != q.provider || q.holder.ended() {
		return false
	}
	if r.Header != nil && reflect.ValueOf(r.Header).Pointer() == reflect.ValueOf(q.r.Header).Pointer() {
		return true
	}
	for {
		if w == http.ResponseWriter(&q.w) {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}

// refine lets h's Config have its say in a request that another middleware
// has begun.
func (h *handler) refine(q *request, r *http.Request) {
	outer := q.holder.current()
	if h.settings.says(&outer.Config) {
		if h.nested.CompareAndSwap(false, true) {
			q.logger.LogAttrs(q.ctx, slog.LevelWarn, "chiobs: two middlewares of the same configuration around one request; the inner one does nothing",
				slog.String("http.request.method", q.handler.settings.methodName(r.Method)))
		}
		return
	}
	if nobodyAsks(q.handler.settings, &q.outlet) && q.late.Load() == nil {
		late := new(facts)
		q.learn(late, r)
		q.w.started.Store(&late.started)
		q.late.Store(late)
	}
	q.holder.refine(h.settings, h.skips(r, q.logger))
	attrs := appendHeaders(nil, h.settings.requestHeaders, r.Header)
	attrs = appendBaggage(q.ctx, attrs, h.settings.BaggageTags)
	q.add(append(attrs, h.onStart(r, q.logger)...))
}
