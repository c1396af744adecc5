package ddagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// What a trace was decided by stands on its local root, and its rate among the
// propagated tags. An attribute cannot gainsay it.
func TestSampledFacts(t *testing.T) {
	rates := &obsctx.Rates{Rate: 0.5, Limit: 0.25, Tag: "_dd.p.ksr=0.5"}
	unlimited := &obsctx.Rates{Rate: 0.5, Limit: -1, Tag: "_dd.p.ksr=0.5"}
	tests := []struct {
		name string
		d    obsctx.Decision
		want map[string]any
		ksr  any
	}{
		{"none", obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismDefault}, map[string]any{}, nil},
		{"rule", obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismRule, Rates: rates}, map[string]any{"_dd.rule_psr": 0.5, "_dd.limit_psr": 0.25}, "0.5"},
		{"rule that refuses", obsctx.Decision{Priority: -1, Mechanism: obsctx.MechanismRule, Rates: unlimited}, map[string]any{"_dd.rule_psr": 0.5}, "0.5"},
		{"agent", obsctx.Decision{Priority: 0, Mechanism: obsctx.MechanismAgent, Rates: unlimited}, map[string]any{"_dd.agent_psr": 0.5}, "0.5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
				ctx, root, _ := r.trace(tt.d)
				_, child := tracer.Start(ctx, "child")
				child.End()
				root.SetAttributes(attribute.Float64("_dd.rule_psr", 7), attribute.Float64("_dd.agent_psr", 7))
				root.End()
				for i, s := range r.flushed()[0] {
					got, ksr := map[string]any{}, s.meta()["_dd.p.ksr"]
					for _, k := range []string{"_dd.rule_psr", "_dd.limit_psr", "_dd.agent_psr"} {
						if v, ok := s.metrics()[k]; ok {
							got[k] = v
						}
					}
					want, wantKSR := tt.want, tt.ksr
					if i > 0 {
						want, wantKSR = map[string]any{}, nil
					}
					if diff := cmp.Diff(want, got); diff != "" || ksr != wantKSR {
						t.Errorf("span %d: ksr %v, want %v\n-want +got:\n%s", i, ksr, wantKSR, diff)
					}
				}
			})
		})
	}
}

// Why upstream's tags are missing stands on the local root alone.
func TestPropagationError(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, state := r.trace(obsctx.Decision{Priority: 1})
		state.Problem = "decoding_error"
		_, child := tracer.Start(ctx, "child")
		child.End()
		root.SetAttributes(attribute.String("_dd.propagation_error", "none"))
		root.End()
		spans := r.flushed()[0]
		if got := spans[0].meta()["_dd.propagation_error"]; got != "decoding_error" {
			t.Errorf("root: got %v", got)
		}
		if got, ok := spans[1].meta()["_dd.propagation_error"]; ok {
			t.Errorf("child: got %v", got)
		}
	})
}
