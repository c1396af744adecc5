package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// site is a web server of somebody's.
func site(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// cloudEnv starts a cloud and returns the environment that points at it, with
// pairs put over it.
func cloudEnv(t *testing.T, o emulator.CloudOptions, pairs ...string) []string {
	t.Helper()
	cloud, err := emulator.StartCloud(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	var env []string
	for name, value := range cloud.Environ() {
		env = append(env, name+"="+value)
	}
	return append(env, pairs...) // of two values the last counts
}

// TestCheck runs the example with -check in set-ups that are well and in such
// as are not, as somebody would whose traces do not arrive.
func TestCheck(t *testing.T) {
	t.Parallel()
	account := emulator.MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"}
	hourAhead := account
	hourAhead.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/identity") { // tokens are made by this machine's clock
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		}
		return false
	}
	key := filepath.Join(t.TempDir(), "key")
	tests := []struct {
		name string
		env  []string
		args []string
		code int
		want []string // in the output, words of one line
	}{
		{"healthy", nil, nil, 0, []string{"metadata ok", "token ok", "frontend ok", "agent ok", "protocol v1.0", "clock ok", "cache skipped"}},
		{"healthy, with Redis", nil, []string{"-redis", miniredis.RunT(t).Addr(), "-redis-key", key}, 0, []string{"cache ok", "agent ok"}},
		{"metadata down", cloudEnv(t, emulator.CloudOptions{}, "GCE_METADATA_HOST="+dead), nil, 1,
			[]string{"metadata failed " + dead, "connection refused", "GCE_METADATA_HOST", "token failed", "frontend skipped"}},
		{"no role", cloudEnv(t, emulator.CloudOptions{Metadata: account, FrontEnd: emulator.FrontEndOptions{Invokers: []string{}}}), nil, 1,
			[]string{"token ok", "frontend failed", "gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=serviceAccount:shop@acme.iam.gserviceaccount.com --role=roles/run.invoker"}},
		{"another audience", cloudEnv(t, emulator.CloudOptions{}, "OBS_AGENT_AUDIENCE=https://other.example"), nil, 1,
			[]string{"frontend failed", "status 401", "--add-custom-audiences=https://other.example"}},
		{"clock off", cloudEnv(t, emulator.CloudOptions{Metadata: hourAhead}), nil, 1, []string{"agent ok", "clock failed", "behind the metadata server's"}},
		{"a page", []string{"DD_TRACE_AGENT_URL=" + site(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>eyJ</html>")
		})}, nil, 1, []string{"frontend skipped", "agent failed", "not an agent's (it is text/html)", "DD_TRACE_AGENT_URL"}},
		{"Redis down", nil, []string{"-redis", dead, "-redis-key", key}, 1, []string{"cache failed", "connection refused", "start Redis", "agent ok"}},
		{"OTLP's port", []string{"DD_TRACE_AGENT_URL=" + site(t, http.NotFound)}, nil, 1, []string{"agent failed", "status 404", "8126"}},
		{"no /info", []string{"DD_TRACE_AGENT_URL=" + site(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v0.4/traces" {
				http.NotFound(w, r)
				return
			}
			io.WriteString(w, `{"rate_by_service":{}}`)
		})}, nil, 0, []string{"agent warning", "takes v0.4", "Collector"}},
		{"no agent at all", []string{"OBS_AGENT_AUTH=none"}, nil, 0, []string{"agent skipped", "DD_TRACE_AGENT_URL is not set"}},
		{"a mistake", []string{"DD_TRACE_AGENT_URL=agent:8126"}, nil, 1, []string{"chi-app: obs: DD_TRACE_AGENT_URL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), binary, append([]string{"-check"}, tt.args...)...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, tt.env...)
			printed, _ := cmd.CombinedOutput() // its error is the exit code
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code: got %d, want %d", code, tt.code)
			}
			out := strings.Join(strings.Fields(string(printed)), " ")
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("the output lacks %q", want)
				}
			}
			if strings.Contains(out, "eyJ") || strings.Contains(out, "telemetry started") {
				t.Error("the output has a token in it, or a log record")
			}
			t.Logf("printed:\n%s", printed)
		})
	}
}
