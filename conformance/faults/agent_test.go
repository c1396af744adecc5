//go:build unix

package faults

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
)

// agent takes spans in Datadog's protocols and in OTLP, and counts each id: the
// oracle. While its fault is on, requests that carry spans get that instead.
type agent struct {
	url    string
	port   *port
	server *http.Server
	served chan struct{} // nil: it does not listen yet

	mu       sync.Mutex // guards the fields below
	fault    fault
	over     time.Time // the fault's end; zero: not known yet
	insist   bool      // it lasts until a request has met it
	met      bool
	taken    map[uint64]int
	last     time.Time // of a span that had not come before
	requests int
}

// startAgent reserves a port, and listens unless the fault is that nobody does.
func startAgent(f fault) (*agent, error) {
	p, err := reserve()
	if err != nil {
		return nil, err
	}
	a := &agent{url: "http://" + p.addr, port: p, fault: f, taken: make(map[uint64]int)}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	if f.down {
		return a, nil
	}
	return a, a.listen()
}

func (a *agent) listen() error {
	l, err := a.port.listen()
	if err != nil {
		return err
	}
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		a.server.Serve(l)
	}()
	return nil
}

func (a *agent) close() {
	a.server.Close()
	if a.served != nil {
		<-a.served
	}
	a.port.socket.Close()
}

// endFault sets when the fault is over.
func (a *agent) endFault(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = at
}

func (a *agent) faulty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests++
	on := a.over.IsZero() || time.Now().Before(a.over) || a.insist && !a.met
	a.met = a.met || on
	return a.fault.do != nil && on
}

// ServeHTTP is quick to take what it can read.
func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Datadog-Agent-Version", "7.80.0")
	switch {
	case r.URL.Path == "/info":
		io.WriteString(w, `{"version":"7.80.0","endpoints":["/v0.4/traces","/v1.0/traces"],"client_drop_p0s":true,"span_events":true}`)
	case !strings.HasSuffix(r.URL.Path, "/traces"):
		http.NotFound(w, r)
	case a.faulty() && a.fault.do(a, w, r):
	default:
		a.answer(w, r)
	}
}

func (a *agent) answer(w http.ResponseWriter, r *http.Request) {
	if err := a.take(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is a good one
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"rate_by_service":{"service:,env:":1}}`)
}

// take counts the spans of a payload.
func (a *agent) take(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	ids, err := spanIDs(r.URL.Path, body)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if a.taken[id]++; a.taken[id] == 1 {
			a.last = time.Now()
		}
	}
	return nil
}

func spanIDs(path string, body []byte) (ids []uint64, err error) {
	if path == "/v1/traces" {
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			return nil, err
		}
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					ids = append(ids, number([8]byte(s.SpanId)))
				}
			}
		}
		return ids, nil
	}
	spans, err := ddpayload.Decode(strings.Trim(strings.TrimSuffix(path, "/traces"), "/"), body)
	for _, s := range spans {
		ids = append(ids, s.SpanID)
	}
	return ids, err
}

func number(id [8]byte) (n uint64) {
	for _, b := range id {
		n = n<<8 | uint64(b)
	}
	return n
}

// reset ends the connection with a RST after so many bytes of the body, or all
// of it.
func reset(w http.ResponseWriter, r *http.Request, bytes int64) {
	io.Copy(io.Discard, io.LimitReader(r.Body, bytes))
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err) // HTTP/1 connections can be had
	}
	c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed the common way
	c.Close()
}

// TestAgentCounts: what it did not take in full it has not.
func TestAgentCounts(t *testing.T) {
	t.Parallel()
	a, err := startAgent(fault{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	for path, want := range map[string]int{"/v0.4/traces": 400, "/v1/traces": 400, "/info": 200, "/elsewhere": 404} {
		resp, err := http.Post(a.url+path, "application/msgpack", strings.NewReader("\x91"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", path, resp.Status, want)
		}
	}
	if len(a.taken) != 0 || a.requests != 2 {
		t.Errorf("%d spans in %d requests", len(a.taken), a.requests)
	}
}
