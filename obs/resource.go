package obs

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// resource is what all spans have in common. The SDK's detectors are not asked:
// they read the environment by rules of their own and may start processes.
func (s *settings) resource() *resource.Resource {
	kvs := []attribute.KeyValue{
		semconv.TelemetrySDKName("opentelemetry"), semconv.TelemetrySDKLanguageGo,
		semconv.ServiceName(s.service),
	}
	kvs = append(kvs, s.cloud...)
	set := func(key attribute.Key, value string) {
		if value != "" {
			kvs = append(kvs, key.String(value))
		}
	}
	set(semconv.ServiceVersionKey, s.version)
	set(semconv.DeploymentEnvironmentNameKey, s.env)
	if s.platform.google() {
		set(semconv.CloudAccountIDKey, s.projectID)
	}
	for k, v := range s.tags { // what the program says stands above what is detected
		set(attribute.Key(k), v)
	}
	return resource.NewWithAttributes(semconv.SchemaURL, kvs...)
}
