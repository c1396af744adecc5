package obs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestResourceNames: the SDK reads OTEL_RESOURCE_ATTRIBUTES by itself, so what
// was taken from it for the service, its environment and its version, or has
// given way there, must not come back under another of their names. What the
// program says stands above what is detected.
func TestResourceNames(t *testing.T) {
	for _, tt := range []struct {
		name, attributes string
		opts             Options
		want             map[string]string // of the resource, but for the SDK's own
	}{
		{"none", "", Options{Service: "shop"},
			map[string]string{"service.name": "shop"}},
		{"OpenTelemetry's", "service.name=shop,service.version=7,deployment.environment=prod,team=a", Options{},
			map[string]string{"service.name": "shop", "service": "shop", "service.version": "7", "version": "7",
				"deployment.environment.name": "prod", "deployment.environment": "prod", "env": "prod", "team": "a"}},
		{"overruled", "service=x,service.name=y,version=x,service.version=y,env=x,deployment.environment=y,deployment.environment.name=z",
			Options{Service: "shop", Version: "7", Env: "prod"},
			map[string]string{"service.name": "shop", "service": "shop", "service.version": "7", "version": "7",
				"deployment.environment.name": "prod", "deployment.environment": "prod", "env": "prod"}},
		{"the program's tags", "team=a,cloud.provider=x", Options{Service: "shop", Tags: map[string]string{"team": "b", "cloud.provider": "acme"}},
			map[string]string{"service.name": "shop", "service": "shop", "team": "b", "cloud.provider": "acme"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", tt.attributes) // for the SDK
			t.Setenv("OTEL_SERVICE_NAME", "")
			spans := tracetest.NewSpanRecorder()
			tt.opts.SpanProcessors = []sdktrace.SpanProcessor{spans}
			tel, _ := newTest(t, tt.opts, "OTEL_RESOURCE_ATTRIBUTES="+tt.attributes)
			_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
			span.End()
			got := map[string]string{}
			for _, kv := range spans.Ended()[0].Resource().Attributes() {
				got[string(kv.Key)] = kv.Value.String()
			}
			for _, key := range []attribute.Key{"telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version"} {
				delete(got, string(key))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
