package conformance

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// FuzzExtract reads any headers as dd-trace-go's propagator does and as ours
// does. After the listed differences nothing may be left.
func FuzzExtract(f *testing.F) {
	for _, c := range propagationCases {
		h := headerOf(c.headers)
		for set := range styleSets {
			f.Add(set, h.Get("x-datadog-trace-id"), h.Get("x-datadog-parent-id"), h.Get("x-datadog-sampling-priority"), h.Get("x-datadog-origin"), h.Get("x-datadog-tags"),
				h.Get("traceparent"), h.Get("tracestate"), h.Get("b3"), h.Get("x-b3-traceid"), h.Get("x-b3-spanid"), h.Get("x-b3-sampled"))
		}
	}
	f.Fuzz(func(t *testing.T, set int, id, parent, priority, origin, tags, traceparent, tracestate, b3, b3ID, b3Span, b3Sampled string) {
		if set < 0 || !plainMember(tracestate) || !plainTags(tags) {
			t.Skip()
		}
		h := http.Header{}
		for k, v := range map[string]string{
			"x-datadog-trace-id": id, "x-datadog-parent-id": parent, "x-datadog-sampling-priority": priority, "x-datadog-origin": origin, "x-datadog-tags": tags,
			"traceparent": traceparent, "tracestate": tracestate, "b3": b3, "x-b3-traceid": b3ID, "x-b3-spanid": b3Span, "x-b3-sampled": b3Sampled,
		} {
			if v != "" {
				h.Set(k, v)
			}
		}
		styles := styleSets[set%len(styleSets)]
		if used, diff := agree(h, styles); diff != "" {
			t.Errorf("%s\nread as %v, after %q: -dd-trace-go +ours:\n%s", sortedHeader(h), styles, used, diff)
		}
	})
}

// plainMember reports whether tracestate has one dd member at most, with each
// part once, s before t.dm: what a part means that comes twice, and which of
// two wins, differs with their order in the oracle. Control characters, which
// net/http refuses, it sends on within the names of tags.
func plainMember(tracestate string) bool {
	if !printable(strings.ReplaceAll(tracestate, "\t", " ")) {
		return false
	}
	members := 0
	for member := range strings.SplitSeq(tracestate, ",") {
		value, ok := strings.CutPrefix(strings.Trim(member, " \t"), "dd=")
		if !ok {
			continue
		}
		if members++; members > 1 {
			return false
		}
		seen := map[string]bool{}
		for part := range strings.SplitSeq(value, ";") {
			key, _, _ := strings.Cut(part, ":")
			if seen[key] || key == "s" && seen["t.dm"] || strings.HasPrefix(key, "t.dm") && key != "t.dm" {
				return false
			}
			seen[key] = true
		}
	}
	return true
}

// plainTags reports whether no tag comes twice, and none ends in a blank: that
// is lost at the end of tracestate, where in the oracle any tag may stand.
func plainTags(tags string) bool {
	seen := map[string]bool{}
	for tag := range strings.SplitSeq(tags, ",") {
		key, _, _ := strings.Cut(tag, "=")
		if seen[key] || strings.HasSuffix(tag, " ") {
			return false
		}
		seen[key] = true
	}
	return true
}

// FuzzRoundTrip sends a trace from a service of ours through one of
// dd-trace-go's, or of dd-trace-go's propagator alone, and back, in Datadog's
// headers, in W3C's, and in both. It must come back as it left.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(0x4bf92f3577b34da6), uint64(0xa3ce929d0e0e4736), uint64(1), 2, "rum", "usr.id", "a=b", "congo", "1")
	f.Add(uint64(0), uint64(1), uint64(1)<<63, -1, "", "", "", "", "")
	f.Add(uint64(1), uint64(1), uint64(7), 1, "synthetics-browser", "ts", "02", "fw529a3039@dt", "FfAAAA;x")
	f.Fuzz(func(t *testing.T, high, low, parent uint64, priority int, origin, key, value, vendor, vendorValue string) {
		tag, member := "_dd.p."+key+"="+value, vendor+"="+vendorValue
		switch {
		case low == 0 || parent == 0 || priority < -1 || priority > 2:
			t.Skip()
		case !printable(origin) || len(origin) > 60 || strings.ContainsAny(origin, ",;~ "):
			t.Skip()
		case !tagForm.MatchString(tag) || len(tag) > 80 || strings.ContainsAny(key, ":;") || strings.ContainsAny(value, ";~") ||
			strings.HasSuffix(value, " ") || key == "tid" || strings.HasPrefix(key, "dm"):
			tag = ""
		}
		if !memberForm.MatchString(member) || vendor == "dd" || vendor == "ot" {
			member = ""
		}
		want := newHop(t, high, low, parent, priority, origin, tag, member)
		for _, styles := range [][]string{{"datadog"}, {"tracecontext"}, injectStyles} {
			got := throughOracle(t, want, styles)
			w := *want
			if styles[0] == "datadog" && len(styles) == 1 {
				w.State = ""
			}
			if diff := cmp.Diff(w, *got); diff != "" {
				t.Errorf("in %v: -sent +returned:\n%s", styles, diff)
			}
		}
	})
}

// sentHop is a trace between services, in our terms.
type sentHop struct {
	Trace, Parent, Origin, Tags, Last, State string
	Decision                                 obsctx.Decision
	Sampled                                  bool
}

func newHop(t *testing.T, high, low, parent uint64, priority int, origin, tag, member string) *sentHop {
	t.Helper()
	h := &sentHop{
		Trace: hexID(high) + hexID(low), Parent: hexID(parent), Last: hexID(parent), Origin: origin, Tags: tag, State: member,
		Decision: obsctx.Decision{Priority: priority, Mechanism: obsctx.MechanismUnknown}, Sampled: priority > 0,
	}
	if priority > 0 {
		h.Decision.Mechanism = obsctx.MechanismRule
	}
	return h
}

func (h *sentHop) context(t *testing.T) context.Context {
	t.Helper()
	tid, err := trace.TraceIDFromHex(h.Trace)
	if err != nil {
		t.Fatal(err)
	}
	sid, err := trace.SpanIDFromHex(h.Parent)
	if err != nil {
		t.Fatal(err)
	}
	state, err := trace.ParseTraceState(h.State)
	if err != nil {
		t.Fatal(err)
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: tid, SpanID: sid, TraceState: state})
	s := &obsctx.Trace{ID: tid, Origin: h.Origin, Tags: h.Tags}
	s.Init(h.Decision)
	return obsctx.WithTrace(trace.ContextWithSpanContext(context.Background(), sc), s)
}

// throughOracle sends h to the oracle and reads what it sends on.
func throughOracle(t *testing.T, h *sentHop, styles []string) *sentHop {
	t.Helper()
	ours := tracing.NewPropagator(tracing.PropagatorOptions{Extract: styles, Inject: styles})
	there, back := http.Header{}, http.Header{}
	ours.Inject(h.context(t), propagation.HeaderCarrier(there))
	oracle := oracleFor(styles, styles...)
	sc, err := oracle.Extract(tracer.HTTPHeadersCarrier(there))
	if err != nil {
		t.Fatalf("the oracle does not read %v: %v", there, err)
	}
	if err := oracle.Inject(sc, tracer.HTTPHeadersCarrier(back)); err != nil {
		t.Fatalf("the oracle does not send on %v: %v", there, err)
	}
	ctx := ours.Extract(context.Background(), propagation.HeaderCarrier(back))
	got, s := trace.SpanContextFromContext(ctx), obsctx.TraceFrom(ctx)
	if s == nil {
		t.Fatalf("nothing read from %v", back)
	}
	h = &sentHop{
		Trace: got.TraceID().String(), Parent: got.SpanID().String(), Sampled: got.IsSampled(), State: got.TraceState().String(),
		Origin: s.Origin, Tags: s.Tags, Last: s.LastParent.String(),
	}
	h.Decision, _ = s.Decision()
	return h
}
