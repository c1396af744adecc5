package conformance

import (
	"context"
	"fmt"
	"testing"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// begun is what a service begins with after a request has come.
type begun struct {
	Trace   string // "" for a new one
	Links   []string
	Baggage string
}

// TestBehavior compares DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT and
// _EXTRACT_FIRST.
func TestBehavior(t *testing.T) {
	t.Parallel()
	kept := "x-datadog-sampling-priority: 2\nx-datadog-tags: " + tidA + "\n"
	tests := []struct{ name, headers string }{
		{"nothing", ""},
		{"baggage alone", "baggage: a=1"},
		{"datadog", ddA + kept + "baggage: a=1"},
		{"datadog, not kept", ddA + "x-datadog-sampling-priority: 0"},
		{"tracecontext", w3cA + "baggage: a=1"},
		{"both", ddA + kept + w3cA + "tracestate: dd=s:2,congo=1"},
		{"two traces", ddA + kept + w3cB},
	}
	for _, behavior := range []string{"continue", "restart", "ignore"} {
		for _, first := range []bool{false, true} {
			p := tracing.NewPropagator(tracing.PropagatorOptions{Behavior: behavior, ExtractFirst: first})
			oracle := tracer.NewPropagator(&tracer.PropagatorConfig{MaxTagsHeaderLen: maxTags, BehaviorExtract: behavior, ExtractFirst: &first})
			for _, tt := range tests {
				h := headerOf(tt.headers)
				ctx := p.Extract(context.Background(), propagation.HeaderCarrier(h))
				got := begun{Baggage: baggage.FromContext(ctx).String()}
				if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
					got.Trace = id.String()
				}
				if s := obsctx.TraceFrom(ctx); s != nil {
					for _, l := range s.Links {
						got.Links = append(got.Links, plainLink(ourLink(l)))
					}
				}
				sc, err := oracle.Extract(tracer.HTTPHeadersCarrier(h.Clone()))
				if diff := cmp.Diff(begunAs(sc, err), got); diff != "" {
					t.Errorf("%s, %s, first %v: -dd-trace-go +ours:\n%s", tt.name, behavior, first, diff)
				}
			}
		}
	}
}

func begunAs(sc *tracer.SpanContext, err error) (b begun) {
	if err != nil || sc == nil {
		return b
	}
	if sc.SpanID() != 0 {
		b.Trace = sc.TraceID()
	}
	for _, l := range sc.SpanLinks() {
		b.Links = append(b.Links, plainLink(linkText(fmt.Sprintf("%016x%016x", l.TraceIDHigh, l.TraceID),
			hexID(l.SpanID), int(l.Flags&1), l.Tracestate, l.Attributes)))
	}
	sc.ForeachBaggageItem(func(k, v string) bool {
		b.Baggage = k + "=" + v
		return true
	})
	return b
}
