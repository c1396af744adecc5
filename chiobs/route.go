package chiobs

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// routing returns the routing context of ctx. If the router is still to come it
// makes one: the router then uses it, and the route can be read from it
// afterwards. It does so only for a router called directly: a handler in
// between may run the router on another goroutine, and a routing context has
// one owner.
func (h *handler) routing(ctx context.Context) *chi.Context {
	if found := chi.RouteContext(ctx); found != nil || h.routes == nil {
		return found
	}
	rctx := chi.NewRouteContext()
	rctx.Routes = h.routes
	return rctx
}

// routeOf returns the pattern that r was routed by, or "". r is the request
// that was handed to the next handler; the router writes the pattern to it
// unless another middleware made a copy, but only the routing context in ctx
// is shared by all copies. It must be read before the outermost router has
// returned, which then reuses that context.
func routeOf(ctx context.Context, r *http.Request, status int) string {
	rctx := chi.RouteContext(ctx)
	if rctx == nil {
		// http.ServeMux: "GET example.com/users/{id}".
		return r.Pattern[max(strings.IndexByte(r.Pattern, '/'), 0):]
	}
	var stack [128]byte
	b := appendPattern(stack[:0], rctx.RoutePatterns)
	if (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) && bytes.HasSuffix(b, []byte("/*")) {
		return "" // a mounted router had no route for it
	}
	if r.Pattern == string(b) {
		return r.Pattern
	}
	return string(b)
}

// appendPattern appends what chi.Context.RoutePattern returns for patterns.
func appendPattern(b []byte, patterns []string) []byte {
	for _, p := range patterns {
		if bytes.HasSuffix(b, []byte("/*")) && strings.HasPrefix(p, "/") {
			b, p = b[:len(b)-1], p[1:]
		}
		seam := max(len(b)-len("/*"), 0)
		if b = append(b, p...); bytes.Contains(b[seam:], []byte("/*/")) {
			b = append(b[:seam], withoutWildcards(b[seam:])...)
		}
	}
	if string(b) == "/" {
		return b
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("//")), []byte("/"))
}

// withoutWildcards returns b with each "/*/" as "/", also those that arise so.
func withoutWildcards(b []byte) []byte {
	kept := b[:0]
	for _, c := range b {
		if kept = append(kept, c); bytes.HasSuffix(kept, []byte("/*/")) {
			kept = kept[:len(kept)-2]
		}
	}
	return kept
}
