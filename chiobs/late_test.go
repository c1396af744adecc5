package chiobs

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kumihimo/kumihimo/obs/tracing"
)

// TestLateInnerMiddleware: a middleware further in may begin to want to know of
// a request on another goroutine, while the first one answers.
func TestLateInnerMiddleware(t *testing.T) {
	t.Parallel()
	p := tracing.NewProvider(tracing.Options{Disabled: true})
	discard := slog.New(slog.DiscardHandler)
	asked := 0
	wants := Config{Provider: p, Logger: discard, OnEnd: func(*http.Request, Outcome) []slog.Attr {
		asked++
		return nil
	}}
	entered := make(chan struct{})
	inner := wants.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{} }))
	leaves := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		go inner.ServeHTTP(w, r)
		w.WriteHeader(http.StatusNoContent)
		<-entered
	})
	outer := Config{Provider: p, Logger: discard, Access: AccessOff}.Middleware(leaves)
	outer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if asked != 1 {
		t.Errorf("OnEnd was called %d times, want once", asked)
	}
}
