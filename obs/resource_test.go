package obs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
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

// TestResourceOfPlatform: what the platform tells stands on spans, and on the
// records that leave over OTLP.
func TestResourceOfPlatform(t *testing.T) {
	t.Parallel()
	const google = "dmi=Google Compute Engine"
	for _, tt := range []struct {
		name string
		env  []string
		want map[string]string
	}{
		{"Cloud Run", []string{"K_SERVICE=shop", "K_REVISION=shop-7"},
			map[string]string{"cloud.platform": "gcp_cloud_run", "faas.name": "shop", "faas.version": "shop-7"}},
		{"a job", []string{"CLOUD_RUN_JOB=nightly", "CLOUD_RUN_EXECUTION=nightly-x", "CLOUD_RUN_TASK_INDEX=3"},
			map[string]string{"cloud.platform": "gcp_cloud_run", "faas.name": "nightly", "gcp.cloud_run.job.execution": "nightly-x", "gcp.cloud_run.job.task_index": "3"}},
		{"a function", []string{"FUNCTION_TARGET=Resize", "K_SERVICE=resize", "K_REVISION=resize-2"},
			map[string]string{"cloud.platform": "gcp_cloud_functions", "faas.name": "resize", "faas.version": "resize-2"}},
		{"GKE", []string{google, "KUBERNETES_SERVICE_HOST=h", "HOSTNAME=shop-7d4"},
			map[string]string{"cloud.platform": "gcp_kubernetes_engine", "k8s.pod.name": "shop-7d4"}},
		{"a machine", []string{google}, map[string]string{"cloud.platform": "gcp_compute_engine"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spans, records := tracetest.NewSpanRecorder(), &logs{}
			tel, _ := newTest(t, Options{Service: "shop", AgentURL: agentServer(t), LoggerProvider: records, SpanProcessors: []sdktrace.SpanProcessor{spans}},
				append(tt.env, "GOOGLE_CLOUD_PROJECT=acme", "OBS_AGENT_AUTH=none")...)
			_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
			span.End()
			tt.want["service.name"], tt.want["cloud.provider"], tt.want["cloud.account.id"] = "shop", "gcp", "acme"
			for of, res := range map[string]*resource.Resource{"spans": spans.Ended()[0].Resource(), "records": records.res} {
				for key, want := range tt.want {
					if got, _ := res.Set().Value(attribute.Key(key)); got.String() != want {
						t.Errorf("%s: %s: got %q, want %q; in %s", of, key, got.String(), want, res)
					}
				}
			}
		})
	}
}
