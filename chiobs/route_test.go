package chiobs

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// FuzzAppendPattern compares with chi, whose method allocates.
func FuzzAppendPattern(f *testing.F) {
	for _, s := range []string{"", "/", "/a", "/a/*,/b/{id}", "/*,/*,/x", "/a/*,/", "/a//", "//", "/*/*/*/", "/a/*,/*", "a,,b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		patterns := strings.Split(joined, ",")
		rctx := chi.NewRouteContext()
		rctx.RoutePatterns = patterns
		if got, want := string(appendPattern(nil, patterns)), rctx.RoutePattern(); got != want {
			t.Errorf("%q: got %q, want %q", patterns, got, want)
		}
	})
}

func TestServeMuxRoute(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, pattern, target, want string }{
		{"path", "/users/{id}", "/users/7", "/users/{id}"},
		{"method", "GET /users/{id}", "/users/7", "/users/{id}"},
		{"host", "GET example.com/users/{id}", "/users/7", "/users/{id}"},
		{"none", "/users/{id}", "/orders/7", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			mux := http.NewServeMux()
			mux.HandleFunc(tt.pattern, func(http.ResponseWriter, *http.Request) {})
			local(Config{Provider: g}.Middleware(mux), "GET", tt.target)
			if got := g.access(t).route(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRouteUnknown: a router behind another handler hides its route, and works.
func TestRouteUnknown(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := chi.NewRouter()
	r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(chi.URLParam(r, "id"))) })
	w := local(Config{Provider: g}.Middleware(copying(r)), "GET", "/users/7")
	if w.Body.String() != "7" || g.span(t).Name() != "GET" {
		t.Errorf("got %q, span %q", w.Body, g.span(t).Name())
	}
}

// TestRoutesStayReachable: middlewares look routes up in the routing context.
func TestRoutesStayReachable(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := chi.NewRouter()
	matched := false
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			matched = chi.RouteContext(r.Context()).Routes.Match(chi.NewRouteContext(), "GET", r.URL.Path)
			next.ServeHTTP(w, r)
		})
	})
	r.Get("/users/{id}", func(http.ResponseWriter, *http.Request) {})
	local(Config{Provider: g}.Middleware(r), "GET", "/users/7")
	if !matched {
		t.Error("the routing context does not know its router")
	}
}

// TestMiddlewareOfOneRoute and of a sub-router see the whole route too.
func TestMiddlewareFurtherIn(t *testing.T) {
	t.Parallel()
	ok := func(http.ResponseWriter, *http.Request) {}
	for name, routes := range map[string]func(r chi.Router, mw func(http.Handler) http.Handler){
		"router": func(r chi.Router, mw func(http.Handler) http.Handler) {
			r.Route("/api", func(r chi.Router) { r.Use(mw); r.Get("/users/{id}", ok) })
		},
		"route": func(r chi.Router, mw func(http.Handler) http.Handler) {
			r.Route("/api", func(r chi.Router) { r.With(mw).Get("/users/{id}", ok) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			r := chi.NewRouter()
			routes(r, Config{Provider: g}.Middleware)
			local(r, "GET", "/api/users/7")
			if got, want := g.span(t).Name(), "GET /api/users/{id}"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
