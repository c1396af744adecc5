package ddagent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// choosing hands spans whose names begin with "pay" on as chosen by a rule.
type choosing struct {
	sdktrace.SpanProcessor
	rule obsctx.Single
}

func (c choosing) OnEnd(s sdktrace.ReadOnlySpan) {
	if strings.HasPrefix(s.Name(), "pay") {
		s = chosenSpan{s, c.rule}
	}
	c.SpanProcessor.OnEnd(s)
}

type chosenSpan struct {
	sdktrace.ReadOnlySpan
	rule obsctx.Single
}

func (s chosenSpan) Single() obsctx.Single { return s.rule }

// What becomes of a single span goes by the decision of its chunk, and asks the
// rule's limit only where the trace is not kept.
func TestSingleSpans(t *testing.T) {
	kept, refused := obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismRule}, obsctx.Decision{Priority: -1, Mechanism: obsctx.MechanismRule}
	tests := []struct {
		name          string
		before, after obsctx.Decision
		limit, asked  int
		want          []string // of the chosen spans
	}{
		{"kept", kept, kept, 2, 0, nil},
		{"refused", refused, refused, 9, 3, []string{"pay 0", "pay 1", "pay 2"}},
		{"refused once it is over", kept, refused, 9, 3, []string{"pay 0", "pay 1", "pay 2"}},
		{"kept once it is over", refused, kept, 9, 0, nil},
		{"beyond the limit", kept, refused, 2, 3, []string{"pay 0", "pay 1"}},
		{"without a limit", kept, refused, -1, 0, []string{"pay 0", "pay 1", "pay 2"}},
	}
	for _, tt := range tests {
		for _, v := range []version{v04, v10} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, Options{}, ProcessorOptions{})
					r.agent.speak("a", v == v10)
					asked := 0
					rule := obsctx.Single{Rate: 0.5, Max: 7, Allow: func() bool { asked++; return asked <= tt.limit }}
					if tt.limit < 0 {
						rule.Max, rule.Allow = 0, nil
					}
					provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(choosing{r.proc, rule}),
						sdktrace.WithResource(resource.Empty()), sdktrace.WithIDGenerator(&counterIDs{}))
					ctx, root, state := localRoot(context.Background(), provider.Tracer("t"), tt.before)
					for _, name := range []string{"pay 0", "get", "pay 1", "pay 2"} {
						_, span := provider.Tracer("t").Start(ctx, name, trace.WithAttributes(attribute.Int("n", 1)))
						span.End()
					}
					state.Pending = &obsctx.Pending{Decide: func() obsctx.Decision { return tt.after }}
					root.End()
					var got []string
					for _, s := range r.flushed()[0] {
						m := s.metrics()
						_, rate := m["_dd.span_sampling.rule_rate"]
						_, most := m["_dd.span_sampling.max_per_second"]
						if _, ok := m["_dd.span_sampling.mechanism"]; !ok {
							if rate || most {
								t.Errorf("%v: marked in part: %v", s["resource"], m)
							}
							continue
						}
						got = append(got, s["resource"].(string))
						if m["_dd.span_sampling.mechanism"] != 8.0 || m["_dd.span_sampling.rule_rate"] != 0.5 || most != (tt.limit >= 0) {
							t.Errorf("%v: marks %v", s["resource"], m)
						}
					}
					if !slices.Equal(got, tt.want) || asked != tt.asked {
						t.Errorf("marked %v, want %v; the limit was asked %d times, want %d", got, tt.want, asked, tt.asked)
					}
					r.stop()
				})
			})
		}
	}
}

// A flood of traces that are not kept is thinned out, but not those with a
// single span to keep.
func TestSingleSpansAreNotThinnedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{UnsampledPerSecond: 1}, ProcessorOptions{})
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(choosing{r.proc, obsctx.Single{Rate: 1}}),
			sdktrace.WithResource(resource.Empty()), sdktrace.WithIDGenerator(&counterIDs{}))
		const n = 200
		for range n {
			for _, name := range []string{"get", "pay"} {
				ctx, root, _ := localRoot(context.Background(), provider.Tracer("t"), obsctx.Decision{Priority: -1})
				_, span := provider.Tracer("t").Start(ctx, name)
				span.End()
				root.End()
			}
		}
		count := map[string]int{}
		for _, chunk := range r.flushed() {
			count[names(chunk)[1]]++
			if _, ok := chunk[0].metrics()[keySampleRate]; ok && names(chunk)[1] == "pay" {
				t.Error("a trace with a single span stands for others")
			}
		}
		if count["pay"] != n || count["get"] > n/2 {
			t.Errorf("%v traces, want all %d with a single span and few others", count, n)
		}
		r.stop()
	})
}
