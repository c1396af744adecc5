package emulator_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// TestDecidedLate sends what is known of a trace only when its spans have
// ended: that it is refused after all, and that its tags had no room in a
// request's headers.
func TestDecidedLate(t *testing.T) {
	t.Parallel()
	a, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	tel, err := obs.New(t.Context(), obs.Options{
		Service: "shop", AgentURL: a.URL(), AgentAuth: "none", LogWriter: io.Discard,
		SamplingRules: []tracing.SamplingRule{{Resource: "health*"}, {Rate: 1}},
		// One span a day: what a kept trace took of it would be missed.
		SpanSamplingRules: []tracing.SamplingRule{{Resource: "pay*", Rate: 1, MaxPerSecond: 1. / 86400}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tracer := tel.TracerProvider().Tracer("test")
	pipeline := tel.TracerProvider().(obsctx.Source).Pipeline(t.Context())
	for _, tt := range []struct{ child, root string }{{"pay kept", "users"}, {"pay refused", "healthz"}, {"pay too much", "healthy"}} {
		ctx, root := tracer.Start(t.Context(), "GET")
		_, child := tracer.Start(ctx, tt.child)
		child.End()
		root.SetName(tt.root)
		root.End()
	}
	in := http.Header{}
	in.Set("x-datadog-trace-id", "42")
	in.Set("x-datadog-parent-id", "7")
	in.Set("x-datadog-tags", "_dd.p.a="+strings.Repeat("x", 504))
	ctx, root := tracer.Start(pipeline.Propagator.Extract(t.Context(), propagation.HeaderCarrier(in)), "tagged")
	pipeline.Propagator.Inject(ctx, propagation.HeaderCarrier{})
	root.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, err := a.WaitSpans(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	type facts struct{ mechanism, problem string }
	got := map[string]facts{}
	for _, s := range spans {
		f := facts{problem: s.Meta["_dd.propagation_error"]}
		if m, ok := s.Metrics["_dd.span_sampling.mechanism"]; ok {
			f.mechanism = strconv.Itoa(int(m))
		}
		if f != (facts{}) {
			got[s.Resource] = f
		}
	}
	want := map[string]facts{"pay refused": {mechanism: "8"}, "tagged": {problem: "inject_max_size"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(facts{})); diff != "" {
		t.Errorf("single spans and errors (-want +got):\n%s", diff)
	}
}
