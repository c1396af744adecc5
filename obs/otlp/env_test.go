package otlp

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// variables is an environment, "NAME=value" each.
func variables(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if v, ok := strings.CutPrefix(p, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	type want struct {
		Traces, Logs string // the URLs
		Timeout      time.Duration
		Headers      map[string]string
		GZip         bool
	}
	for _, tt := range []struct {
		name string
		opts Options
		env  []string
		want want
	}{
		{"nothing", Options{}, nil, want{"http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs", 10 * time.Second, nil, false}},
		{"a base", Options{}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example/otlp/"},
			want{"https://c.example/otlp/v1/traces", "https://c.example/otlp/v1/logs", 10 * time.Second, nil, false}},
		{"a signal's", Options{}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://l.example:80"},
			want{"https://c.example/v1/traces", "http://l.example:80/", 10 * time.Second, nil, false}},
		{"an option", Options{Endpoint: "http://o.example", Timeout: time.Second}, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c.example/x", "OTEL_EXPORTER_OTLP_TIMEOUT=5000"},
			want{"http://o.example/v1/traces", "http://o.example/v1/logs", time.Second, nil, false}},
		{"a client's timeout", Options{HTTPClient: &http.Client{Timeout: 3 * time.Second}}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT=5000"},
			want{"http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs", 3 * time.Second, nil, false}},
		{"the rest", Options{}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT= 5000 ", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
			"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%2Cb, x-y = z "},
			want{"http://localhost:4318/v1/traces", "http://localhost:4318/v1/logs", 5 * time.Second, map[string]string{"api-key": "a,b", "x-y": "z"}, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tr, err := resolve(tt.opts, traces(), variables(tt.env...))
			if err != nil {
				t.Fatal(err)
			}
			l, err := resolve(tt.opts, logs(), variables(tt.env...))
			if err != nil {
				t.Fatal(err)
			}
			got := want{tr.url.String(), l.url.String(), tr.timeout, tr.headers, tr.gzip}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMistakes: each is named, together, and none is printed that could be a
// secret.
func TestMistakes(t *testing.T) {
	t.Parallel()
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noPEM, []byte("planted"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		opts Options
		env  []string
		want []string
	}{
		{"no scheme", Options{}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317"}, []string{`OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317": want an http or https URL`}},
		{"no host", Options{Endpoint: "http://"}, nil, []string{`Options.Endpoint="http://": want an http`}},
		{"a query", Options{Endpoint: "http://h/?token=planted"}, nil, []string{"Options.Endpoint"}},
		{"a user", Options{Endpoint: "https://ada:planted@h"}, nil, []string{"without user or password"}},
		{"a user in what does not count", Options{Endpoint: "https://h"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://ada:planted@h"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT="}},
		{"malformed, with a user", Options{}, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://ada:planted%zz@h"}, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="}},
		{"gRPC", Options{}, []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, []string{`OTEL_EXPORTER_OTLP_PROTOCOL="grpc": want http/protobuf`}},
		{"compression", Options{}, []string{"OTEL_EXPORTER_OTLP_COMPRESSION=zstd"}, []string{"want gzip or none"}},
		{"headers", Options{}, []string{"OTEL_EXPORTER_OTLP_HEADERS=planted"}, []string{`OTEL_EXPORTER_OTLP_HEADERS="[REDACTED]": want key=value,key=value`}},
		{"a header's name", Options{}, []string{"OTEL_EXPORTER_OTLP_HEADERS=plan ted=x"}, []string{"keys that are names"}},
		{"a header's value", Options{}, []string{"OTEL_EXPORTER_OTLP_HEADERS=api-key=planted%zz"}, []string{`"api-key=[REDACTED]": want values`}},
		{"several", Options{Timeout: -1, QueueBytes: -1}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT=10s"}, []string{`OTEL_EXPORTER_OTLP_TIMEOUT="10s": want a number of milliseconds`, "Options.Timeout", "Options.QueueBytes"}},
		{"no such file", Options{}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere/ca.pem"}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE: open /nowhere/ca.pem"}},
		{"no certificate", Options{Endpoint: "https://h"}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + noPEM}, []string{"want a file of PEM certificates"}},
		{"a certificate for http", Options{}, []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + noPEM}, []string{"want none for an http endpoint"}},
		{"half a pair", Options{Endpoint: "https://h"}, []string{"OTEL_EXPORTER_OTLP_CLIENT_KEY=/nowhere/key.pem"}, []string{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newSenderFrom(t.Context(), tt.opts, traces(), variables(tt.env...))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
}

// TestEnvironment: both constructors read the process's, and agree with
// OpenTelemetry's own packages, which read it too.
func TestEnvironment(t *testing.T) {
	r := &receiver{t: t}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test/base")
	t.Setenv("OTEL_EXPORTER_OTLP_INSECURE", "false") // gRPC's: the URL says it
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=of-traces")
	rig := newRig(t, Options{HTTPClient: &http.Client{Transport: r}})
	rig.receiver = r
	rig.work("x")
	if err := rig.tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.got("span")) != 2 || len(r.got("record")) < 2 {
		t.Errorf("arrived: %v", r.items)
	}
	for _, req := range r.requests {
		want := map[string]string{"/base/v1/traces": "of-traces", "/base/v1/logs": "s3cret"}[req.URL.Path]
		if req.URL.Scheme != "http" || req.Header.Get("Api-Key") != want || req.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s with %v", req.URL, req.Header)
		}
	}
}

// TestResource: what is known of the platform stands on spans and records alike.
func TestResource(t *testing.T) {
	for name, value := range map[string]string{
		"K_SERVICE": "shop-run", "K_REVISION": "shop-run-00042-abc", "GOOGLE_CLOUD_PROJECT": "acme",
		"OTEL_RESOURCE_ATTRIBUTES": "team=orders", "DD_GIT_COMMIT_SHA": "c0ffee",
	} {
		t.Setenv(name, value)
	}
	r := newRig(t, Options{})
	r.work("x")
	if err := r.tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, records := r.got("span"), r.got("record")
	for _, rec := range records {
		if diff := cmp.Diff(spans[0].resource, rec.resource); diff != "" {
			t.Errorf("%s (-span +record):\n%s", rec.text, diff)
		}
	}
	for key, want := range map[string]string{
		"service.name": "shop", "faas.name": "shop-run", "faas.version": "shop-run-00042-abc",
		"cloud.provider": "gcp", "cloud.account.id": "acme", "team": "orders",
	} {
		if got := spans[0].resource[key]; got != want {
			t.Errorf("%s = %q, want %q; in %v", key, got, want, spans[0].resource)
		}
	}
}
