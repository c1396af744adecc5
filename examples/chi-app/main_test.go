package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// process is the example as a process of its own.
type process struct {
	cmd    *exec.Cmd
	url    string
	mu     sync.Mutex // guards output
	output bytes.Buffer
	lines  chan string // each line once it has come
}

// binary is where TestMain has built the example.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "chi-app")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "chi-app")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...), lines: make(chan string, 1000)}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			p.mu.Lock()
			p.output.WriteString(sc.Text() + "\n")
			p.mu.Unlock()
			p.lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() // if the test has not ended it
		_ = p.cmd.Wait()
		in.Close()
		<-read
	})
	return p
}

// dead is an address where nobody listens.
const dead = "127.0.0.1:1"

var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// serving waits until the shop listens.
func (p *process) serving(t *testing.T) {
	t.Helper()
	p.url = "http://" + address.FindString(p.wait(t, "serving"))
}

// wait returns once a line with text in it has been printed.
func (p *process) wait(t *testing.T, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a bound, no expectation
	defer cancel()
	for {
		select {
		case line, ok := <-p.lines:
			if strings.Contains(line, text) {
				return line
			}
			if !ok {
				t.Fatalf("the process ended without printing %q:\n%s", text, p.printed())
			}
		case <-ctx.Done():
			t.Fatalf("no line with %q:\n%s", text, p.printed())
		}
	}
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) get(t *testing.T, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.printed())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// interrupt is Ctrl-C. It returns the exit code.
func (p *process) interrupt(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.wait(t, "spans: ")
	_ = p.cmd.Wait() // its error is the exit code
	return p.cmd.ProcessState.ExitCode()
}

// TestProcess asks everything of the example as a stranger would, with an
// empty environment, and reads what it prints.
func TestProcess(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	p.serving(t)
	for _, tt := range []struct {
		path   string
		status int
		body   string
		tree   string // a line of the trace's tree
	}{
		{"/orders/7", 200, `{"id":"7","items":2,"total":39,"inStock":true}`, "stock.count"},
		{"/fail", 500, "payment failed", "charge 9900 cents: card declined"},
		{"/panic", 500, "Internal Server Error", "the shelf is empty"},
		{"/slow", 200, "at last", "wait.for.truck"},
		{"/none", 404, "404 page not found", "GET /none 404"},
	} {
		status, body := p.get(t, tt.path, "Authorization", "Bearer planted-secret")
		if status != tt.status || body != tt.body {
			t.Errorf("%s: got %d %q, want %d %q", tt.path, status, body, tt.status, tt.body)
		}
		p.wait(t, tt.tree)
	}
	if status, body := p.get(t, "/healthz"); status != 200 || body != "ok" {
		t.Errorf("/healthz: got %d %q", status, body)
	}
	p.watched(t)
	if code := p.interrupt(t); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	out := p.printed()
	t.Logf("printed:\n%s", out)
	for _, want := range []string{
		"telemetry started", "order loaded", "stock counted", "GET /orders/7 200", "GET /stock/7 200",
		"panic: the shelf is empty", "spans: 12 ended, 12 sent, 0 lost; the agent has 12",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	for _, never := range []string{"planted", "Bearer", "eyJ", "/healthz"} {
		if strings.Contains(out, never) {
			t.Errorf("the output has %q", never)
		}
	}
}

// watched wants the requests in the viewer, and leaves a page of it open, which
// must not keep the process from ending.
func (p *process) watched(t *testing.T) {
	t.Helper()
	if status, body := p.get(t, "/debug/obs/"); status != 200 || !strings.Contains(body, "app.js") {
		t.Errorf("/debug/obs/: got %d %q", status, body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/debug/obs/api/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	seen := map[string]bool{"GET /orders/{id}": false, "GET /fail": false, "GET /panic": false, "GET /slow": false}
	left := len(seen)
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	for left > 0 && in.Scan() {
		for name, before := range seen {
			if !before && strings.Contains(in.Text(), `"name":"`+name+`"`) {
				seen[name] = true
				left--
			}
		}
		if strings.Contains(in.Text(), "planted-secret") {
			t.Error("the viewer has the secret")
		}
	}
	if left > 0 {
		t.Errorf("seen in the viewer: %v", seen)
	}
}

// TestBackendsDown takes one backend after another away: the services serve,
// and each says once what is failing.
func TestBackendsDown(t *testing.T) {
	t.Parallel()
	authenticated := []string{"GCE_METADATA_HOST=" + dead, "DD_TRACE_AGENT_URL=http://" + dead, "OBS_AGENT_AUTH=google", "OBS_AGENT_AUDIENCE=https://agent.example"}
	tests := []struct {
		name    string
		env     []string
		args    []string
		failing string // said once by shop and once by inventory
		account string
	}{
		{"agent", []string{"DD_TRACE_AGENT_URL=http://" + dead}, nil,
			"does not take spans", "30 ended, 0 sent, 30 lost"},
		{"metadata server", authenticated, nil,
			"no ID token", "30 ended, 0 sent, 30 lost"},
		{"metadata server that lies", append(slices.Clone(authenticated), "GCE_METADATA_HOST="+strings.TrimPrefix(site(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<html>sign in</html>")
		}), "http://")), nil,
			"no ID token", "30 ended, 0 sent, 30 lost"},
		{"metadata server, asked for the project", authenticated, nil,
			"does not tell the project", "30 ended, 0 sent, 30 lost"},
		{"Redis", nil, []string{"-redis", dead, "-redis-key", filepath.Join(t.TempDir(), "key")},
			"shared token cache is of no use", "30 ended, 30 sent, 0 lost; the agent has 30"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, tt.env, tt.args...)
			p.serving(t)
			for range 5 {
				if status, _ := p.get(t, "/orders/7"); status != 200 {
					t.Errorf("got %d, want 200", status)
				}
			}
			p.wait(t, tt.failing)
			p.wait(t, tt.failing)
			if code := p.interrupt(t); code != 0 {
				t.Errorf("exit code: got %d, want 0: a backend that fails fails no program", code)
			}
			out := p.printed()
			if got := strings.Count(out, tt.failing); got != 2 {
				t.Errorf("%q is said %d times, want once a service", tt.failing, got)
			}
			if !strings.Contains(out, tt.account) {
				t.Errorf("the output lacks %q", tt.account)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// TestRedis shares the token: what stands in Redis is sealed, and the second
// service takes it from there.
func TestRedis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	p := start(t, nil, "-redis", server.Addr(), "-redis-key", filepath.Join(t.TempDir(), "key"))
	p.serving(t)
	if status, _ := p.get(t, "/orders/7"); status != 200 {
		t.Errorf("got %d, want 200", status)
	}
	p.wait(t, "stock.count")
	if keys := server.Keys(); len(keys) != 1 || !strings.HasPrefix(keys[0], "kumihimo:") {
		t.Fatalf("keys in Redis: got %q, want one", keys)
	}
	value, err := server.Get(server.Keys()[0])
	if err != nil || len(value) < 500 || strings.Contains(value, "eyJ") {
		t.Errorf("the value in Redis has %d bytes, %v, and shows the token: %t", len(value), err, strings.Contains(value, "eyJ"))
	}
	if code := p.interrupt(t); code != 0 || strings.Contains(p.printed(), "shared token cache is of no use") {
		t.Errorf("exit code %d:\n%s", code, p.printed())
	}
}

// TestSecondInterrupt does not wait for the request in flight.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	p.serving(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) },
	}))
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-asked
	p.get(t, "/healthz") // so that the other is being served, most likely
	for _, next := range []string{"stopping", ""} {
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if next != "" {
			p.wait(t, next)
		}
	}
	_ = p.cmd.Wait() // its error is the exit code
	if code := p.cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code: got %d, want 130:\n%s", code, p.printed())
	}
}

// TestWrongEnvironment: one error names all mistakes.
func TestWrongEnvironment(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"DD_TRACE_AGENT_URL=nonsense:8126", "OBS_LOG_FORMAT=xml", "DD_TRACE_SAMPLE_RATE=-1"})
	p.wait(t, "DD_TRACE_SAMPLE_RATE")
	if err := p.cmd.Wait(); err == nil {
		t.Error("the exit code is 0")
	}
	for _, want := range []string{"DD_TRACE_AGENT_URL", "OBS_LOG_FORMAT", "auto, json or text"} {
		if !strings.Contains(p.printed(), want) {
			t.Errorf("the output lacks %q:\n%s", want, p.printed())
		}
	}
}

func TestLoadKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	first, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadKey(file)
	if err != nil || len(first) != 32 || !bytes.Equal(first, again) {
		t.Errorf("got %d bytes, the same ones again: %t, %v", len(first), bytes.Equal(first, again), err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, want 0600", info.Mode())
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(file); err == nil || !strings.Contains(err.Error(), "want 32") {
		t.Errorf("got %v, want an error with the length", err)
	}
}
