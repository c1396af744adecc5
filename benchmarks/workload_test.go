package benchmarks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// The identity every peer logs under.
const (
	service = "shop"
	env     = "prod"
	version = "1.4.2"
	project = "acme-shop"
)

// recordMessage and recordAttrs are a record: ten attributes of the kinds that
// services log, one string to be escaped, one nested group.
const recordMessage = "order placed"

func recordAttrs() []slog.Attr {
	return []slog.Attr{
		slog.Time("placed", time.Date(2026, 3, 1, 12, 30, 0, 123456789, time.UTC)),
		slog.Duration("elapsed", 1534*time.Microsecond),
		slog.Any("error", errors.New("payment: card declined")),
		slog.Int("items", 3),
		slog.Int64("total", 129900),
		slog.String("user", "u-18273645"),
		slog.String("path", "/api/v1/orders/8812"),
		slog.String("comment", "said \"thanks\"\nand left"),
		slog.Bool("gift", true),
		slog.Group("address", slog.String("city", "Kyoto"), slog.String("zip", "600-8216")),
	}
}

// recordContext carries a valid, sampled span.
func recordContext() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    trace.TraceID{0x67, 0x40, 0, 0, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4},
		SpanID:     trace.SpanID{1, 2, 3, 4, 5, 6, 7, 8},
		TraceFlags: trace.FlagsSampled,
	}))
}

// router is the service of a request: a route three levels deep, whose handler
// writes a small JSON body.
func router(middlewares ...func(http.Handler) http.Handler) *chi.Mux {
	r := chi.NewRouter()
	r.Use(middlewares...)
	r.Route("/api", func(r chi.Router) {
		r.Route("/v1", func(r chi.Router) {
			r.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusOK)
				io.WriteString(w, `{"id":"`+chi.URLParam(r, "id")+`","name":"Ada"}`) //nolint:errcheck // a benchmark's own writer
			})
		})
	})
	return r
}

// newRequest is what the service is asked, as a server would hand it on.
func newRequest(ctx context.Context) *http.Request {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/users/42?page=2", http.NoBody)
	req.Host = "shop.example"
	req.RemoteAddr = "203.0.113.7:41234"
	req.Header.Set("User-Agent", "benchmark/1.0")
	req.Header.Set("Accept", "application/json")
	return req
}

// responseWriter keeps nothing: the recorder of httptest would measure itself.
type responseWriter struct {
	header http.Header
	status int
	bytes  int
}

func (w *responseWriter) Header() http.Header         { return w.header }
func (w *responseWriter) WriteHeader(status int)      { w.status = status }
func (w *responseWriter) Write(b []byte) (int, error) { w.bytes += len(b); return len(b), nil }

func (w *responseWriter) reset() {
	clear(w.header)
	w.status, w.bytes = 0, 0
}

// spanAttrs are a span's ten attributes.
func spanAttrs() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", "GET"),
		attribute.String("http.route", "/api/v1/users/{id}"),
		attribute.Int("http.response.status_code", 200),
		attribute.String("url.path", "/api/v1/users/42"),
		attribute.String("url.scheme", "https"),
		attribute.String("server.address", "shop.example"),
		attribute.String("user_agent.original", "benchmark/1.0"),
		attribute.Int("http.response.body.size", 512),
		attribute.Bool("cache.hit", true),
		attribute.Float64("score", 0.75),
	}
}

// newTelemetry makes a pipeline with nothing left to the environment's defaults
// that a benchmark depends on.
func newTelemetry(tb testing.TB, o obs.Options) *obs.Telemetry {
	tb.Helper()
	o.Service, o.Env, o.Version, o.ProjectID = service, env, version, project
	o.LogFormat = "json"
	if o.LogWriter == nil {
		o.LogWriter = io.Discard
	}
	if o.InternalLevel == nil {
		o.InternalLevel = slog.LevelError + 100 // nothing of our own in the measured output
	}
	tel, err := obs.New(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := tel.Shutdown(ctx); err != nil {
			tb.Logf("shutdown: %v", err)
		}
	})
	return tel
}
