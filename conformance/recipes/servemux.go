package recipes

import (
	"io"
	"net/http"

	"github.com/kumihimo/kumihimo/chiobs"
)

// NewServeMux returns net/http's own router with a span and a record a request.
// Around the mux, the middleware finds the route in Request.Pattern; a handler
// in between must not hand on a copy of the request.
func NewServeMux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "user "+r.PathValue("id")) //nolint:errcheck // the client has gone
	})
	return chiobs.Middleware(mux)
}
