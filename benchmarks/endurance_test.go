//go:build linux

package benchmarks

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// Run them with
//
//	go test -run=TestEndurance -v -timeout=10m . -endurance
var endurance = flag.Bool("endurance", false, "run loads that take minutes, each in a process of its own")

// ordeal names the load that a child process runs, and its agent.
const (
	ordealVariable = "BENCHMARKS_ORDEAL"
	agentVariable  = "BENCHMARKS_ORDEAL_AGENT"
)

// steadyTime is how long the steady loads run.
const steadyTime = 20 * time.Second

// verdict is what a child says of its load.
type verdict struct {
	Spans      ddagent.Stats
	CPU        time.Duration // of the load, start-up and shutdown not counted
	PeakRSS    int           // KiB
	PeakQueue  int64         // bytes, of Options.QueueBytes
	Goroutines [2]int        // most in the first and in the second half
	Shutdown   time.Duration
	Left       int // goroutines after it that were not there before the load
}

var ordeals = map[string]struct {
	what       string
	load       func(*testing.T, *obs.Telemetry, *verdict)
	queueBytes int64
	agent      func(testing.TB) string
	check      func(*testing.T, verdict)
	grace      time.Duration // of Shutdown; 0: 30 s
}{
	"burst": {what: "20,000 traces of one span as fast as it goes, one P",
		load: burst(20_000), queueBytes: 16 << 20, agent: healthyAgent, check: allSent(20_000)},
	"burst-slow-agent": {what: "10,000, and an agent that takes 200 ms a request",
		load: burst(10_000), queueBytes: 16 << 20, agent: slowAgent, check: allSent(10_000)},
	"million-spans": {what: "a trace of 1,000,001 spans as fast as it goes",
		load: oneTrace(1_000_000), queueBytes: 16 << 20, agent: healthyAgent, check: accounted(1_000_001)},
	"hung-agent": {what: "1,000 spans, and an agent that never answers: `Shutdown` with a second's grace",
		load: burst(1_000), queueBytes: 16 << 20, agent: hungAgent, check: stoppedInTime, grace: hungGrace},
	"steady-healthy": {what: "1,000 spans a second for 20 s, a queue of 2 MiB",
		load: steady, queueBytes: 2 << 20, agent: healthyAgent, check: steadyRun},
	"steady-dead": {what: "the same, and no agent",
		load: steady, queueBytes: 2 << 20, agent: deadAgent, check: steadyRun},
}

// TestEndurance prints the account, the memory and the processor time of each.
func TestEndurance(t *testing.T) {
	if !*endurance {
		t.Skip("takes minutes; run with -endurance")
	}
	var table strings.Builder
	table.WriteString("| load | spans ended | sent | lost, and counted so | peak memory | queue at most | CPU |\n|---|---|---|---|---|---|---|\n")
	for _, name := range []string{"burst", "burst-slow-agent", "million-spans", "hung-agent"} {
		t.Run(name, func(t *testing.T) {
			v := runOrdeal(t, name)
			ordeals[name].check(t, v)
			table.WriteString(v.row(ordeals[name].what))
		})
	}
	t.Run("agent down for good", func(t *testing.T) {
		healthy, dead := runOrdeal(t, "steady-healthy"), runOrdeal(t, "steady-dead")
		table.WriteString(healthy.row(ordeals["steady-healthy"].what) + dead.row(ordeals["steady-dead"].what))
		steadyRun(t, healthy)
		steadyRun(t, dead)
		if limit := int64(2 << 20); dead.PeakQueue > limit*11/10 || dead.PeakQueue < limit*9/10 {
			t.Errorf("%d bytes were queued of %d", dead.PeakQueue, limit)
		}
		t.Logf("processor time with a dead agent: %.2f of a healthy one's", float64(dead.CPU)/float64(healthy.CPU))
	})
	if *update && !t.Failed() {
		writeSection(t, benchmarksDoc, "endurance", table.String())
	}
}

// row is v's line of the table.
func (v verdict) row(what string) string {
	s, queue := v.Spans, "–" // looked at by the steady loads alone
	if v.PeakQueue > 0 {
		queue = fmt.Sprintf("%.2f MiB", float64(v.PeakQueue)/(1<<20))
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %.0f MiB | %s | %.2f s |\n",
		what, s.Ended, s.Sent, s.Dropped.Total(), float64(v.PeakRSS)/1024, queue, v.CPU.Seconds())
}

func runOrdeal(t *testing.T, name string) (v verdict) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrdeal$", "-test.cpu=1", "-test.v")
	child.Env = append(os.Environ(), ordealVariable+"="+name, agentVariable+"="+ordeals[name].agent(t))
	out, err := child.CombinedOutput()
	_, line, found := bytes.Cut(out, []byte("verdict: "))
	if err != nil || !found {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&v); err != nil {
		t.Fatal(err)
	}
	s := v.Spans
	t.Logf("%s: ended %d, sent %d, dropped %+v, peak RSS %.1f MiB, peak queue %.2f MiB, goroutines %v, CPU %v",
		name, s.Ended, s.Sent, s.Dropped, float64(v.PeakRSS)/1024, float64(v.PeakQueue)/(1<<20), v.Goroutines, v.CPU.Round(time.Millisecond))
	return v
}

// TestOrdeal is the child.
func TestOrdeal(t *testing.T) {
	o, ok := ordeals[os.Getenv(ordealVariable)]
	if !ok {
		t.Skip("not a child")
	}
	tel := newTelemetry(t, obs.Options{
		AgentURL: os.Getenv(agentVariable), AgentAuth: "none", Sampler: sdktrace.AlwaysSample(), QueueBytes: o.queueBytes,
	})
	var v verdict
	goroutines, before := runtime.NumGoroutine(), cpuTime(t)
	o.load(t, tel, &v)
	v.CPU = cpuTime(t) - before
	grace := o.grace
	if grace == 0 {
		grace = 30 * time.Second
	} else {
		time.Sleep(3 * time.Second) // a request is under way
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	start := time.Now()
	if err := tel.Shutdown(ctx); err != nil {
		t.Log(err) // the account says it too
	}
	v.Shutdown = time.Since(start)
	cancel()
	for range 100 { // what a context has ended takes a moment to notice
		if v.Left = runtime.NumGoroutine() - goroutines; v.Left <= 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	v.Spans = tel.Stats().Spans
	v.PeakRSS = peakRSS(t)
	line, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("verdict: %s\n", line)
}

// burst ends traces of one span as fast as it can.
func burst(n int) func(*testing.T, *obs.Telemetry, *verdict) {
	return func(_ *testing.T, tel *obs.Telemetry, _ *verdict) {
		one := traceWith(tel.TracerProvider(), 1)
		for range n {
			one()
		}
	}
}

// oneTrace ends the children of one root, and yields to the exporter as often
// as a request that waits somewhere would.
func oneTrace(n int) func(*testing.T, *obs.Telemetry, *verdict) {
	return func(_ *testing.T, tel *obs.Telemetry, _ *verdict) {
		tr, attrs := tel.TracerProvider().Tracer("benchmarks"), spanAttrs()
		ctx, root := tr.Start(context.Background(), "job", trace.WithSpanKind(trace.SpanKindInternal))
		for i := range n {
			_, child := tr.Start(ctx, "step", trace.WithAttributes(attrs...))
			child.End()
			if i%100 == 99 {
				runtime.Gosched()
			}
		}
		root.End()
	}
}

// steady ends 1,000 spans a second.
func steady(_ *testing.T, tel *obs.Telemetry, v *verdict) {
	one := traceWith(tel.TracerProvider(), 1)
	begin := time.Now()
	for sent := 0; ; time.Sleep(10 * time.Millisecond) {
		run := time.Since(begin)
		if run >= steadyTime {
			return
		}
		for ; sent < int(run.Milliseconds()); sent++ {
			one()
		}
		v.PeakQueue = max(v.PeakQueue, tel.Stats().Spans.QueueBytes)
		if run > steadyTime/10 { // the first connection is there
			half := int(run / (steadyTime/2 + 1))
			v.Goroutines[half] = max(v.Goroutines[half], runtime.NumGoroutine())
		}
	}
}

func allSent(n int64) func(*testing.T, verdict) {
	return func(t *testing.T, v verdict) {
		accounted(n)(t, v)
		if v.Spans.Sent != n {
			t.Errorf("%d of %d spans were sent", v.Spans.Sent, n)
		}
		if v.PeakRSS > 96<<10 {
			t.Errorf("peak RSS %d KiB", v.PeakRSS)
		}
	}
}

func accounted(n int64) func(*testing.T, verdict) {
	return func(t *testing.T, v verdict) {
		s := v.Spans
		if s.Ended != n || s.Ended != s.Sent+s.Dropped.Total()+s.Queued+s.InFlight {
			t.Errorf("%d spans: %+v", n, s)
		}
	}
}

// hungGrace is how long Shutdown may take where it can only fail.
const hungGrace = time.Second

func stoppedInTime(t *testing.T, v verdict) {
	accounted(1_000)(t, v)
	if v.Shutdown > hungGrace+100*time.Millisecond || v.Left > 0 || v.Spans.Dropped.Shutdown != 1_000 {
		t.Errorf("Shutdown took %v, %d goroutines are left: %+v", v.Shutdown, v.Left, v.Spans)
	}
	t.Logf("Shutdown within %v took %v, %d goroutines are left", hungGrace, v.Shutdown.Round(time.Millisecond), max(v.Left, 0))
}

func steadyRun(t *testing.T, v verdict) {
	accounted(v.Spans.Started)(t, v)
	if a, b := v.Goroutines[0], v.Goroutines[1]; b > a {
		t.Errorf("goroutines grew from %d to %d", a, b)
	}
}

// slowAgent takes 200 ms a request.
func slowAgent(tb testing.TB) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client sees it
		time.Sleep(200 * time.Millisecond)
		w.Header().Set("Datadog-Agent-Version", "7.0.0")
		io.WriteString(w, `{"rate_by_service":{}}`) //nolint:errcheck // the client sees it
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// peakRSS returns the most memory the process has had, in KiB.
func peakRSS(tb testing.TB) (kib int) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		tb.Fatal(err)
	}
	return kib
}
