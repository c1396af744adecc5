package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/conformance/collector"
	"github.com/kumihimo/kumihimo/internal/spanqueue"
	exporters "github.com/kumihimo/kumihimo/obs/otlp"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// throughOTLP sends the corpus over OTLP to the Collector's receiver and on to a
// real agent's OTLP intake, and returns what arrives at Datadog's.
func throughOTLP(t *testing.T, ids *idsOf) ([]agent.Span, []agent.Stat) {
	t.Helper()
	a, export := agent.StartOTLP(t)
	c := collector.Start(t)
	c.Forward(export)
	e, err := exporters.NewTraceExporter(t.Context(), exporters.Options{Endpoint: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	q := spanqueue.New(spanqueue.Options{Exporter: e})
	record(t, q, ids)
	if err := q.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := a.WaitSpans(t, int(q.Stats().Sent))
	a.Stop()
	return spans, a.Stats()
}

// throughNative sends it in v1.0.
func throughNative(t *testing.T, ids *idsOf) ([]agent.Span, []agent.Stat) {
	t.Helper()
	a := agent.Start(t)
	e := ddagent.NewExporter(ddagent.Options{URL: a.URL})
	record(t, ddagent.NewProcessor(e, ddagent.ProcessorOptions{}), ids)
	if err := e.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := a.WaitSpans(t, int(e.Stats().Sent))
	a.Stop()
	return spans, a.Stats()
}

// totals adds up hits and errors by what APM groups them by.
func totals(stats []agent.Stat) map[string]string {
	type sums struct{ hits, top, errors uint64 }
	groups := make(map[string]sums)
	for _, s := range stats {
		key := fmt.Sprintf("%s %s %s %s %s %s %d", s.Env, s.Service, s.Name, clip(s.Resource), s.Type, s.Kind, s.HTTPStatusCode)
		g := groups[key]
		groups[key] = sums{g.hits + s.Hits, g.top + s.TopLevelHits, g.errors + s.Errors}
	}
	out := make(map[string]string)
	for key, g := range groups {
		out[key] = fmt.Sprintf("%d hits, %d top-level, %d errors", g.hits, g.top, g.errors)
	}
	return out
}

// An otlpDifference is one that is meant, between what the agent makes of a span
// that came in its own protocol and of the same over OTLP. It changes the latter
// into the former, and says whether there was anything to change. Those of the
// mapping itself are in mappingDifferences.
type otlpDifference struct {
	reason string
	apply  func(over, native *agent.Span) bool
}

var otlpDifferences = []otlpDifference{
	{"how a trace was decided is not in OTLP: the intake names its own sampler", func(over, _ *agent.Span) bool {
		return over.Meta["_dd.p.dm"] == "-9" && drops(over.Meta, "_dd.p.dm")
	}},
	{"the rate that the agent's sampler had just then, which goes by what came before", func(over, native *agent.Span) bool {
		_, has := native.Metrics["_sampling_priority_rate_v1"]
		delete(over.Metrics, "_sampling_priority_rate_v1")
		delete(native.Metrics, "_sampling_priority_rate_v1")
		return has
	}},
	{"the language is the payload's, and OTLP's payload has none", func(over, native *agent.Span) bool {
		over.Language = native.Language
		return true
	}},
	{"events and links stay typed in Datadog's protocol, and are JSON in a tag after OTLP (TestMappingIsTheAgents compares them)", func(over, native *agent.Span) bool {
		over.Events, over.Links = native.Events, native.Links
		return len(native.Events)+len(native.Links) > 0
	}},
	{"a statement whose system the intake does not know as SQL keeps its literals", func(over, native *agent.Span) bool {
		if native.Type != "sql" || over.Type != "db" || native.Resource != "SELECT ?" {
			return false
		}
		over.Type, over.Resource, over.Meta["db.query.text"] = native.Type, native.Resource, native.Resource
		return true
	}},
	{"the agent marks a key that it cuts; ours is cut before it travels", func(over, _ *agent.Span) (some bool) {
		for k, v := range maps.Clone(over.Meta) {
			if short, cut := strings.CutSuffix(k, "..."); cut && len(short) == 200 {
				delete(over.Meta, k)
				over.Meta[short], some = v, true
			}
		}
		return some
	}},
	{"the agent deletes a status that is none, if it is text, and leaves a number", func(over, native *agent.Span) bool {
		n, has := over.Metrics["http.status_code"]
		if _, kept := native.Meta["http.status_code"]; !has || kept || n >= 100 && n < 600 {
			return false
		}
		delete(over.Metrics, "http.status_code")
		return true
	}},
}

// TestOTLPIsTheSameToTheAgent sends the corpus in v1.0, and over OTLP through the
// Collector's receiver to the agent's OTLP intake. What stands at Datadog's
// intake, spans and statistics, must be the same, but for what is named above and
// in mappingDifferences. That v0.4 is the same as v1.0 is TestBothEncodings.
func TestOTLPIsTheSameToTheAgent(t *testing.T) {
	var ids [2]idsOf
	native, nativeStats := throughNative(t, &ids[0])
	over, overStats := throughOTLP(t, &ids[1])
	for i := range overStats { // of what the list below has too
		s := &overStats[i]
		if s.HTTPStatusCode >= 600 {
			s.HTTPStatusCode = 0
		}
		if s.Name == "gcp.spanner.query" && s.Type == "db" {
			s.Type, s.Resource = "sql", "SELECT ?"
		}
	}
	if diff := gocmp.Diff(totals(nativeStats), totals(overStats)); diff != "" || len(nativeStats) == 0 {
		t.Errorf("statistics (-v1.0 +OTLP):\n%s", diff)
	}
	if len(native) != len(over) || len(over) != len(ids[1].spans) {
		t.Fatalf("%d spans in v1.0 and %d over OTLP, of %d", len(native), len(over), len(ids[1].spans))
	}
	traces := make(map[uint64]string)
	for _, s := range ids[1].spans {
		traces[spanNumber(s)] = s.SpanContext().TraceID().String()
	}
	for _, s := range over {
		if s.TraceID != traces[s.SpanID] {
			t.Errorf("%q: trace %s, want %s", s.Resource, s.TraceID, traces[s.SpanID])
		}
	}
	ids[0].number(native)
	ids[1].number(over)
	used := make(map[string]int)
	for i := range over {
		for _, d := range otlpDifferences {
			if d.apply(&over[i], &native[i]) {
				used[d.reason]++
			}
		}
		theirs, ours := asProto(&over[i]), asProto(&native[i])
		for _, d := range mappingDifferences {
			if d.apply(theirs, ours, ids[1].spans[i]) {
				used[d.reason]++
			}
		}
		over[i].Type = theirs.Type
		if diff := gocmp.Diff(native[i], over[i], cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s %q (-v1.0 +OTLP):\n%s", native[i].Name, clip(native[i].Resource), diff)
		}
	}
	for _, d := range otlpDifferences {
		if used[d.reason] == 0 {
			t.Errorf("no span shows this difference: %s", d.reason)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(used)) {
		t.Logf("%3d spans: %s", used[reason], reason)
	}
}

// asProto shares the maps of s.
func asProto(s *agent.Span) *pb.Span {
	return &pb.Span{Service: s.Service, Name: s.Name, Resource: s.Resource, Type: s.Type, Meta: s.Meta, Metrics: s.Metrics}
}
