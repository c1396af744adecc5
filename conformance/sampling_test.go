package conformance

import (
	"context"
	"math"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// recordOnly decides as Datadog's sampler does for a trace that is not kept.
type recordOnly struct{}

func (recordOnly) Description() string { return "record only" }
func (recordOnly) ShouldSample(sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return sdktrace.SamplingResult{Decision: sdktrace.RecordOnly}
}

// TestHitsOfThinnedTraces sends ten processes' floods of traces that Datadog
// does not keep. The agent gets a third of them or less, and must count them
// all, to the statistical error: of traces that go out as 1 of N, each adds
// N-1 to the variance.
func TestHitsOfThinnedTraces(t *testing.T) {
	for _, info := range []bool{false, true} {
		t.Run(map[bool]string{false: "v0.4", true: "v1.0"}[info], func(t *testing.T) {
			const processes, traces, limit = 10, 1000, 100
			a := agent.Start(t)
			f := newFront(t, a.URL, info)
			var dropped int64
			for range processes {
				e := ddagent.NewExporter(ddagent.Options{URL: f.URL, Service: "shop", UnsampledPerSecond: limit})
				tr := sdktrace.NewTracerProvider(sdktrace.WithSampler(recordOnly{}), sdktrace.WithSpanProcessor(ddagent.NewProcessor(e, ddagent.ProcessorOptions{}))).Tracer("t")
				for i := range 2 * traces {
					_, span := tr.Start(context.Background(), "GET /", trace.WithSpanKind(server))
					if i%2 == 1 {
						span.SetStatus(codes.Error, "")
					}
					span.End()
				}
				if err := e.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				dropped += e.Stats().Dropped.Unsampled
			}
			a.Stop()
			var hits, errs uint64
			for _, s := range a.Stats() {
				hits, errs = hits+s.Hits, errs+s.Errors
			}
			// Within one second N doubles at 100, 200, 400 and 800 traces. A slow
			// machine takes several seconds, in which N starts where it was.
			sigma := math.Sqrt(processes * (100*1 + 200*3 + 600*15))
			t.Logf("%d traces, %d not sent: %d hits, %d errors, standard error %.0f", 2*processes*traces, dropped, hits, errs, sigma)
			if dropped < processes*traces {
				t.Errorf("only %d of %d traces were not sent", dropped, 2*processes*traces)
			}
			if off := math.Abs(float64(errs) - processes*traces); off > 4*sigma {
				t.Errorf("%d errors counted, want %d: %.1f standard errors off", errs, processes*traces, off/sigma)
			}
			if off := math.Abs(float64(hits) - 2*processes*traces); off > 4*sigma*math.Sqrt2 {
				t.Errorf("%d hits counted, want %d", hits, 2*processes*traces)
			}
		})
	}
}

// TestRatesOfTheAgent: the agent answers with its rates, and a version that it
// gives only to those who sent one.
func TestRatesOfTheAgent(t *testing.T) {
	a := agent.Start(t)
	e := ddagent.NewExporter(ddagent.Options{URL: a.URL, Service: "shop", Env: "prod"})
	if rate, ok := e.Rate("shop", "prod"); ok {
		t.Errorf("a rate of %v before any answer", rate)
	}
	tr := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ddagent.NewProcessor(e, ddagent.ProcessorOptions{}))).Tracer("t")
	// It has rates once it has processed a trace, which its answer does not wait for.
	for tries := 0; ; tries++ {
		_, span := tr.Start(context.Background(), "GET /", trace.WithSpanKind(server))
		span.End()
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		rate, ok := e.Rate("shop", "prod")
		if ok && rate == 1 {
			break
		}
		if ok || tries == 1000 {
			t.Fatalf("rate %v, %v after %d traces; want 1", rate, ok, tries+1)
		}
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Stop()
}

// TestPeerTags: the agent finds the other side of a client's spans in what we
// send, in both encodings.
func TestPeerTags(t *testing.T) {
	for _, info := range []bool{false, true} {
		a := agent.Start(t)
		f := newFront(t, a.URL, info)
		e := ddagent.NewExporter(ddagent.Options{URL: f.URL, Service: "shop"})
		tr := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ddagent.NewProcessor(e, ddagent.ProcessorOptions{}))).Tracer("t")
		_, span := tr.Start(context.Background(), "SELECT", trace.WithSpanKind(client), trace.WithAttributes(
			str("db.system.name", "postgresql"), str("db.namespace", "orders"), str("server.address", "db.internal")))
		span.End()
		_, span = tr.Start(context.Background(), "send", trace.WithSpanKind(producer), trace.WithAttributes(
			str("messaging.system", "kafka"), str("messaging.destination.name", "orders"), str("peer.service", "Mail Queue")))
		span.End()
		if err := e.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.Stop()
		got := make(map[string][]string)
		for _, s := range a.Stats() {
			got[s.Kind] = s.PeerTags
		}
		want := map[string][]string{
			"client":   {"db.name:orders", "db.namespace:orders", "db.system.name:postgresql", "http.server_name:db.internal"},
			"producer": {"messaging.destination.name:orders", "messaging.system:kafka", "peer.service:mail_queue"},
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("/info %v (-want +got):\n%s", info, diff)
		}
	}
}
