//go:build unix

package obs

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// For Cloud Run's own order of time:
//
//	go test -run=TestFrozenProcess -v ./obs -freeze=30s
var freeze = flag.Duration("freeze", 3*time.Second, "for how long TestFrozenProcess stops its process each time")

const frozenVar = "OBS_TEST_FROZEN"

// TestFrozenProcessChild makes a span of each line it reads, and says when it
// has been sent.
func TestFrozenProcessChild(t *testing.T) {
	if os.Getenv(frozenVar) == "" {
		t.Skip("not a child")
	}
	tel, err := New(t.Context(), Options{Service: "shop", LogWriter: os.Stderr, LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		_, span := tel.TracerProvider().Tracer("t").Start(context.Background(), lines.Text())
		span.End()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		err := tel.Flush(ctx)
		cancel()
		s := tel.Stats().Spans
		fmt.Printf("sent=%d dropped=%d waiting=%d retries=%d error=%v\n", s.Sent, s.Dropped.Total(), s.Queued+s.InFlight, s.Retries, err)
	}
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// frozenChild is the process, and the requests in which it is stopped.
type frozenChild struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.Writer
	stdout *bufio.Scanner
	log    bytes.Buffer // of the child; read it once the child has ended

	mu   sync.Mutex
	hold func(http.ResponseWriter, *http.Request) bool // what becomes of the next payload
}

// fault stands before the agent, behind the check of the token.
func (c *frozenChild) fault(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return false
	}
	c.mu.Lock()
	hold := c.hold
	c.hold = nil
	c.mu.Unlock()
	return hold != nil && hold(w, r)
}

func (c *frozenChild) begin(name string) {
	if _, err := io.WriteString(c.stdin, name+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// sent waits until the child has sent its span.
func (c *frozenChild) sent(want string) {
	c.t.Helper()
	if !c.stdout.Scan() {
		c.t.Fatalf("the child is gone: %v", c.stdout.Err())
	}
	if got := c.stdout.Text(); got != want {
		c.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// freeze stops the child, and lets meanwhile happen at the end of that.
func (c *frozenChild) freeze(meanwhile func()) {
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(*freeze) // so long, and not until something happens
	meanwhile()
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
}

// during freezes the child while a payload of its is under way, which ends by
// end; then meanwhile happens.
func (c *frozenChild) during(name string, end emulator.Fault, meanwhile func()) {
	reached, released := make(chan struct{}), make(chan struct{})
	answered := make(chan struct{})
	c.mu.Lock()
	c.hold = func(w http.ResponseWriter, r *http.Request) bool {
		defer close(answered)
		body, err := io.ReadAll(r.Body) // it is sent after the header, and the child is to be stopped after both
		if err != nil {
			c.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		close(reached)
		<-released
		return end(w, r)
	}
	c.mu.Unlock()
	c.begin(name)
	<-reached
	c.freeze(func() { close(released); <-answered; meanwhile() })
}

// TestFrozenProcess takes the CPU away from a process as Cloud Run does: between
// requests, while an answer comes, and while an error does. Its tokens
// live no longer than that. Nothing is lost or sent twice, no attempt counts as
// a failure, and the front end sees no token that has expired.
func TestFrozenProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 9 s")
	}
	t.Parallel()
	c := &frozenChild{t: t}
	cloud, _ := startCloud(t, emulator.CloudOptions{
		Metadata: emulator.MetadataServerOptions{TokenLife: max(*freeze, 5*time.Second)},
		Agent:    emulator.AgentOptions{Fault: c.fault},
	})
	c.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFrozenProcessChild$", "-test.timeout=30m")
	c.cmd.Env = append(os.Environ(), frozenVar+"=1")
	for key, value := range cloud.Environ() {
		c.cmd.Env = append(c.cmd.Env, key+"="+value)
	}
	c.cmd.Stderr = &c.log
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin, c.stdout = stdin, bufio.NewScanner(stdout)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	c.begin("before")
	c.sent("sent=1 dropped=0 waiting=0 retries=0 error=<nil>")
	c.freeze(func() {})
	c.begin("after a freeze between requests")
	c.sent("sent=2 dropped=0 waiting=0 retries=0 error=<nil>")
	c.during("an answer came while it was frozen", func(http.ResponseWriter, *http.Request) bool { return false }, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the child may have died
		defer cancel()
		if _, err := cloud.Agent.WaitSpans(ctx, 3); err != nil {
			t.Error(err)
		}
	})
	c.sent("sent=3 dropped=0 waiting=0 retries=0 error=<nil>")
	c.during("an error came while it was frozen", emulator.Status(http.StatusBadGateway), func() {})
	c.sent("sent=4 dropped=0 waiting=0 retries=0 error=<nil>")

	stdin.Close()
	rest, _ := io.ReadAll(stdout) // else Wait would cut it off
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, rest, c.log.String())
	}
	var names []string
	for _, s := range cloud.Agent.Spans() {
		names = append(names, s.Resource)
	}
	if len(names) != 4 {
		t.Errorf("%d spans arrived: %q", len(names), names)
	}
	if n := cloud.FrontEnd.Refused(); n != 0 {
		t.Errorf("%d requests were refused", n)
	}
	for line := range strings.Lines(c.log.String()) {
		if strings.Contains(line, `"WARNING"`) || strings.Contains(line, `"ERROR"`) {
			t.Errorf("the child reports %s", line)
		}
	}
	t.Logf("frozen for %v three times: %d payloads, %d tokens, %d requests refused, spans %q", *freeze,
		cloud.Agent.Requests(), cloud.Metadata.Requests(), cloud.FrontEnd.Refused(), names)
}
