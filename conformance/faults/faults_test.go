//go:build unix

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fault is what the agent does in place of its work, or what is odd about the
// spans.
type fault struct {
	name    string
	do      func(a *agent, w http.ResponseWriter, r *http.Request) bool // true: it has answered
	down    bool                                                        // nobody listens
	forever bool                                                        // it is not over when the spans have ended

	invalid, huge bool // see work

	// The one reason for which kumihimo loses spans, as Stats names it; ""
	// where it loses none.
	reason string
	// Spans may arrive twice: whether the agent had taken them is not to be known.
	twice bool
	// The next attempt, made at once, may succeed: nothing needs to be said.
	quiet bool
}

func status(code int, header ...string) func(*agent, http.ResponseWriter, *http.Request) bool {
	return func(_ *agent, w http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

func portal(_ *agent, w http.ResponseWriter, r *http.Request) bool {
	io.Copy(io.Discard, r.Body)
	w.Header().Del("Datadog-Agent-Version")
	w.Header().Set("Content-Type", "text/html")
	io.WriteString(w, "<!DOCTYPE html><html><body>Please sign in</body></html>")
	return true
}

func resetBefore(_ *agent, w http.ResponseWriter, r *http.Request) bool {
	reset(w, r, 100)
	return true
}

func resetAfter(a *agent, w http.ResponseWriter, r *http.Request) bool {
	if a.take(r) == nil {
		reset(w, r, 0)
		return true
	}
	return false
}

// hang answers late, if the client still waits then.
func hang(wait time.Duration) func(*agent, http.ResponseWriter, *http.Request) bool {
	return func(_ *agent, _ http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body) // or the server would not see the client go
		if err != nil {
			return true
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return true
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return false
	}
}

// limit is an agent that takes bodies of 10 MB.
func limit(_ *agent, w http.ResponseWriter, r *http.Request) bool {
	const most = 10 << 20
	if r.ContentLength <= most {
		return false
	}
	io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	return true
}

// times are those of a run.
type times struct {
	spans  int
	over   time.Duration // the spans end one by one
	fault  time.Duration // from the first span on
	insist bool          // the fault lasts until a request has met it
	hang   time.Duration // of a request that hangs
	settle time.Duration // after the spans, at most
	grace  time.Duration // of the shutdown
}

// The times of the document, and those of each test run. In the first the fault
// outlasts the 5 s after which OpenTelemetry's batch processor sends for the
// first time, as the 2 s of the others.
var (
	full = times{
		spans: 400, over: 8 * time.Second, fault: 6 * time.Second, hang: 12 * time.Second,
		settle: 16 * time.Second, grace: 8 * time.Second,
	}
	short = times{
		spans: 100, over: time.Second, fault: time.Second / 2, insist: true, hang: time.Second / 2,
		settle: 5 * time.Second, grace: time.Minute,
	}
)

func (t times) faults() []fault {
	return []fault{
		{name: "none"},
		{name: "agent down at the start: refused", down: true},
		{name: "401", do: status(401)},
		{name: "403", do: status(403)},
		{name: "404", do: status(404), quiet: true},
		{name: "408", do: status(408)},
		{name: "413, whatever the size", do: status(413), quiet: true},
		{name: "429, Retry-After: 1", do: status(429, "Retry-After", "1")},
		{name: "500", do: status(500)},
		{name: "502", do: status(502)},
		{name: "503", do: status(503)},
		{name: "504", do: status(504)},
		{name: "301 to another host", do: status(301, "Location", "http://127.0.0.1:1/")},
		{name: "200 with an HTML page", do: portal},
		{name: "reset in the middle of the body", do: resetBefore},
		{name: "reset after the agent took it", do: resetAfter, twice: true},
		{name: "hangs for 12 s", do: hang(t.hang), twice: true, quiet: true},
		{name: "400", do: status(400), reason: "rejected", quiet: true},
		{name: "1 of 100 spans has invalid UTF-8, no fault", invalid: true},
		{name: "one span of 12 MB, the agent takes 10", do: limit, forever: true, huge: true, quiet: true},
		{name: "never answers, then shutdown", do: hang(time.Hour), forever: true, reason: "shutdown"},
	}
}

// A row is what came of a fault with one client.
type row struct {
	Fault, Client string
	Ended         int
	Sent          int // distinct spans that ended and that the agent has
	Lost          int
	Twice         int           // spans that the agent has once too often
	Last          time.Duration // the last new span came so long after the first had ended
	Requests      int
	sent
}

// run sends spans to an agent with a fault. c stands in for the process that it
// starts otherwise.
func run(ctx context.Context, t times, f fault, name string, c client) (r row, err error) {
	a, err := startAgent(f)
	if err != nil {
		return r, err
	}
	defer a.close()
	a.insist = t.insist
	w := work{Client: name, URL: a.url, Spans: t.spans, Over: t.over, Grace: t.grace}
	if f.invalid {
		w.Invalid = 100
	}
	if f.huge {
		w.Huge = 12 << 20
	}
	if c == nil {
		c = process
	}
	var began time.Time
	var watching sync.WaitGroup
	done := make(chan struct{})
	s, err := c(ctx, w, func() {
		began = time.Now()
		watching.Go(func() { a.watch(began, t, done) })
	}, done)
	watching.Wait()
	if err != nil {
		return r, fmt.Errorf("%s, %s: %w", f.name, name, err)
	}
	r = row{Fault: f.name, Client: name, Ended: len(s.IDs), sent: s}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range s.IDs {
		if n := a.taken[id]; n > 0 {
			r.Sent++
			r.Twice += n - 1
		}
	}
	r.Lost, r.Requests = r.Ended-r.Sent, a.requests
	if r.Sent > 0 {
		r.Last = a.last.Sub(began)
	}
	r.IDs = nil
	return r, nil
}

// watch ends the fault in time, and closes done once all spans are there or
// nothing more is to be waited for.
func (a *agent) watch(began time.Time, t times, done chan<- struct{}) {
	defer close(done)
	over := began.Add(t.fault)
	if a.fault.forever {
		over = began.Add(time.Hour)
	}
	a.endFault(over)
	give := began.Add(t.over + t.settle)
	if a.fault.reason == "shutdown" {
		give = began.Add(t.over + t.over/4)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for now := range tick.C {
		if a.fault.down && a.served == nil && now.After(over) {
			if err := a.listen(); err != nil {
				return // which shows as lost spans
			}
		}
		if a.count() == t.spans || now.After(give) {
			return
		}
	}
}

func (a *agent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.taken)
}

// process runs a client in a process of its own.
func process(ctx context.Context, w work, begin func(), done <-chan struct{}) (s sent, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	text, err := json.Marshal(w)
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), workVariable+"="+string(text), "DD_TRACE_STARTUP_LOGS=false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return s, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := cmd.Start(); err != nil {
		return s, err
	}
	result := errors.New("no result")
	out := bufio.NewScanner(stdout)
	out.Buffer(nil, 1<<20)
	for out.Scan() {
		line, isResult := strings.CutPrefix(out.Text(), resultPrefix)
		switch {
		case isResult:
			result = json.Unmarshal([]byte(line), &s)
		case line == beginLine:
			begin()
			go func() { // cmd.Wait closes stdin too
				<-done
				stdin.Close()
			}()
		}
	}
	if err := errors.Join(out.Err(), cmd.Wait(), result); err != nil {
		return s, fmt.Errorf("%w: %.2000s", err, stderr.String())
	}
	return s, nil
}

// TestNothingLost sends fewer spans in less time than the document's, through
// kumihimo alone: none may be lost but for the reason that its row gives.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	for _, f := range short.faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r, err := run(t.Context(), short.patient(f), f, kumihimo, runKumihimo)
			if err != nil {
				t.Fatal(err)
			}
			r.check(t, f)
			t.Logf("%+v", r)
		})
	}
}

// patient gives no time to a shutdown that has no chance.
func (t times) patient(f fault) times {
	if f.reason == "shutdown" {
		t.grace = 500 * time.Millisecond
	}
	return t
}

// check compares kumihimo's account with what the agent has.
func (r row) check(t *testing.T, f fault) {
	t.Helper()
	dropped := int64(0)
	for _, n := range r.Dropped {
		dropped += n
	}
	switch {
	case f.reason == "" && r.Lost != 0:
		t.Errorf("%s: %d of %d spans lost: %v", f.name, r.Lost, r.Ended, r.Dropped)
	case dropped != r.Dropped[f.reason]:
		t.Errorf("%s: lost for %v, want no reason but %q", f.name, r.Dropped, f.reason)
	case f.forever && f.reason != "" && r.Lost == 0:
		t.Errorf("%s: no span lost: the fault has no teeth", f.name)
	case r.Counted+dropped != int64(r.Ended):
		t.Errorf("%s: %d sent and %d dropped of %d", f.name, r.Counted, dropped, r.Ended)
	case dropped != int64(r.Lost):
		t.Errorf("%s: says it lost %d spans, the agent lacks %d", f.name, dropped, r.Lost)
	case !f.twice && r.Twice != 0:
		t.Errorf("%s: %d spans came twice", f.name, r.Twice)
	case f.do != nil && !f.quiet && len(r.Reports) == 0:
		t.Errorf("%s: nothing was reported", f.name)
	}
	for text, n := range r.Reports {
		if n != 1 {
			t.Errorf("%s: %q was said %d times", f.name, text, n)
		}
	}
}
