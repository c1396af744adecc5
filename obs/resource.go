package obs

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// resource is what all spans have in common. The SDK's provider merges
// OTEL_RESOURCE_ATTRIBUTES into it by itself, beneath: what settings made of
// the names in it that mean the service, its environment and its version must
// stand here under all of them.
func (s *settings) resource() *resource.Resource {
	kvs := []attribute.KeyValue{semconv.TelemetrySDKName("opentelemetry"), semconv.TelemetrySDKLanguageGo}
	kvs = append(kvs, s.cloud...)
	set := func(value string, keys ...attribute.Key) {
		if value == "" {
			return
		}
		for _, key := range keys {
			kvs = append(kvs, key.String(value))
		}
	}
	if s.platform.google() {
		set(s.projectID, semconv.CloudAccountIDKey)
	}
	for k, v := range s.tags { // what the program says stands above what is detected
		set(v, attribute.Key(k))
	}
	set(s.service, semconv.ServiceNameKey)
	set(s.version, semconv.ServiceVersionKey)
	set(s.env, semconv.DeploymentEnvironmentNameKey)
	if s.otelNames {
		set(s.service, "service")
		set(s.version, "version")
		set(s.env, "env", "deployment.environment")
	}
	return resource.NewWithAttributes(semconv.SchemaURL, kvs...)
}
