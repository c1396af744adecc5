package obs

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// platform is where the program runs, as far as environment variables and one
// file tell: nothing here asks the network.
type platform string

const (
	platformLocal     platform = "local"
	platformCloudRun  platform = "Cloud Run"
	platformJob       platform = "Cloud Run job"
	platformFunctions platform = "Cloud Functions"
	platformGKE       platform = "GKE"
	platformGCE       platform = "Compute Engine"
)

// dmiProductName is what the machine's firmware calls it; Google's virtual
// machines, GKE's nodes among them, say "Google Compute Engine".
const dmiProductName = "/sys/class/dmi/id/product_name"

func detectPlatform(env environment) platform {
	has := func(name string) bool { v, _ := env.lookup(name); return v != "" }
	switch {
	case has("CLOUD_RUN_JOB"):
		return platformJob
	case has("FUNCTION_TARGET"):
		return platformFunctions
	case has("K_SERVICE"):
		return platformCloudRun
	}
	product, _ := env.readFile(dmiProductName)
	if !strings.HasPrefix(strings.TrimSpace(string(product)), "Google") {
		return platformLocal
	}
	if has("KUBERNETES_SERVICE_HOST") {
		return platformGKE
	}
	return platformGCE
}

// google reports whether p is a part of Google Cloud, where JSON logs are read
// and a metadata server answers.
func (p platform) google() bool { return p != platformLocal }

// hasFrontEnd reports whether requests reach p through Google's front end,
// which puts a trace of its own on each.
func (p platform) hasFrontEnd() bool { return p == platformCloudRun || p == platformFunctions }

// attributes are the resource attributes of p that the environment tells.
// https://opentelemetry.io/docs/specs/semconv/resource/faas/
func (p platform) attributes(r *reader) (kvs []attribute.KeyValue) {
	if !p.google() {
		return nil
	}
	kvs = append(kvs, semconv.CloudProviderGCP)
	set := func(key attribute.Key, variable string) {
		if v, _ := r.variable(variable); v != "" {
			kvs = append(kvs, key.String(v))
		}
	}
	switch p {
	case platformCloudRun:
		kvs = append(kvs, semconv.CloudPlatformGCPCloudRun)
		set(semconv.FaaSNameKey, "K_SERVICE")
		set(semconv.FaaSVersionKey, "K_REVISION")
	case platformFunctions:
		kvs = append(kvs, semconv.CloudPlatformGCPCloudFunctions)
		set(semconv.FaaSNameKey, "K_SERVICE")
		set(semconv.FaaSVersionKey, "K_REVISION")
	case platformJob:
		kvs = append(kvs, semconv.CloudPlatformGCPCloudRun)
		set(semconv.FaaSNameKey, "CLOUD_RUN_JOB")
		set(semconv.GCPCloudRunJobExecutionKey, "CLOUD_RUN_EXECUTION")
		set(semconv.GCPCloudRunJobTaskIndexKey, "CLOUD_RUN_TASK_INDEX")
	case platformGKE:
		kvs = append(kvs, semconv.CloudPlatformGCPKubernetesEngine)
		set(semconv.K8SPodNameKey, "HOSTNAME")
	case platformGCE:
		kvs = append(kvs, semconv.CloudPlatformGCPComputeEngine)
	}
	return kvs
}
