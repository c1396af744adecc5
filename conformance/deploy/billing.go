package deploy

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/chiobs"
)

// NewRouter is for an instance that has a CPU only while it serves: the last
// request in flight is answered when its spans have left.
func NewRouter() http.Handler {
	r := chi.NewRouter()
	r.Use(chiobs.Config{FlushLast: true}.Middleware)
	r.Get("/users/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return r
}
