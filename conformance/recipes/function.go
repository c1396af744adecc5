package recipes

import (
	"context"
	"net/http"
	"time"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// Function wraps a Cloud Function, or a Cloud Run service that is billed by
// request: its CPU stops when the answer is out, and the spans would wait for
// the next request. So they are sent before; Flush gives up in time, and what
// is left waits.
func Function(tel *obs.Telemetry, f http.HandlerFunc) http.Handler {
	traced := chiobs.Middleware(f)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		traced.ServeHTTP(w, r)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 300*time.Millisecond)
		defer cancel()
		tel.Flush(ctx) //nolint:errcheck // what is left is sent with the next request
	})
}
