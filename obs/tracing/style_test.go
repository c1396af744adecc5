package tracing

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStyles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{" , ", nil},
		{"datadog", []string{"datadog"}},
		{" TraceContext,baggage , DATADOG", []string{"tracecontext", "baggage", "datadog"}},
		{"b3multi,b3 single header,b3", []string{"b3multi", "b3 single header"}},
		{"none", []string{"none"}},
		{"none,none", []string{"none"}},
		{"none,datadog", []string{"datadog"}},
	}
	for _, tt := range tests {
		got, err := ParseStyles(tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("ParseStyles(%q): %v (-want +got):\n%s", tt.in, err, diff)
		}
		NewPropagator(PropagatorOptions{Extract: got, Inject: got}) // takes them all
	}
	_, err := ParseStyles("datadog, jaeger")
	if err == nil || !strings.Contains(err.Error(), `"jaeger"`) || !strings.Contains(err.Error(), "b3 single header") {
		t.Errorf("got error %v, want one that names the unknown style and lists the known", err)
	}
}

func TestNewPropagatorPanicsOnUnknownStyle(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p != "tracing: NewPropagator: unknown style jaeger" {
			t.Errorf("got panic %v", p)
		}
	}()
	NewPropagator(PropagatorOptions{Inject: []string{"jaeger"}})
}

func TestFields(t *testing.T) {
	t.Parallel()
	all := []string{"b3multi", "b3", "datadog", "baggage", "tracecontext", "b3"}
	want := []string{
		"x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "b3",
		"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-origin", "x-datadog-tags",
		"traceparent", "tracestate", "baggage",
	}
	if diff := cmp.Diff(want, NewPropagator(PropagatorOptions{Inject: all}).Fields()); diff != "" {
		t.Error(diff)
	}
	if got := NewPropagator(PropagatorOptions{Inject: []string{"none"}}).Fields(); len(got) != 0 {
		t.Errorf("none: got %v", got)
	}
}
