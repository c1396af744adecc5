package benchmarks

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/riandyrn/otelchi"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// quietPeers make neither a span nor a record of a request, but let the trace
// that it came with pass through.
var quietPeers = []struct {
	name string
	new  func(testing.TB, obs.Options) (func(http.Handler) http.Handler, *obs.Telemetry)
}{
	{"skipped", func(tb testing.TB, o obs.Options) (func(http.Handler) http.Handler, *obs.Telemetry) {
		o.Sampler = sdktrace.AlwaysSample()
		tel := newTelemetry(tb, o)
		skip := func(*http.Request) bool { return true }
		return chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger(), Skip: skip}.Middleware, tel
	}},
	{"disabled", func(tb testing.TB, o obs.Options) (func(http.Handler) http.Handler, *obs.Telemetry) {
		tb.Setenv("DD_TRACE_ENABLED", "false")
		tel := newTelemetry(tb, o)
		return chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger(), Access: chiobs.AccessOff}.Middleware, tel
	}},
	{"otelchi", func(testing.TB, obs.Options) (func(http.Handler) http.Handler, *obs.Telemetry) {
		tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
		return otelchi.Middleware(service, otelchi.WithTracerProvider(tp), otelchi.WithPropagators(propagation.TraceContext{})), nil
	}},
}

const (
	callersTrace  = "67400000000000000badcafe01020304"
	callersParent = "00-" + callersTrace + "-0102030405060708-01"
)

func quietRequest(ctx context.Context) *http.Request {
	r := newRequest(ctx)
	r.Header.Set("Traceparent", callersParent)
	return r
}

func quiet(peer string) func(testing.TB) work {
	return func(tb testing.TB) work {
		for _, p := range quietPeers {
			if p.name == peer {
				mw, _ := p.new(tb, obs.Options{})
				h := router(mw)
				req, w := quietRequest(context.Background()), &responseWriter{header: make(http.Header)}
				return each(func() { w.reset(); h.ServeHTTP(w, req) })
			}
		}
		tb.Fatalf("no peer %s", peer)
		return nil
	}
}

// BenchmarkQuiet is one such request in process.
func BenchmarkQuiet(b *testing.B) {
	for _, p := range quietPeers {
		b.Run(p.name, func(b *testing.B) {
			f := quiet(p.name)(b)
			b.ReportAllocs()
			b.ResetTimer()
			f(b.N)
		})
	}
}

// TestQuietParity: a quiet request leaves no record and no span, and what its
// handler logs and sends has the caller's trace.
func TestQuietParity(t *testing.T) {
	for _, p := range quietPeers[:2] {
		t.Run(p.name, func(t *testing.T) {
			var buf bytes.Buffer
			rec := &spanRecorder{}
			mw, tel := p.new(t, obs.Options{LogWriter: &buf, SpanProcessors: []sdktrace.SpanProcessor{rec}})
			before := otel.GetTracerProvider()
			otel.SetTracerProvider(tel.TracerProvider()) // as obs.Init does
			t.Cleanup(func() { otel.SetTracerProvider(before) })

			var sent http.Header
			client := http.Client{Transport: obs.Transport(roundTrip(func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Clone()
				return acceptAll{}.RoundTrip(r)
			}))}
			h := mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				tel.Logger().InfoContext(r.Context(), "handling")
				out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://billing.example/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(out)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}))
			h.ServeHTTP(&responseWriter{header: make(http.Header)}, quietRequest(t.Context()))

			var line struct {
				Message string
				Trace   string `json:"logging.googleapis.com/trace"`
				Datadog string `json:"dd.trace_id"`
			}
			if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
				t.Fatalf("not the handler's line alone: %s", buf.Bytes())
			}
			if line.Message != "handling" || line.Datadog != callersTrace || !strings.HasSuffix(line.Trace, callersTrace) {
				t.Errorf("logged %+v", line)
			}
			if got := sent.Get("Traceparent"); !strings.HasPrefix(got, "00-"+callersTrace+"-") || sent.Get("X-Datadog-Trace-Id") == "" {
				t.Errorf("sent %v", sent)
			}
			if p.name == "disabled" && len(rec.ended) > 0 || len(rec.ended) > 1 { // a client span is none of the request's
				t.Errorf("%d spans", len(rec.ended))
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
