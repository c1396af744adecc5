package deploy

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"syscall"
	"testing"

	"github.com/kumihimo/kumihimo/conformance/agent"
)

// TestFirstTrace runs the example as docs/cloud-run.md deploys it, beside a
// shared agent and beside a sidecar, asks it what the guide asks, and looks for
// the trace in what Datadog's own trace-agent sends on.
func TestFirstTrace(t *testing.T) {
	t.Parallel()
	calls := run(t, "docs/cloud-run.md")["gcloud"]
	for i, name := range []string{"shared agent", "sidecar"} {
		t.Run(name, func(t *testing.T) {
			datadog := agent.Start(t) // one at a time
			cmd := command(t, documented(t, calls, i).world(t, datadog.URL), "-addr", "127.0.0.1:0")
			out, in := io.Pipe()
			cmd.Stdout, cmd.Stderr = in, in
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				err := cmd.Wait()
				in.Close()
				ended <- err
			}()
			serving := regexp.MustCompile(`"message":"serving".*"address":"([^"]+)"`)
			var printed string
			for lines := bufio.NewScanner(out); lines.Scan(); {
				printed += lines.Text() + "\n"
				if at := serving.FindStringSubmatch(lines.Text()); at != nil {
					get(t, "http://"+at[1]+"/orders/7")
					if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
						t.Error(err)
					}
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("%v\n%s", err, printed)
			}
			spans := datadog.WaitSpans(t, 6)
			for _, s := range spans {
				if s.TraceID != spans[0].TraceID || s.Env != "prod" || s.Version != "1.4.0" {
					t.Errorf("%s %s: trace %s, env %s, version %s", s.Service, s.Resource, s.TraceID, s.Env, s.Version)
				}
				if s.ParentID == 0 && (s.Service != "shop" || s.Resource != "GET /orders/{id}" || s.Name != "http.server.request" || s.Type != "web") {
					t.Errorf("the root is %s %s %s %s", s.Service, s.Name, s.Resource, s.Type)
				}
			}
			t.Logf("%d spans of trace %s", len(spans), spans[0].TraceID)
		})
	}
}

func get(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, resp.Status)
	}
}
