package agent

import (
	"compress/gzip"
	"io"
	"net/http"
	"sync"
	"testing"

	pb "github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace"
	"github.com/tinylib/msgp/msgp"
	"google.golang.org/protobuf/proto"
)

// intake stands where Datadog's would: https://trace.agent.datadoghq.com.
type intake struct {
	t testing.TB

	mu      sync.Mutex // guards all below
	spans   []Span
	stats   []Stat
	arrived chan struct{} // closed and replaced at each arrival
}

func newIntake(t testing.TB) *intake {
	return &intake{t: t, arrived: make(chan struct{})}
}

// next returns a channel that is closed when something more arrives.
func (in *intake) next() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.arrived
}

func (in *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/api/v0.2/traces":
		err = in.takeTraces(r)
	case "/api/v0.2/stats":
		err = in.takeStats(r)
	}
	if err != nil {
		in.t.Errorf("agent: intake %s: %v", r.URL.Path, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// body reads a request's body, compressed or not.
func body(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func (in *intake) takeTraces(r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	var p pb.AgentPayload
	if err := proto.Unmarshal(b, &p); err != nil {
		return err
	}
	var spans []Span
	for _, tp := range p.TracerPayloads { // of its OTLP intake alone
		spans = appendOldSpans(spans, tp)
	}
	for _, tp := range p.IdxTracerPayloads {
		spans = appendSpans(spans, tp)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.spans = append(in.spans, spans...)
	in.announce()
	return nil
}

func (in *intake) takeStats(r *http.Request) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	var p pb.StatsPayload
	if _, err := p.UnmarshalMsg(b); err != nil {
		return msgp.WrapError(err, "stats payload")
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stats = appendStats(in.stats, &p)
	in.announce()
	return nil
}

func (in *intake) announce() {
	close(in.arrived)
	in.arrived = make(chan struct{})
}
