package chiobs

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// trusting serves one request after another, and returns the state each one's
// span had.
func trusting(t *testing.T, c Config, propagator tracing.PropagatorOptions) func(headers ...string) *obsctx.Trace {
	t.Helper()
	zero := 0.0
	c.Provider = tracing.NewProvider(tracing.Options{
		Propagator: tracing.NewPropagator(propagator),
		Sampler:    tracing.NewSampler(tracing.SamplerOptions{Rate: &zero}), // tells apart who decided
	})
	c.Logger = slog.New(slog.DiscardHandler)
	var got *obsctx.Trace
	h := c.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = obsctx.TraceFrom(r.Context()) }))
	return func(headers ...string) *obsctx.Trace {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		return got
	}
}

func priority(s *obsctx.Trace) int {
	d, _ := s.Decision()
	return d.Priority
}

func from(p string, more ...string) []string {
	return append([]string{"x-datadog-trace-id", "42", "x-datadog-parent-id", "7", "x-datadog-sampling-priority", p}, more...)
}

// A caller may force so many traces a second and no more; what it merely keeps
// is not limited.
func TestForcedTraces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		serve := trusting(t, Config{}, tracing.PropagatorOptions{})
		forced := func(n int, p string, want int) (kept int) {
			for range n {
				s := serve(from(p)...)
				if s.ID != (trace.TraceID{15: 42}) || s.LastParent != (trace.SpanID{7: 7}) {
					t.Fatalf("got %+v, want the caller's trace", s)
				}
				if priority(s) == want {
					kept++
				}
			}
			return kept
		}
		if got := forced(250, "2", 2); got != forcedPerSecond {
			t.Errorf("kept %d of 250 forced at once, want %d", got, forcedPerSecond)
		}
		if got := forced(1, "2", -1); got != 1 {
			t.Error("what is over the limit is not decided here")
		}
		if got := forced(250, "1", 1); got != 250 {
			t.Errorf("followed %d of 250 that came as kept, want all", got)
		}
		if got := forced(250, "-1", -1); got != 250 {
			t.Errorf("followed %d of 250 that came as refused, want all", got)
		}
		time.Sleep(500 * time.Millisecond) // the test's own clock
		if got := forced(250, "2", 2); got != forcedPerSecond/2 {
			t.Errorf("kept %d after half a second, want %d", got, forcedPerSecond/2)
		}
		time.Sleep(time.Hour)
		if got := forced(250, "2", 2); got != forcedPerSecond {
			t.Errorf("kept %d after an hour, want %d", got, forcedPerSecond)
		}
	})
}

func TestBucketIsSafe(t *testing.T) {
	t.Parallel()
	var b bucket
	now := time.Now()
	var mu sync.Mutex
	allowed := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if b.allow(now) {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed != forcedPerSecond {
		t.Errorf("allowed %d, want %d", allowed, forcedPerSecond)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	serve := trusting(t, Config{}, tracing.PropagatorOptions{})
	for origin, want := range map[string]string{"rum": "rum", "synthetics-browser": "synthetics-browser", "lambda": "lambda", "mine": "", "": ""} {
		s := serve(from("1", "x-datadog-origin", origin, "x-datadog-tags", "_dd.p.usr.id=7,other=1")...)
		if s.Origin != want || priority(s) != 1 || s.Tags != "_dd.p.usr.id=7" {
			t.Errorf("%q: got origin %q, tags %q, priority %d", origin, s.Origin, s.Tags, priority(s))
		}
	}
}

// Public callers neither force nor name anything, and a propagator that begins
// anew by itself keeps its link.
func TestPublicTakesNothing(t *testing.T) {
	t.Parallel()
	for _, behavior := range []string{"continue", "restart"} {
		serve := trusting(t, Config{Trust: TrustPublic}, tracing.PropagatorOptions{Behavior: behavior})
		s := serve(from("2", "x-datadog-origin", "rum", "x-datadog-tags", "_dd.p.usr.id=7")...)
		links := 0
		if behavior == "restart" {
			links = 1
		}
		if s.ID == (trace.TraceID{15: 42}) || priority(s) != -1 || s.Origin != "" || s.LastParent.IsValid() || len(s.Links) != links {
			t.Errorf("%s: got %+v", behavior, s)
		}
	}
}

// A context without a state of ours goes through as it is.
func TestForeignPropagator(t *testing.T) {
	t.Parallel()
	h := &handler{}
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	if got := h.checked(ctx); got != ctx {
		t.Error("got another context")
	}
}
