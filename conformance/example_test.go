package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/emulator"
)

// example is examples/chi-app as a process of its own.
type example struct {
	cmd *exec.Cmd
	url string
	mu  sync.Mutex // guards out, and url until listening is closed
	out bytes.Buffer

	listening chan struct{}
}

func (e *example) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out.Write(b)
	if found := serving.FindSubmatch(e.out.Bytes()); found != nil && e.url == "" {
		e.url = "http://" + string(found[1])
		close(e.listening)
	}
	return len(b), nil
}

var serving = regexp.MustCompile(`"serving".*"address":"([^"]+)"`)

func (e *example) printed() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.out.String()
}

// startExample starts it with the given variables and nothing else of the
// environment, and returns once it serves.
func startExample(t *testing.T, env map[string]string) *example {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "chi-app")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./examples/chi-app")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	e := &example{cmd: exec.Command(bin, "-addr", "127.0.0.1:0"), listening: make(chan struct{})}
	e.cmd.Stdout, e.cmd.Stderr = e, e
	e.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range env {
		e.cmd.Env = append(e.cmd.Env, k+"="+v)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.cmd.Process.Kill()
		_ = e.cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-e.listening:
	case <-ctx.Done():
		t.Fatalf("the example does not serve:\n%s", e.printed())
	}
	return e
}

func (e *example) get(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%v\n%s", err, e.printed())
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestExample sends the example's two services through the verifying front end
// to the real trace-agent, and finds every span at the intake.
func TestExample(t *testing.T) {
	a := agent.Start(t)
	cloud, err := emulator.StartCloud(emulator.CloudOptions{AgentURL: a.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	env := map[string]string{"DD_ENV": "prod", "DD_VERSION": "1.2", "OBS_LOG_FORMAT": "json", "GOOGLE_CLOUD_PROJECT": "acme"}
	for k, v := range cloud.Environ() {
		env[k] = v
	}
	e := startExample(t, env)
	for path, want := range map[string]int{"/orders/7": 200, "/fail": 500, "/panic": 500, "/healthz": 200} {
		if got := e.get(t, path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	if err := e.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the example's end: %v\n%s", err, e.printed())
	}
	a.Stop()
	spans := a.Spans()
	t.Logf("at the intake:\n%s", agent.Tree(spans))
	checkShape(t, spans)
	checkStats(t, a.Stats(), spans)
	checkLogs(t, e.printed(), spans)
}

// checkShape compares each span with what it must be, its parent by name.
func checkShape(t *testing.T, spans []agent.Span) {
	t.Helper()
	type shape struct {
		Service, Name, Resource, Type, Kind, Parent, Error string
	}
	byID := make(map[uint64]agent.Span)
	for _, s := range spans {
		byID[s.SpanID] = s
		if s.Env != "prod" || s.Version != "1.2" || s.Priority != 1 {
			t.Errorf("%s: got env %s, version %s, priority %d", s.Resource, s.Env, s.Version, s.Priority)
		}
	}
	got := make(map[shape]int)
	for _, s := range spans {
		parent := ""
		if s.ParentID != 0 {
			p, ok := byID[s.ParentID]
			if !ok || p.TraceID != s.TraceID {
				t.Errorf("%s: its parent is not at the intake", s.Resource)
			}
			parent = p.Service + " " + p.Resource
		}
		message := ""
		if s.Error {
			message = s.Meta["error.message"]
		}
		got[shape{s.Service, s.Name, s.Resource, s.Type, s.Kind, parent, message}]++
	}
	want := map[shape]int{
		{"shop", "http.server.request", "GET /orders/{id}", "web", "server", "", ""}:                                       1,
		{"shop", "Internal", "order.load", "custom", "internal", "shop GET /orders/{id}", ""}:                              1,
		{"shop", "http.client.request", "GET", "http", "client", "shop order.load", ""}:                                    1,
		{"inventory", "http.server.request", "GET /stock/{id}", "web", "server", "shop GET", ""}:                           1,
		{"inventory", "Internal", "stock.count", "custom", "internal", "inventory GET /stock/{id}", ""}:                    1,
		{"shop", "Internal", "order.price", "custom", "internal", "shop order.load", ""}:                                   1,
		{"shop", "http.server.request", "GET /fail", "web", "server", "", "charge 9900 cents: card declined"}:              1,
		{"shop", "Internal", "payment.charge", "custom", "internal", "shop GET /fail", "charge 9900 cents: card declined"}: 1,
		{"shop", "http.server.request", "GET /panic", "web", "server", "", "the shelf is empty"}:                           1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func checkStats(t *testing.T, stats []agent.Stat, spans []agent.Span) {
	t.Helper()
	for _, s := range spans {
		if s.Kind != "server" {
			continue
		}
		want := uint64(0)
		if s.Error {
			want = 1
		}
		if hits, errs := sumHits(stats, s); hits != 1 || errs != want {
			t.Errorf("%s %s: got %d hits, %d errors in the statistics, want 1, %d", s.Service, s.Resource, hits, errs, want)
		}
	}
}

// checkLogs finds for each server span the access record that carries its ids.
func checkLogs(t *testing.T, printed string, spans []agent.Span) {
	t.Helper()
	type record struct {
		Trace    string `json:"dd.trace_id"`
		Service  string `json:"dd.service"`
		Google   string `json:"logging.googleapis.com/trace"`
		Message  string
		Request  struct{ Status int } `json:"httpRequest"`
		Severity string
	}
	found := make(map[string]record)
	for line := range strings.Lines(printed) {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && r.Request.Status != 0 {
			found[r.Service+" "+r.Trace] = r
		}
	}
	for _, s := range spans {
		if s.Kind != "server" {
			continue
		}
		r, ok := found[s.Service+" "+s.TraceID]
		if !ok || !strings.HasPrefix(r.Message, s.Resource) || !strings.HasSuffix(r.Google, "projects/acme/traces/"+s.TraceID) {
			t.Errorf("%s %s: got access record %+v", s.Service, s.Resource, r)
		}
	}
	if t.Failed() {
		t.Log(printed)
	}
}
