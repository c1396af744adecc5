package conformance

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// front stands before an agent, notes what is asked of it, and can keep an
// agent's /info to itself, as the Collector's receiver does.
type front struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	paths []string
	bytes int64
}

func newFront(t *testing.T, agentURL string, info bool) *front {
	t.Helper()
	u, err := url.Parse(agentURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" && !info {
			http.NotFound(w, r)
			return
		}
		f.mu.Lock()
		f.paths = append(f.paths, r.URL.Path)
		if r.Method == http.MethodPost {
			f.bytes += r.ContentLength
		}
		f.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// through sends the corpus through a real agent, and returns what arrives.
func through(t *testing.T, info bool, ids *idsOf) (spans []agent.Span, paths []string) {
	t.Helper()
	a := agent.Start(t)
	f := newFront(t, a.URL, info)
	exporter := ddagent.NewExporter(ddagent.Options{URL: f.URL, Tags: map[string]string{"team": "orders"}})
	record(t, ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{}), ids)
	if err := exporter.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans = a.WaitSpans(t, int(exporter.Stats().Sent))
	a.Stop()
	return spans, f.paths
}

// TestBothEncodings sends the corpus in v0.4 and in v1.0. What stands at the
// intake must be the same, but for what is named here.
func TestBothEncodings(t *testing.T) {
	var ids [2]idsOf
	v04, paths := through(t, false, &ids[0])
	if !slices.Contains(paths, "/v0.4/traces") || slices.Contains(paths, "/v1.0/traces") {
		t.Fatalf("without /info: %v", paths)
	}
	v10, paths := through(t, true, &ids[1])
	if paths[0] != "/info" || !slices.Contains(paths, "/v1.0/traces") || slices.Contains(paths, "/v0.4/traces") {
		t.Fatalf("with /info: %v", paths)
	}
	if len(v04) != len(v10) || len(v04) < 60 {
		t.Fatalf("%d and %d spans", len(v04), len(v10))
	}
	// Ids differ from run to run; the order of their making does not.
	ids[0].number(v04)
	ids[1].number(v10)
	for i := range v04 {
		said(v04[i].Meta, "", "language", "span.kind", "env", "version", "component") // fields, or the payload's, in v1.0
		said(v04[i].Meta, "", "runtime-id", "_dd.p.tid")                              // the payload's and the chunk's
		said(v04[i].Meta, "v04", "_dd.convertedv1")                                   // the agent's own mark
		delete(v04[i].Metrics, "_sampling_priority_v1")                               // a field
		delete(v04[i].Metrics, "process_id")
		delete(v10[i].Metrics, "process_id")
		if diff := gocmp.Diff(v04[i], v10[i]); diff != "" {
			t.Errorf("%s %q (-v0.4 +v1.0):\n%s", v04[i].Name, v04[i].Resource, diff)
		}
	}
}

// said takes from meta what v1.0 says elsewhere. All of it but want has been
// read from there into fields of agent.Span, which are compared.
func said(meta map[string]string, want string, keys ...string) {
	for _, k := range keys {
		if want == "" || meta[k] == want {
			delete(meta, k)
		}
	}
}

// number replaces the ids in spans by the order of their making.
func (r *idsOf) number(spans []agent.Span) {
	order := make(map[uint64]uint64)
	for i, s := range r.spans {
		order[spanNumber(s)] = uint64(i + 1)
	}
	for i := range spans {
		s := &spans[i]
		if of, here := order[s.ParentID]; here { // else it is upstream's, or none
			s.ParentID = of
		}
		s.SpanID, s.TraceID = order[s.SpanID], ""
	}
	slices.SortFunc(spans, func(a, b agent.Span) int { return cmp.Compare(a.SpanID, b.SpanID) })
}
