package conformance

import (
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// TestSamplingAtTheAgent sends traces that rules keep and refuse to the real
// trace-agent: what is kept arrives with what it was decided by, of the others
// only the spans that span rules keep.
func TestSamplingAtTheAgent(t *testing.T) {
	a := agent.Start(t)
	tel := newTelemetry(t, obs.Options{
		Service: "shop", AgentURL: a.URL, LogWriter: io.Discard,
		SamplingRules:     []tracing.SamplingRule{{Resource: "health*"}, {Resource: "cart*", Rate: 1}, {Tags: map[string]string{"tenant": "acme"}, Rate: 1}, {}},
		SpanSamplingRules: []tracing.SamplingRule{{Service: "shop", Resource: "pay*", Rate: 1, MaxPerSecond: 50}},
	})
	tracer := tel.TracerProvider().Tracer("conformance")
	for name, late := range map[string]string{"health": "health", "GET": "healthz", "users": "users", "cart": "healthy"} {
		ctx, root := tracer.Start(t.Context(), name)
		_, pay := tracer.Start(ctx, "pay "+name)
		pay.End()
		root.SetName(late)
		root.End()
	}
	for _, tenant := range []string{"acme", "other"} {
		ctx, span := tracer.Start(t.Context(), "tenant")
		_, end := obs.Start(ctx, "pay "+tenant)
		end.End(nil)
		span.SetAttributes(attribute.String("tenant", tenant)) // known late, too
		span.End()
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	var got []string
	for _, s := range a.Spans() {
		text := fmt.Sprintf("%s: priority %d", s.Resource, s.Priority)
		for _, k := range []string{"_dd.rule_psr", "_dd.limit_psr", "_dd.span_sampling.mechanism", "_dd.span_sampling.rule_rate", "_dd.span_sampling.max_per_second"} {
			if v, ok := s.Metrics[k]; ok {
				text += fmt.Sprintf(" %s=%v", k, v)
			}
		}
		got = append(got, text)
	}
	slices.Sort(got)
	const single = " _dd.span_sampling.mechanism=8 _dd.span_sampling.rule_rate=1 _dd.span_sampling.max_per_second=50"
	t.Logf("at the intake:\n%s", agent.Tree(a.Spans()))
	want := []string{
		"pay GET: priority 2" + single,
		"pay acme: priority 2",
		"pay cart: priority 2" + single, // kept until its root ended
		"pay health: priority 2" + single,
		"pay other: priority 2" + single,
		"pay users: priority 2" + single,
		"tenant: priority 2 _dd.rule_psr=1 _dd.limit_psr=1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
