package obs

import (
	"context"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

const plainReport = "service=shopd (default); log.format=text (detected); log.filter=info (default); "

var (
	half, twenty = 0.5, 20.0

	samplingPrecedence = []precedenceCase{
		{"sampling from Datadog's variables", Options{},
			[]string{`DD_TRACE_SAMPLING_RULES=[{"service":"a"}]`, `DD_SPAN_SAMPLING_RULES=[{},{}]`, "DD_TRACE_RATE_LIMIT=7", "DD_TRACE_SAMPLE_RATE=0.25", "OTEL_TRACES_SAMPLER=always_off"},
			plainReport + "sampling.rules=1 (DD_TRACE_SAMPLING_RULES); sampling.span.rules=2 (DD_SPAN_SAMPLING_RULES); sampling.limit=7 (DD_TRACE_RATE_LIMIT); sample.rate=0.25 (DD_TRACE_SAMPLE_RATE); agent=none (default)"},
		{"sampling from options", Options{SamplingRules: []tracing.SamplingRule{{Rate: 1}}, SpanSamplingRules: []tracing.SamplingRule{}, RateLimit: &twenty, SampleRate: &half},
			[]string{`DD_TRACE_SAMPLING_RULES=broken`, `DD_SPAN_SAMPLING_RULES=broken`, "DD_TRACE_RATE_LIMIT=broken", "DD_TRACE_SAMPLE_RATE=broken"},
			plainReport + "sampling.rules=1 (option); sampling.span.rules=0 (option); sampling.limit=20 (option); sample.rate=0.5 (option); agent=none (default)"},
		{"a limit alone keeps OpenTelemetry's variable out", Options{}, []string{"DD_TRACE_RATE_LIMIT=7", "OTEL_TRACES_SAMPLER=always_off"},
			plainReport + "sampling.limit=7 (DD_TRACE_RATE_LIMIT); agent=none (default)"},
		{"propagation", Options{FrontEnd: "google"}, []string{"DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT=Restart", "DD_TRACE_PROPAGATION_EXTRACT_FIRST=1"},
			plainReport + "front.end=google (option); propagation.extract.first=true (DD_TRACE_PROPAGATION_EXTRACT_FIRST); propagation.extract.behavior=restart (DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT); agent=none (default)"},
	}
)

// TestFrontEnd is where it is expected.
func TestFrontEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		option string
		env    []string
		want   bool
	}{
		{"", nil, false},
		{"", []string{"K_SERVICE=k"}, true},
		{"auto", []string{"FUNCTION_TARGET=f"}, true},
		{"", []string{"CLOUD_RUN_JOB=j"}, false},
		{"none", []string{"K_SERVICE=k"}, false},
		{"google", nil, true},
	} {
		s, err := resolve(Options{FrontEnd: tt.option}, world(tt.env...), redact.New(nil))
		if err != nil || s.frontEnd != tt.want {
			t.Errorf("%q, %v: got %v, %v", tt.option, tt.env, s.frontEnd, err)
		}
	}
}

// TestRulesGoByDatadogsNames: what a user copies from Datadog's UI must match.
func TestRulesGoByDatadogsNames(t *testing.T) {
	t.Parallel()
	tel, err := build(t.Context(), Options{LogWriter: io.Discard}, world(
		`DD_TRACE_SAMPLING_RULES=[{"service":"shop","name":"http.server.request","resource":"GET /healthz","sample_rate":0},{"sample_rate":1}]`, "DD_SERVICE=shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	got := map[string]string{}
	for _, route := range []string{"/healthz", "/users/{id}"} {
		ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "GET", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", "GET")))
		span.SetAttributes(attribute.String("http.route", route))
		c := propagation.MapCarrier{}
		tel.propagator.Inject(ctx, c)
		got[route] = c["x-datadog-sampling-priority"]
	}
	if diff := cmp.Diff(map[string]string{"/healthz": "-1", "/users/{id}": "2"}, got); diff != "" {
		t.Errorf("priorities: -want +got:\n%s", diff)
	}
}

// TestRestart reads the variable, and begins a new trace.
func TestRestart(t *testing.T) {
	t.Parallel()
	tel, err := build(t.Context(), Options{LogWriter: io.Discard}, world("DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT=restart"))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	ctx := tel.propagator.Extract(context.Background(), propagation.MapCarrier{"x-datadog-trace-id": "42", "x-datadog-parent-id": "1"})
	if s := obsctx.TraceFrom(ctx); s == nil || s.ID.IsValid() || len(s.Links) != 1 {
		t.Errorf("got %+v, want a link alone", s)
	}
}
