// Package agent runs Datadog's own trace-agent inside a test, its receiver on a
// loopback port and its writers pointed at an intake that decodes what would
// have gone to Datadog.
//
// agent.go starts and stops it, intake.go receives, span.go says what was
// received in plain Go values.
package agent

import (
	"context"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	gzip "github.com/DataDog/datadog-agent/comp/trace/compression/impl-gzip"
	traceagent "github.com/DataDog/datadog-agent/pkg/trace/agent"
	"github.com/DataDog/datadog-agent/pkg/trace/config"
	"github.com/DataDog/datadog-agent/pkg/trace/telemetry"
	"github.com/DataDog/datadog-go/v5/statsd"
)

// Env is what the agent fills in for spans that name no environment.
const Env = "agent-default"

// Agent is a running trace-agent together with its intake.
type Agent struct {
	// URL is the receiver's, as in DD_TRACE_AGENT_URL.
	URL string

	intake *intake
	server *httptest.Server
	cancel context.CancelFunc
	done   chan struct{} // closed when the agent's Run has returned
	stop   sync.Once
}

// one guards the agent's process-wide state: its logger, the expvars of its
// info package, its list of endpoints. Several agents work one after another.
var one sync.Mutex

// Start runs an agent until Stop or the test's end. configure may change the
// configuration before the agent sees it. Only one agent runs at a time in a
// process; a second Start waits for the first agent's end.
func Start(t testing.TB, configure ...func(*config.AgentConfig)) *Agent {
	t.Helper()
	one.Lock()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		one.Unlock()
		t.Fatalf("agent: %v", err)
	}
	in := newIntake(t)
	server := httptest.NewServer(in)
	cfg := newConfig(ln, server.URL)
	for _, c := range configure {
		c(cfg)
	}
	// Not the test's context: that one ends before t.Cleanup runs, and Stop
	// is where the agent flushes.
	ctx, cancel := context.WithCancel(context.Background())
	ta := traceagent.NewAgent(ctx, cfg, telemetry.NewNoopCollector(), &statsd.NoOpClient{}, gzip.NewComponent())
	ta.Receiver.SetTCPListener(ln)
	a := &Agent{
		URL:    "http://" + ln.Addr().String(),
		intake: in,
		server: server,
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(a.done)
		ta.Run()
	}()
	t.Cleanup(a.Stop)
	return a
}

// newConfig returns the production configuration but for what a test must
// have; the comments say what goes wrong without.
func newConfig(ln net.Listener, intakeURL string) *config.AgentConfig {
	addr := ln.Addr().(*net.TCPAddr)
	cfg := config.New()
	cfg.Endpoints = []*config.Endpoint{{Host: intakeURL, APIKey: "test"}} // an empty key stops the writers
	cfg.Hostname = "conformance"
	cfg.DefaultEnv = Env
	cfg.AgentVersion = "7.0.0"
	cfg.ReceiverHost = addr.IP.String()
	cfg.ReceiverPort = addr.Port // 0 would mean no TCP, whatever the listener
	cfg.MaxConnections = 1000    // 0 means 1: a second connection stalls, and stopping hangs
	cfg.DecoderTimeout = 1000    // ms; 0 means refusing at once under load
	cfg.MaxMemory = 0            // the watchdog would end the process
	cfg.MaxCPU = 0
	cfg.ContainerTags = func(string) ([]string, error) { return nil, nil }
	cfg.StatsdEnabled = false
	cfg.BucketInterval = time.Second
	cfg.TraceWriter.FlushPeriodSeconds = 0.1
	return cfg
}

// Stop ends the agent, which flushes traces and stats first: afterwards Spans
// and Stats hold all there is. Stopping twice is one stop.
func (a *Agent) Stop() {
	a.stop.Do(func() {
		a.cancel()
		<-a.done
		a.server.Close()
		one.Unlock()
	})
}

// Spans returns the spans that have arrived so far, in order of arrival.
func (a *Agent) Spans() []Span {
	a.intake.mu.Lock()
	defer a.intake.mu.Unlock()
	return append([]Span(nil), a.intake.spans...)
}

// Stats returns the statistics that have arrived so far. The agent holds a
// bucket back for seconds, so call it after Stop.
func (a *Agent) Stats() []Stat {
	a.intake.mu.Lock()
	defer a.intake.mu.Unlock()
	return append([]Stat(nil), a.intake.stats...)
}

// WaitSpans waits until at least n spans have arrived and returns all of them;
// the test fails when they do not come within half a minute.
func (a *Agent) WaitSpans(t testing.TB, n int) []Span {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		arrived := a.intake.next()
		spans := a.Spans()
		if len(spans) >= n {
			return spans
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("agent: %d spans at the intake, want %d:\n%s", len(spans), n, Tree(spans))
		}
	}
}
