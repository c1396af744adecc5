package benchmarks

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// agents are the conditions a Datadog Agent can be in.
var agents = []struct {
	name string
	url  func(testing.TB) string
}{
	{"healthy", healthyAgent},
	{"dead", deadAgent},
	{"hung", hungAgent},
}

func healthyAgent(tb testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client sees it
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Datadog-Agent-Version", "7.0.0")
		io.WriteString(w, `{"rate_by_service":{}}`) //nolint:errcheck // the client sees it
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// deadAgent is a port where nobody listens.
func deadAgent(tb testing.TB) string {
	ln := listen(tb)
	url := "http://" + ln.Addr().String()
	ln.Close()
	return url
}

// hungAgent accepts connections and never says a word.
func hungAgent(tb testing.TB) string {
	ln := listen(tb)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			tb.Cleanup(func() { c.Close() })
		}
	}()
	return "http://" + ln.Addr().String()
}

func listen(tb testing.TB) net.Listener {
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}

// BenchmarkRequestLatency reports what single requests took: with a dead or
// hung agent the percentiles are those of a healthy one, since no request
// waits for an export. Compare them at the same -benchtime.
func BenchmarkRequestLatency(b *testing.B) {
	for _, a := range agents {
		b.Run("agent="+a.name, func(b *testing.B) {
			tel := newTelemetry(b, obs.Options{AgentURL: a.url(b), AgentAuth: "none", Sampler: sdktrace.AlwaysSample()})
			h := router(chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger()}.Middleware)
			req, w := newRequest(b.Context()), &responseWriter{header: make(http.Header)}
			took := make([]time.Duration, 0, 1<<20)
			for b.Loop() {
				w.reset()
				start := time.Now()
				h.ServeHTTP(w, req)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(float64(took[len(took)*999/1000]), "p999-ns")
		})
	}
}
