package benchmarks

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/httplog/v3"
	"github.com/riandyrn/otelchi"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// requestPeers serve the router with a server span and an access record. What
// new returns besides sends the spans that have ended, and waits for it.
var requestPeers = []struct {
	name string
	new  func(tb testing.TB, w io.Writer, export bool, extra sdktrace.SpanProcessor) (_ http.Handler, flush func(context.Context) error)
}{
	{"kumihimo", newKumihimoService},
	{"otelchi+httplog", newOtelchiService},
}

// nopProcessor is an export that costs nothing.
type nopProcessor struct{}

func (nopProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nopProcessor) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nopProcessor) Shutdown(context.Context) error                  { return nil }
func (nopProcessor) ForceFlush(context.Context) error                { return nil }

// acceptAll is a backend in process: it reads a request's body and accepts it.
type acceptAll struct{ body string }

func (a acceptAll) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/json"}, "Datadog-Agent-Version": {"7.0.0"}}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
	}, nil
}

func newKumihimoService(tb testing.TB, w io.Writer, export bool, extra sdktrace.SpanProcessor) (http.Handler, func(context.Context) error) {
	o := obs.Options{LogWriter: w, Sampler: sdktrace.AlwaysSample(), SpanProcessors: []sdktrace.SpanProcessor{extra}}
	if export {
		o.AgentURL, o.AgentAuth = "http://127.0.0.1:8126", "none"
		o.HTTPClient = &http.Client{Transport: acceptAll{`{"rate_by_service":{}}`}}
	}
	tel := newTelemetry(tb, o)
	return router(chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger()}.Middleware), tel.Flush
}

// newOtelchiService is what a chi user assembles today: otelchi for the span,
// httplog in its Google schema for the access record, a handler for the ids.
func newOtelchiService(tb testing.TB, w io.Writer, export bool, extra sdktrace.SpanProcessor) (http.Handler, func(context.Context) error) {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(extra)}
	if export {
		exp, err := otlptracehttp.New(context.Background(), otlptracehttp.WithInsecure(),
			otlptracehttp.WithHTTPClient(&http.Client{Transport: acceptAll{}}))
		if err != nil {
			tb.Fatal(err)
		}
		opts = append(opts, sdktrace.WithBatcher(exp, sdktrace.WithBlocking()))
	}
	tp := sdktrace.NewTracerProvider(opts...)
	tb.Cleanup(func() {
		if err := tp.Shutdown(context.Background()); err != nil {
			tb.Logf("shutdown: %v", err)
		}
	})
	return otelchiRouter(tp, w), tp.ForceFlush
}

func otelchiRouter(tp *sdktrace.TracerProvider, w io.Writer) http.Handler {
	schema := httplog.SchemaGCP
	logger := slog.New(&idHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: schema.ReplaceAttr}), false})
	return router(
		otelchi.Middleware(service, otelchi.WithTracerProvider(tp), otelchi.WithPropagators(propagation.TraceContext{}),
			otelchi.WithRequestMethodInSpanName(true)),
		httplog.RequestLogger(logger, &httplog.Options{Level: slog.LevelInfo, Schema: schema}),
	)
}

// BenchmarkRequest is one request in process: routing, span, access record.
func BenchmarkRequest(b *testing.B) {
	for _, export := range []bool{false, true} {
		kind := "noexport/"
		if export {
			kind = "export/"
		}
		for _, p := range requestPeers {
			b.Run(kind+p.name, func(b *testing.B) {
				h, flush := p.new(b, io.Discard, export, nopProcessor{})
				serve(b, h)
				if err := flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
	b.Run("noexport/chi", func(b *testing.B) { serve(b, router()) })
}

func serve(b *testing.B, h http.Handler) {
	req, w := newRequest(b.Context()), &responseWriter{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		w.reset()
		h.ServeHTTP(w, req)
	}
	if w.status != http.StatusOK || w.bytes == 0 {
		b.Fatalf("status %d, %d bytes", w.status, w.bytes)
	}
}

// spanRecorder keeps what has ended.
type spanRecorder struct {
	nopProcessor
	ended []sdktrace.ReadOnlySpan
}

func (r *spanRecorder) OnEnd(s sdktrace.ReadOnlySpan) { r.ended = append(r.ended, s) }

// TestRequestParity shows that the peers make one server span of the route's
// name and one access record with Cloud Logging's httpRequest and the ids.
func TestRequestParity(t *testing.T) {
	for _, p := range requestPeers {
		t.Run(p.name, func(t *testing.T) {
			var buf bytes.Buffer
			rec := &spanRecorder{}
			h, _ := p.new(t, &buf, false, rec)
			h.ServeHTTP(&responseWriter{header: make(http.Header)}, newRequest(t.Context()))
			t.Logf("%s", buf.Bytes())

			if len(rec.ended) != 1 || rec.ended[0].Name() != "GET /api/v1/users/{id}" {
				t.Errorf("spans: got %v, want one, GET /api/v1/users/{id}", rec.ended)
			}
			var line struct {
				HTTPRequest struct {
					RequestMethod, RequestURL string
					Status                    int
				}
				Trace string `json:"logging.googleapis.com/trace"`
				Span  string `json:"logging.googleapis.com/spanId"`
			}
			if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
				t.Fatalf("not one line of JSON: %v", err)
			}
			if r := line.HTTPRequest; r.RequestMethod != "GET" || r.Status != 200 || !strings.Contains(r.RequestURL, "/api/v1/users/42") {
				t.Errorf("httpRequest: got %+v", r)
			}
			if sc := rec.ended[0].SpanContext(); !strings.HasSuffix(line.Trace, sc.TraceID().String()) || line.Span != sc.SpanID().String() {
				t.Errorf("ids: got %q %q, want those of %v", line.Trace, line.Span, sc)
			}
		})
	}
}
