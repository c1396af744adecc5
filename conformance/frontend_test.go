package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// A cloudService is a service behind a front end of its own, as on Cloud Run.
type cloudService struct {
	url  string // the front end's
	tel  *obs.Telemetry
	stop func()

	mu     sync.Mutex // guards what follows
	out    bytes.Buffer
	fronts map[string]string // the front end's trace id, by request
}

func (s *cloudService) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func newTelemetry(t *testing.T, o obs.Options) *obs.Telemetry {
	t.Helper()
	o.AgentAuth, o.LogFormat, o.ProjectID, o.Env = "none", "json", "acme", "prod"
	tel, err := obs.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// startService serves handler at /work.
func startService(t *testing.T, name, agentURL string, handler http.HandlerFunc) *cloudService {
	t.Helper()
	s := &cloudService{fronts: make(map[string]string)}
	s.tel = newTelemetry(t, obs.Options{Service: name, AgentURL: agentURL, LogWriter: s, FrontEnd: "google"})
	r := chi.NewRouter()
	r.Use(s.note, chiobs.Config{Provider: s.tel.TracerProvider()}.Middleware)
	r.Get("/work", handler)
	server := httptest.NewServer(r)
	front, err := emulator.StartFrontEnd(emulator.FrontEndOptions{Backend: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.url = front.URL() + "/work"
	s.stop = sync.OnceFunc(func() {
		front.Close()
		server.Close() // waits for its handlers
		if err := s.tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// note remembers what the front end calls the trace of each request.
func (s *cloudService) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := strings.Cut(r.Header.Get("X-Cloud-Trace-Context"), "/")
		s.mu.Lock()
		s.fronts[r.Header.Get("X-Request")] = id
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func call(ctx context.Context, client *http.Client, url, request string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Request", request)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// TestTwoFrontEnds sends requests through two services, each behind a front
// end that rewrites traceparent as Google's does, to the real trace-agent. The
// callers are one that traces nothing, and a Datadog tracer that knows none of
// W3C's headers.
func TestTwoFrontEnds(t *testing.T) {
	const plain, traced = 100, 20
	a := agent.Start(t)
	client := &http.Client{Transport: obs.Transport(nil)}
	inventory := startService(t, "inventory", a.URL, func(_ http.ResponseWriter, r *http.Request) {
		_, span := obs.Start(r.Context(), "count")
		defer span.End(nil)
	})
	var shop *cloudService
	shop = startService(t, "shop", a.URL, func(w http.ResponseWriter, r *http.Request) {
		request := r.Header.Get("X-Request")
		shop.tel.Logger().InfoContext(r.Context(), "asking", slog.String("request", request))
		if err := call(r.Context(), client, inventory.url, request); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	edge := newTelemetry(t, obs.Options{
		Service: "edge", AgentURL: a.URL, LogWriter: io.Discard,
		Propagators: tracing.NewPropagator(tracing.PropagatorOptions{Inject: []string{"datadog"}}),
	})

	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < plain+traced; i += 4 {
				ctx, c := t.Context(), http.DefaultClient
				if i >= plain {
					edgeCtx, span := edge.TracerProvider().Tracer("edge").Start(ctx, "page")
					defer span.End()
					ctx, c = edgeCtx, client
				}
				if err := call(ctx, c, shop.url, strconv.Itoa(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	shop.stop()
	inventory.stop()
	if err := edge.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	a.Stop()
	traces := wholeTraces(t, a.Spans())
	// A plain request has 4 spans: both servers', the client's, the function's.
	// A traced one has those of the edge, too.
	sizes := map[int]int{}
	for _, n := range traces {
		sizes[n]++
	}
	if len(sizes) != 2 || sizes[4] != plain || sizes[6] != traced {
		t.Errorf("got traces by their number of spans %v, want %d of 4 and %d of 6", sizes, plain, traced)
	}
	shop.checkLogs(t, traces, plain+traced, 2)
	inventory.checkLogs(t, traces, plain+traced, 1)
}

// wholeTraces returns the number of spans by trace. Each has one root, and each
// other span's parent is there.
func wholeTraces(t *testing.T, spans []agent.Span) map[string]int {
	t.Helper()
	traces, roots := map[string]int{}, map[string]int{}
	type key struct {
		trace string
		span  uint64
	}
	have := map[key]bool{}
	for _, s := range spans {
		have[key{s.TraceID, s.SpanID}] = true
	}
	for _, s := range spans {
		traces[s.TraceID]++
		switch {
		case s.ParentID == 0:
			roots[s.TraceID]++
		case !have[key{s.TraceID, s.ParentID}]:
			t.Errorf("%s %s of trace %s: its parent %x is not at the intake", s.Service, s.Resource, s.TraceID, s.ParentID)
		}
		if s.Priority != 1 {
			t.Errorf("%s %s: priority %d, want the first service's 1", s.Service, s.Resource, s.Priority)
		}
	}
	for id, n := range traces {
		if roots[id] != 1 {
			t.Errorf("trace %s of %d spans: %d roots, want one", id, n, roots[id])
		}
	}
	return traces
}

// checkLogs finds that the records of each request, so many, have the front
// end's trace id for Google and one of the traces' for Datadog.
func (s *cloudService) checkLogs(t *testing.T, traces map[string]int, requests, each int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	byFront := map[string]string{}
	for request, id := range s.fronts {
		byFront["projects/acme/traces/"+id] = request
	}
	found := map[string]int{}
	for line := range strings.Lines(s.out.String()) {
		var r struct {
			Google  string `json:"logging.googleapis.com/trace"`
			Sampled bool   `json:"logging.googleapis.com/trace_sampled"`
			Datadog string `json:"dd.trace_id"`
			Request string `json:"request"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if r.Datadog == "" {
			continue // ours, of no request
		}
		request, ok := byFront[r.Google]
		if !ok || traces[r.Datadog] == 0 || !r.Sampled || r.Request != "" && r.Request != request {
			t.Errorf("a record of no request, or of another than it says: %s", line)
		}
		found[request]++
	}
	if len(s.fronts) != requests || len(found) != requests {
		t.Errorf("%d requests came, %d have records, want %d", len(s.fronts), len(found), requests)
	}
	for request, n := range found {
		if n != each {
			t.Errorf("request %s: %d records, want %d", request, n, each)
		}
	}
}
