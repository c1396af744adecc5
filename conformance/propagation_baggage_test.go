package conformance

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/obs/tracing"
)

// TestBaggage compares what both propagators make of baggage. Where they
// differ the reason stands beside it.
func TestBaggage(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, "k"+string(rune('a'+i/26))+string(rune('a'+i%26))+"=v")
		}
		return strings.Join(list, ",")
	}
	tests := []struct {
		name, headers string
		why           string            // they differ; "" if not
		ours          map[string]string // where they differ
	}{
		{name: "none"},
		{name: "two", headers: "baggage: a=1,b=2"},
		{name: "blanks", headers: "baggage: a = 1 , b = 2 "},
		{name: "percent-coded", headers: "baggage: a=%20x%C3%A9,b=%2C"},
		{name: "with a trace", headers: ddA + "x-datadog-sampling-priority: 1\nbaggage: a=1"},
		{name: "older headers", headers: ddA + "x-datadog-sampling-priority: 1\not-baggage-a: 1\not-baggage-B: x%20y"},
		{name: "64", headers: "baggage: " + many(64)},
		{name: "65", headers: "baggage: " + many(65)},
		{
			name: "a malformed member", headers: "baggage: a=1,b,c=3",
			why:  "one malformed member does not take the others with it",
			ours: map[string]string{"a": "1", "c": "3"},
		},
		{
			name: "an empty value", headers: "baggage: a=,b=2",
			why:  "W3C's grammar has empty values",
			ours: map[string]string{"a": "", "b": "2"},
		},
		{
			name: "a plus sign", headers: "baggage: a=1+1",
			why:  "a plus sign is no blank in W3C's percent-coding",
			ours: map[string]string{"a": "1+1"},
		},
		{
			name: "properties", headers: "baggage: a=1;p=2",
			why:  "W3C's properties are no part of the value",
			ours: map[string]string{"a": "1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := headerOf(tt.headers)
			want, got := oracleBaggage(t, h), ourBaggage(h)
			if tt.why == "" {
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("-dd-trace-go +ours:\n%s", diff)
				}
				return
			}
			if diff := cmp.Diff(tt.ours, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tt.why, diff)
			}
			if cmp.Equal(want, got, cmpopts.EquateEmpty()) {
				t.Errorf("the oracle agrees: is %q still a difference?", tt.why)
			}
		})
	}
}

func ourBaggage(h http.Header) map[string]string {
	ctx := tracing.NewPropagator(tracing.PropagatorOptions{}).Extract(context.Background(), propagation.HeaderCarrier(h))
	m := map[string]string{}
	for _, member := range baggage.FromContext(ctx).Members() {
		m[member.Key()] = member.Value()
	}
	return m
}

func oracleBaggage(t *testing.T, h http.Header) map[string]string {
	t.Helper()
	m := map[string]string{}
	sc, err := oracleFor([]string{"datadog", "tracecontext", "baggage"}).Extract(tracer.HTTPHeadersCarrier(h.Clone()))
	if errors.Is(err, tracer.ErrSpanContextNotFound) {
		return m
	}
	if err != nil {
		t.Fatal(err)
	}
	sc.ForeachBaggageItem(func(k, v string) bool {
		m[k] = v
		return true
	})
	return m
}

// TestOraclePanics shows the panic that "decide here" steers around, and that
// ours sends the trace on.
func TestOraclePanics(t *testing.T) {
	t.Parallel()
	h := headerOf("x-datadog-trace-id: 42\nx-datadog-parent-id: 10")
	if _, err := factsOfOracle(h, []string{"datadog"}); !errors.Is(err, errPanic) {
		t.Errorf("got %v: the oracle panics no more; let TestPropagator compare these headers as they are", err)
	}
	if got := factsOfOurs(h, []string{"datadog"}); got.Trace != "42" || got.Parent != "10" || got.Flags != "01" {
		t.Errorf("got %+v", got)
	}
}
