package chiobs

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// discard is a slog.Handler that takes every record and costs nothing.
type discard struct{}

func (discard) Enabled(context.Context, slog.Level) bool  { return true }
func (discard) Handle(context.Context, slog.Record) error { return nil }
func (discard) WithAttrs([]slog.Attr) slog.Handler        { return discard{} }
func (discard) WithGroup(string) slog.Handler             { return discard{} }

// source is a pipeline without memory.
type source struct {
	*sdktrace.TracerProvider
	pipeline obsctx.Pipeline
}

func (s *source) Pipeline(context.Context) *obsctx.Pipeline { return &s.pipeline }

// nullWriter keeps nothing: a test's recorder would be measured too.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) WriteHeader(int)             {}
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }

func (w *nullWriter) WriteString(s string) (int, error) { return len(s), nil }

// TestAllocations counts what a request of the usual kind costs over the bare
// router: a route three levels deep, a query, a user agent, a traceparent.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	sampled := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()))
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	tests := []struct {
		name     string
		provider *sdktrace.TracerProvider
		skip     bool
		want     float64 // at most, over the bare router
	}{
		// Three are ours: the request's state, the copy of http.Request, the
		// text of name, message and URL. The others are the SDK's and its
		// propagator's.
		{"span and record", sampled, false, 12},
		{"record without a span", never, false, 10},
		{"skipped", sampled, true, 5}, // the copy of http.Request, the propagator's
	}
	bare := allocsPerRequest(t, nil)
	t.Logf("bare router: %.0f", bare)
	for _, tt := range tests {
		s := &source{TracerProvider: tt.provider, pipeline: obsctx.Pipeline{
			Ingress: propagation.TraceContext{}, Logger: slog.New(discard{}),
		}}
		c := Config{Provider: s, Skip: func(*http.Request) bool { return tt.skip }}
		got := allocsPerRequest(t, c.Middleware) - bare
		t.Logf("%s: %.0f", tt.name, got)
		if got > tt.want {
			t.Errorf("%s: got %.0f allocations over the bare router, want at most %.0f", tt.name, got, tt.want)
		}
	}
}

func allocsPerRequest(tb testing.TB, mw func(http.Handler) http.Handler) float64 {
	h, r, w := usual(tb, mw)
	return testing.AllocsPerRun(200, func() { h.ServeHTTP(w, r) })
}

// usual is a request of the usual kind, and its service.
func usual(tb testing.TB, mw func(http.Handler) http.Handler) (http.Handler, *http.Request, http.ResponseWriter) {
	router := chi.NewRouter()
	if mw != nil {
		router.Use(mw)
	}
	router.Route("/api", func(r chi.Router) {
		r.Route("/v1", func(r chi.Router) {
			r.Get("/users/{id}", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK)
				io.WriteString(w, `{"name":"Ada"}`)
			})
		})
	})
	r, err := http.NewRequestWithContext(tb.Context(), "GET", "http://shop.example/api/v1/users/42?page=2", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	r.RemoteAddr = "203.0.113.7:41234"
	r.Header.Set("User-Agent", "test/1.0")
	r.Header.Set("Traceparent", traceparent)
	return router, r, &nullWriter{make(http.Header)}
}

func BenchmarkRequest(b *testing.B) {
	s := &source{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample())),
		pipeline:       obsctx.Pipeline{Ingress: propagation.TraceContext{}, Logger: slog.New(discard{})},
	}
	skip := func(*http.Request) bool { return true }
	for name, mw := range map[string]func(http.Handler) http.Handler{
		"bare":    nil,
		"traced":  Config{Provider: s}.Middleware,
		"skipped": Config{Provider: s, Skip: skip}.Middleware,
	} {
		b.Run(name, func(b *testing.B) {
			h, r, w := usual(b, mw)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
