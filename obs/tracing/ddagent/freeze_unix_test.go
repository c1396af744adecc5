//go:build unix

package ddagent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

const frozenChildURL = "DDAGENT_TEST_FROZEN_CHILD"

// TestFrozenChild is the process that TestSIGSTOP stops.
func TestFrozenChild(t *testing.T) {
	url := os.Getenv(frozenChildURL)
	if url == "" {
		t.Skip("not a child")
	}
	e := NewExporter(Options{URL: url, FlushInterval: time.Millisecond, HTTPClient: &http.Client{Timeout: time.Second}})
	_, span, _ := localRoot(context.Background(), providerFor(NewProcessor(e, ProcessorOptions{})).Tracer("t"), keepIt)
	span.End()
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := e.Stats()
	fmt.Printf("sent=%d requests=%d retries=%d dropped=%d\n", s.Sent, s.Requests, s.Retries, s.Dropped.Total())
}

// TestSIGSTOP stops a process in mid-request for three times as long as its
// attempts may take. It must take the answer that waits for it and not ask
// again.
func TestSIGSTOP(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3 s")
	}
	t.Parallel()
	const frozen = 3 * time.Second
	var child *exec.Cmd
	started := make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			http.NotFound(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		<-started
		once.Do(func() {
			_ = child.Process.Signal(syscall.SIGSTOP)
			time.Sleep(frozen) // this long, and not until something happens
			_ = child.Process.Signal(syscall.SIGCONT)
			time.Sleep(tickEvery) // the child runs before it has its answer
		})
		io.WriteString(w, "OK")
	}))
	t.Cleanup(server.Close)
	child = exec.Command(os.Args[0], "-test.run=^TestFrozenChild$", "-test.v")
	child.Env = append(os.Environ(), frozenChildURL+"="+server.URL)
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	if err := child.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if want := "sent=1 requests=1 retries=0 dropped=0\n"; !bytes.Contains(out.Bytes(), []byte(want)) {
		t.Errorf("the child says\n%s\nwant %s", out.String(), want)
	}
}
