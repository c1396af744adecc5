//go:build unix

package benchmarks

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// A sink is a local backend that discards what it gets. It speaks enough of
// the agent's protocol for the tracers: v0.4 and v1.0 are both offered.
type sink struct {
	*httptest.Server
	bytes  atomic.Int64
	traces atomic.Int64 // by X-Datadog-Trace-Count
}

func newSink(tb testing.TB) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Datadog-Agent-Version", "7.0.0")
		if r.URL.Path == "/info" {
			io.WriteString(w, `{"version":"7.0.0","endpoints":["/v0.4/traces","/v1.0/traces"],"client_drop_p0s":false}`) //nolint:errcheck // the client sees it
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.bytes.Add(n)
		if c, err := strconv.Atoi(r.Header.Get("X-Datadog-Trace-Count")); err == nil {
			s.traces.Add(int64(c))
		}
		io.WriteString(w, `{"rate_by_service":{}}`) //nolint:errcheck // the client sees it
	}))
	tb.Cleanup(s.Close)
	return s
}

// A spanner starts and ends traces.
type spanner struct {
	trace     func()       // its spans: start, ten attributes, end; the root ends last
	flush     func()       // waits until everything has left
	delivered func() int64 // traces
}

var spanPeers = []struct {
	name string
	new  func(tb testing.TB, s *sink, spans int) spanner // of so many spans a trace
}{
	{"kumihimo", newKumihimoSpanner},
	{"otlptracehttp", newOTLPSpanner},
	{"dd-trace-go", newDatadogSpanner},
	{"sdk-alone", newSDKSpanner(nopProcessor{})},
	{"sdk-read", newSDKSpanner(readingProcessor{})},
}

func traceWith(tp trace.TracerProvider, spans int) func() {
	tr, attrs := tp.Tracer("benchmarks"), spanAttrs()
	server, client := trace.WithSpanKind(trace.SpanKindServer), trace.WithSpanKind(trace.SpanKindClient)
	return func() {
		ctx, root := tr.Start(context.Background(), "GET /api/v1/users/{id}", server)
		root.SetAttributes(attrs...)
		for range spans - 1 {
			_, child := tr.Start(ctx, "GET", client)
			child.SetAttributes(attrs...)
			child.End()
		}
		root.End()
	}
}

func newKumihimoSpanner(tb testing.TB, s *sink, spans int) spanner {
	tel := newTelemetry(tb, obs.Options{AgentURL: s.URL, AgentAuth: "none", Sampler: sdktrace.AlwaysSample()})
	return spanner{
		trace: traceWith(tel.TracerProvider(), spans),
		flush: func() {
			if err := tel.Flush(context.Background()); err != nil {
				tb.Fatal(err)
			}
		},
		delivered: s.traces.Load,
	}
}

// countingExporter counts the spans of successful exports.
type countingExporter struct {
	sdktrace.SpanExporter
	n atomic.Int64
}

func (c *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.n.Add(int64(len(spans)))
	}
	return err
}

func newOTLPSpanner(tb testing.TB, s *sink, spans int) spanner {
	client := otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(s.URL + "/v1/traces"))
	exp, err := otlptrace.New(context.Background(), client)
	if err != nil {
		tb.Fatal(err)
	}
	count := &countingExporter{SpanExporter: exp}
	// Without WithBlocking it drops what it should have paid for.
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithBatcher(count, sdktrace.WithBlocking()))
	tb.Cleanup(func() {
		if err := tp.Shutdown(context.Background()); err != nil {
			tb.Logf("shutdown: %v", err)
		}
	})
	return spanner{
		trace: traceWith(tp, spans),
		flush: func() {
			if err := tp.ForceFlush(context.Background()); err != nil {
				tb.Fatal(err)
			}
		},
		delivered: func() int64 { return count.n.Load() / int64(spans) },
	}
}

// newSDKSpanner makes a floor: spans that go nowhere.
func newSDKSpanner(p sdktrace.SpanProcessor) func(testing.TB, *sink, int) spanner {
	return func(_ testing.TB, _ *sink, spans int) spanner {
		tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(p))
		return spanner{trace: traceWith(tp, spans), flush: func() {}, delivered: func() int64 { return 0 }}
	}
}

// readingProcessor reads what an exporter must, and does nothing with it.
type readingProcessor struct{ nopProcessor }

// read keeps the compiler from leaving the reading out.
var read atomic.Int64

func (readingProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	n := len(s.Name()) + len(s.Events()) + len(s.Links()) + len(s.Status().Description) + int(s.SpanKind()) + s.Resource().Len()
	sc, parent, scope := s.SpanContext(), s.Parent(), s.InstrumentationScope()
	n += int(sc.TraceFlags()) + int(parent.TraceFlags()) + len(scope.Name)
	attrs := s.Attributes()
	for i := range attrs {
		n += len(attrs[i].Key) + int(attrs[i].Value.Type())
	}
	read.Store(int64(n) + int64(s.EndTime().Sub(s.StartTime())))
}

func newDatadogSpanner(tb testing.TB, s *sink, spans int) spanner {
	tb.Setenv("DD_REMOTE_CONFIGURATION_ENABLED", "false")
	tb.Setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
	tb.Setenv("DD_TRACE_STARTUP_LOGS", "false")
	tb.Setenv("DD_RUNTIME_METRICS_ENABLED", "false")
	if err := tracer.Start(tracer.WithAgentURL(s.URL), tracer.WithService(service), tracer.WithEnv(env), tracer.WithServiceVersion(version),
		tracer.WithLogger(discardLogger{})); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(tracer.Stop)
	attrs := spanAttrs()
	var traces int64
	return spanner{
		trace: func() {
			traces++
			root := tracer.StartSpan("http.server.request", tracer.ResourceName("GET /api/v1/users/{id}"), tracer.SpanType("web"))
			for _, a := range attrs {
				setTag(root, a)
			}
			for range spans - 1 {
				child := root.StartChild("http.client.request", tracer.ResourceName("GET"), tracer.SpanType("http"))
				for _, a := range attrs {
					setTag(child, a)
				}
				child.Finish()
			}
			root.Finish()
		},
		// Flush is not synchronous, and takes only what its worker has already
		// seen: ask again until the sink has all, but do not wait for the dropped.
		flush: func() {
			for deadline := time.Now().Add(time.Second); s.traces.Load() < traces && time.Now().Before(deadline); {
				tracer.Flush()
				time.Sleep(time.Millisecond)
			}
		},
		delivered: s.traces.Load,
	}
}

// setTag sets a tag without the boxing that AsInterface would add.
func setTag(sp *tracer.Span, a attribute.KeyValue) {
	switch a.Value.Type() {
	case attribute.STRING:
		sp.SetTag(string(a.Key), a.Value.AsString())
	case attribute.INT64:
		sp.SetTag(string(a.Key), a.Value.AsInt64())
	case attribute.FLOAT64:
		sp.SetTag(string(a.Key), a.Value.AsFloat64())
	case attribute.BOOL:
		sp.SetTag(string(a.Key), a.Value.AsBool())
	}
}

type discardLogger struct{}

func (discardLogger) Log(string) {}

// BenchmarkSpan is a span from start to its bytes at a local server, one span
// a trace, in CPU time of the process (cpu-ns/op), the server's reading and
// discarding included. delivered-% must be about 100, or a peer is cheap
// because it dropped.
func BenchmarkSpan(b *testing.B) { benchmarkTraces(b, 1) }

// BenchmarkTrace is BenchmarkSpan for a trace of ten.
func BenchmarkTrace(b *testing.B) { benchmarkTraces(b, 10) }

func benchmarkTraces(b *testing.B, spans int) {
	for _, p := range spanPeers {
		b.Run(p.name, func(b *testing.B) {
			s := newSink(b)
			sp := p.new(b, s, spans)
			sp.trace()
			sp.flush()
			before, bytes := sp.delivered(), s.bytes.Load()
			b.ReportAllocs()
			cpu := cpuTime(b)
			for n := 0; b.Loop(); n++ {
				sp.trace()
				// A service's request waits somewhere; a loop that never does
				// starves a peer's worker on one P, and it drops.
				if n%100 == 99 {
					runtime.Gosched()
				}
			}
			sp.flush()
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(100*float64(sp.delivered()-before)/float64(b.N), "delivered-%")
			b.ReportMetric(float64(s.bytes.Load()-bytes)/float64(b.N), "wire-B/op")
		})
	}
}

// cpuTime is the process's user and system time so far.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSpanParity shows that every peer delivers every span of a load that it
// is given time for.
func TestSpanParity(t *testing.T) {
	for _, p := range spanPeers {
		if strings.HasPrefix(p.name, "sdk-") {
			continue // a floor, it delivers nothing
		}
		t.Run(p.name, func(t *testing.T) {
			const n = 50
			s := newSink(t)
			sp := p.new(t, s, 2)
			for range n {
				sp.trace()
			}
			sp.flush()
			if got := sp.delivered(); got != n {
				t.Errorf("got %d of %d traces", got, n)
			}
			if per := s.bytes.Load() / (2 * n); per < 60 {
				t.Errorf("%d bytes a span: they cannot hold ten attributes", per)
			}
		})
	}
}
