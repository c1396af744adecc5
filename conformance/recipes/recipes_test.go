package recipes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
)

// asJob makes the test binary the job of TestJob, and says how it ends.
const asJob = "RECIPES_AS_JOB"

func TestMain(m *testing.M) {
	if how := os.Getenv(asJob); how != "" {
		os.Exit(job(how))
	}
	os.Exit(m.Run())
}

// world is the one obs.Init of the process, and the agent it sends to.
type world struct {
	tel   *obs.Telemetry
	agent *emulator.Agent
	log   *buffer
}

type buffer struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// theWorld stays until the process ends: globals cannot be set twice.
var theWorld = sync.OnceValues(func() (w world, err error) {
	if w.agent, err = emulator.StartAgent(emulator.AgentOptions{}); err != nil {
		return w, err
	}
	w.log = &buffer{}
	w.tel, err = obs.Init(context.Background(), obs.Options{
		Service: "shop", AgentURL: w.agent.URL(), LogWriter: w.log, LogFormat: "json", FrontEnd: "google",
	})
	return w, err
})

func start(t *testing.T) world {
	t.Helper()
	w, err := theWorld()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// spans returns those of a trace that have arrived, by their resources.
func (w world) spans(t *testing.T, traceID string) map[string]emulator.Span {
	t.Helper()
	if err := w.tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := make(map[string]emulator.Span)
	for _, s := range w.agent.Spans() {
		if s.TraceID == traceID {
			m[s.Resource] = s
		}
	}
	return m
}

// job is a Cloud Run job.
func job(how string) int {
	ctx := context.Background()
	tel, err := obs.Init(ctx, obs.Options{Service: "nightly"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	err = RunJob(ctx, tel, []string{"a", "b"}, func(ctx context.Context, item string) error {
		obs.Go(ctx, func(context.Context) { slog.InfoContext(ctx, "left behind", "item", item) })
		switch {
		case item == "a":
			return nil
		case how == "panic":
			panic("no b")
		case how == "error":
			return errors.New("no b")
		}
		return nil
	})
	if err != nil {
		return 1
	}
	return 0
}

// TestJob runs the test binary as a job: its spans arrive however it ends.
func TestJob(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]struct {
		code    int
		message string
	}{"well": {0, ""}, "error": {1, "no b"}, "panic": {2, "no b"}} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			agent, err := emulator.StartAgent(emulator.AgentOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer agent.Close()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = []string{asJob + "=" + how, "DD_TRACE_AGENT_URL=" + agent.URL(), "OBS_LOG_FORMAT=json"}
			cmd.Stderr = io.Discard
			out, err := cmd.Output()
			if got := cmd.ProcessState.ExitCode(); got != want.code {
				t.Fatalf("exit code: got %d (%v), want %d\n%s", got, err, want.code, out)
			}
			spans := agent.Spans()
			if len(spans) != 3 {
				t.Fatalf("got %d spans, want the job's and its two goroutines'", len(spans))
			}
			found := false
			for _, s := range spans {
				if s.Resource == "nightly" {
					found = true
					if s.Error != (want.message != "") || s.Meta["error.message"] != want.message {
						t.Errorf("got error %t, %q, want %q", s.Error, s.Meta["error.message"], want.message)
					}
				}
			}
			if !found || strings.Count(string(out), "left behind") != 2 || !strings.Contains(string(out), `"spans.sent":3`) {
				t.Errorf("got\n%s", out)
			}
		})
	}
}
