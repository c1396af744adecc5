package tracing

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// taken is what an extraction put into a context, as text.
type taken struct {
	Span     string // trace/parent
	Decision string // priority/mechanism, "" for none
	Sampled  bool
	Origin   string
	Tags     string
	Last     string
	FrontEnd string
	State    string
	Links    string // trace/parent style sampled state
	Problem  string
}

func takenFrom(t *testing.T, ctx context.Context) (v taken) {
	t.Helper()
	sc, s := trace.SpanContextFromContext(ctx), obsctx.TraceFrom(ctx)
	if s == nil {
		if sc.TraceID().IsValid() {
			t.Errorf("span %v without a state", sc)
		}
		return v
	}
	if s.ID != sc.TraceID() || !s.Remote || !sc.IsRemote() || s.Pipeline != nil {
		t.Errorf("got state %+v of span %v, want a remote one of the same trace", s, sc)
	}
	v = taken{Span: sc.TraceID().String() + "/" + sc.SpanID().String(), Sampled: sc.IsSampled(), Origin: s.Origin, Tags: s.Tags, State: sc.TraceState().String(), Problem: s.Problem}
	if d, ok := s.Decision(); ok {
		v.Decision = fmt.Sprintf("%d/%d", d.Priority, d.Mechanism)
	}
	if s.LastParent.IsValid() {
		v.Last = s.LastParent.String()
	}
	if s.FrontEnd.IsValid() {
		v.FrontEnd = s.FrontEnd.String()
	}
	for _, l := range s.Links {
		v.Links += fmt.Sprintf("%s/%s", l.SpanContext.TraceID(), l.SpanContext.SpanID())
		for _, a := range l.Attributes {
			v.Links += " " + a.Value.String()
		}
		v.Links += fmt.Sprintf(" %v %s;", l.SpanContext.IsSampled(), l.SpanContext.TraceState())
	}
	return v
}

// injected returns the headers p sets, the same on every kind of carrier.
func injected(ctx context.Context, p propagation.TextMapPropagator) map[string]string {
	m, h := propagation.MapCarrier{}, propagation.HeaderCarrier{}
	p.Inject(ctx, m)
	p.Inject(ctx, h)
	if len(m) != len(h) {
		panic(fmt.Sprint("carriers differ: ", m, h))
	}
	for k, v := range m {
		if h.Get(k) != v {
			panic(fmt.Sprint("carriers differ: ", k, m, h))
		}
	}
	return m
}

// headers is written "name: value", a header a line.
func headers(s string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			h.Add(name, value)
		}
	}
	return h
}

const (
	idA     = "4bf92f3577b34da6a3ce929d0e0e4736"
	fullA   = idA + "/00f067aa0ba902b7"
	idLow   = "0000000000000000a3ce929d0e0e4736"
	ddA     = "x-datadog-trace-id: 11803532876627986230\nx-datadog-parent-id: 67667974448284343\n"
	w3cA    = "traceparent: 00-" + idA + "-00f067aa0ba902b7-01\n"
	tidA    = "_dd.p.tid=4bf92f3577b34da6"
	parentC = "000000000000000c"

	noParent = "0000000000000000"
)

func TestExtractDatadog(t *testing.T) {
	t.Parallel()
	undecided := taken{Span: fullA}
	low := taken{Span: idLow + "/00f067aa0ba902b7"}
	tests := []struct {
		name, headers string
		want          taken
	}{
		{"64 bits", ddA, low},
		{"128 bits", ddA + "x-datadog-tags: " + tidA, undecided},
		{"all", ddA + "x-datadog-sampling-priority: 2\nx-datadog-origin: rum\nx-datadog-tags: _dd.p.a=1," + tidA + ",_dd.p.dm=-4,_dd.p.b==2",
			taken{Span: fullA, Decision: "2/4", Sampled: true, Origin: "rum", Tags: "_dd.p.a=1,_dd.p.b==2"}},
		{"priority 0", ddA + "x-datadog-sampling-priority: 0", taken{Span: low.Span, Decision: "0/-1"}},
		{"priority -1", ddA + "x-datadog-sampling-priority: -1", taken{Span: low.Span, Decision: "-1/-1"}},
		{"priority malformed", ddA + "x-datadog-sampling-priority: much", low},
		{"priority beyond bounds", ddA + "x-datadog-sampling-priority: 99999999999", low},
		{"signed ids", "x-datadog-trace-id: -6643211197081565386\nx-datadog-parent-id: 67667974448284343", low},
		{"no parent", "x-datadog-trace-id: 1", taken{}},
		{"parent 0", "x-datadog-trace-id: 1\nx-datadog-parent-id: 0", taken{}},
		{"parent 0 of synthetics", "x-datadog-trace-id: 1\nx-datadog-parent-id: 0\nx-datadog-origin: synthetics\nx-datadog-sampling-priority: 1",
			taken{Span: "00000000000000000000000000000001/0000000000000000", Decision: "1/-1", Sampled: true, Origin: "synthetics"}},
		{"trace 0", "x-datadog-trace-id: 0\nx-datadog-parent-id: 1", taken{}},
		{"trace beyond 64 bits", "x-datadog-trace-id: 18446744073709551616\nx-datadog-parent-id: 1", taken{}},
		{"parent beyond 64 bits", "x-datadog-trace-id: 1\nx-datadog-parent-id: 18446744073709551616", taken{}},
		{"no decimal", "x-datadog-trace-id: 0x1\nx-datadog-parent-id: 1", taken{}},
		{"tid in upper case", ddA + "x-datadog-tags: _dd.p.tid=4BF92F3577B34DA6,_dd.p.a=1", taken{Span: low.Span, Tags: "_dd.p.a=1"}},
		{"tid too short", ddA + "x-datadog-tags: _dd.p.tid=4bf9", low},
		{"tags too long", ddA + "x-datadog-tags: " + tidA + ",_dd.p.a=" + strings.Repeat("x", 512), taken{Span: low.Span, Problem: "extract_max_size"}},
		{"tags at their limit", ddA + "x-datadog-tags: _dd.p.a=" + strings.Repeat("x", 504), taken{Span: low.Span, Tags: "_dd.p.a=" + strings.Repeat("x", 504)}},
		{"tags malformed", ddA + "x-datadog-tags: " + tidA + ",_dd.p.a", taken{Span: low.Span, Problem: "decoding_error"}},
		{"tags not for others", ddA + "x-datadog-tags: _dd.origin=x,a=b,_dd.p.=c,_dd.p.a=1", taken{Span: low.Span, Tags: "_dd.p.a=1"}},
		{"tags with control characters", ddA + "x-datadog-tags: _dd.p.a=\x01,_dd.p.b=é,_dd.p.c=1", taken{Span: low.Span, Tags: "_dd.p.c=1"}},
		{"tags repeated", ddA + "x-datadog-tags: _dd.p.a=1,_dd.p.b=2,_dd.p.a=3", taken{Span: low.Span, Tags: "_dd.p.b=2,_dd.p.a=3"}},
		{"decision maker malformed", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: _dd.p.dm=--4", taken{Span: low.Span, Decision: "1/-1", Sampled: true}},
		{"origin with a line break", ddA + "x-datadog-origin: rum\x00x", low},
		{"origin too long", ddA + "x-datadog-origin: " + strings.Repeat("x", 129), low},
		{"repeated header", "x-datadog-parent-id: 5\n" + ddA, low},
	}
	p := NewPropagator(PropagatorOptions{Extract: []string{"datadog"}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, parent, _ := strings.Cut(tt.want.Span, "/"); parent != noParent {
				tt.want.Last = parent // a span that Datadog knows
			}
			got := takenFrom(t, p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestExtractTraceContext(t *testing.T) {
	t.Parallel()
	yes := taken{Span: fullA, Decision: "1/-1", Sampled: true}
	no := taken{Span: fullA, Decision: "0/-1"}
	with := func(v taken, f func(*taken)) taken { f(&v); return v }
	w3cNo := strings.Replace(w3cA, "-01\n", "-00\n", 1)
	tests := []struct {
		name, headers string
		want          taken
	}{
		{"sampled", w3cA, yes},
		{"not sampled", w3cNo, no},
		{"other flags", "traceparent: 00-" + fullA[:32] + "-00f067aa0ba902b7-ff", yes},
		{"upper case", "traceparent: 00-" + strings.ToUpper(idA) + "-00F067AA0BA902B7-01", yes},
		{"later version", "traceparent: 01-" + idA + "-00f067aa0ba902b7-01-more", yes},
		{"version 00 with more", "traceparent: 00-" + idA + "-00f067aa0ba902b7-01-more", taken{}},
		{"version ff", "traceparent: ff-" + idA + "-00f067aa0ba902b7-01", taken{}},
		{"later version run on", "traceparent: 01-" + idA + "-00f067aa0ba902b7-01more", taken{}},
		{"trace 0", "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01", taken{}},
		{"span 0", "traceparent: 00-" + idA + "-0000000000000000-01", taken{}},
		{"no hex", "traceparent: 00-" + idA[:31] + "x-00f067aa0ba902b7-01", taken{}},
		{"signed flags", "traceparent: 00-" + idA + "-00f067aa0ba902b7-+1", taken{}},
		{"too short", "traceparent: 00-" + idA, taken{}},
		{"twice", w3cA + w3cA, taken{}},
		{"tracestate alone", "tracestate: dd=s:2", taken{}},
		{"dd agrees", w3cA + "tracestate: dd=s:2;o:rum;p:000000000000000c;t.dm:-4;t.tid:4bf92f3577b34da6;t.usr.id:a~b",
			taken{Span: fullA, Decision: "2/4", Sampled: true, Origin: "rum", Last: parentC, Tags: "_dd.p.usr.id=a=b"}},
		{"dd agrees on no", w3cNo + "tracestate: dd=s:-1;t.dm:-4", with(no, func(v *taken) { v.Decision = "-1/4" })},
		{"flag overrules s ≤ 0", w3cA + "tracestate: dd=s:-1;t.dm:-4", with(yes, func(v *taken) { v.Decision = "1/0" })},
		{"flag overrules s > 0", w3cNo + "tracestate: dd=s:2;t.dm:-4", no},
		{"dd without s", w3cA + "tracestate: dd=o:rum;t.dm:-4", with(yes, func(v *taken) { v.Origin, v.Decision = "rum", "1/4" })},
		{"s malformed", w3cA + "tracestate: dd=s:x;o:rum", with(yes, func(v *taken) { v.Origin = "rum" })},
		{"p malformed", w3cA + "tracestate: dd=s:1;p:12", yes},
		{"tags malformed", w3cA + "tracestate: dd=t.:x;t.a:;t.a b:1;;t.ok:1;x:2", with(yes, func(v *taken) { v.Tags = "_dd.p.ok=1" })},
		{"dd too long", w3cA + "tracestate: dd=s:2;t.a:" + strings.Repeat("x", 256) + ",congo=1", with(yes, func(v *taken) { v.State = "congo=1" })},
		{"vendors in order", w3cA + "tracestate: rojo=1, dd=s:2 ,\tcongo=2", with(yes, func(v *taken) { v.Decision, v.State = "2/-1", "rojo=1,congo=2" })},
		{"dd last", w3cA + "tracestate: rojo=1,dd=s:2", with(yes, func(v *taken) { v.Decision, v.State = "2/-1", "rojo=1" })},
		{"several lines", w3cA + "tracestate: rojo=1\ntracestate: dd=s:2", with(yes, func(v *taken) { v.Decision, v.State = "2/-1", "rojo=1" })},
		{"a malformed vendor", w3cA + "tracestate: Bad=1,rojo=1,,congo=2,=,x,rojo=3", with(yes, func(v *taken) { v.State = "rojo=1,congo=2" })},
		{"otel's probability", w3cA + "tracestate: dd=s:1,ot=th:8;rv:0123456789abcd", with(yes, func(v *taken) { v.State = "ot=th:8;rv:0123456789abcd" })},
		{"tracestate too long", w3cA + "tracestate: dd=s:2,a=" + strings.Repeat("x", 4096), yes},
	}
	p := NewPropagator(PropagatorOptions{Extract: []string{"tracecontext"}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := takenFrom(t, p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestManyVendors(t *testing.T) {
	t.Parallel()
	var members []string
	for i := range 40 {
		members = append(members, "v"+strconv.Itoa(i)+"=1")
	}
	h := headers(w3cA + "tracestate: " + strings.Join(members, ",") + ",dd=s:2")
	p := NewPropagator(PropagatorOptions{})
	ctx := p.Extract(t.Context(), propagation.HeaderCarrier(h))
	if got, want := trace.SpanContextFromContext(ctx).TraceState().String(), strings.Join(members[:32], ","); got != want {
		t.Errorf("got tracestate %q, want the first 32 members", got)
	}
	got := injected(ctx, p)["tracestate"]
	if want := "dd=s:2;t.tid:4bf92f3577b34da6," + strings.Join(members[:31], ","); got != want {
		t.Errorf("injected %q, want %q", got, want)
	}
}

func TestExtractB3(t *testing.T) {
	t.Parallel()
	multi := "x-b3-traceid: " + idA + "\nx-b3-spanid: 00f067aa0ba902b7\n"
	yes, no, open := taken{Span: fullA, Decision: "1/-1", Sampled: true}, taken{Span: fullA, Decision: "0/-1"}, taken{Span: fullA}
	tests := []struct {
		name, headers string
		want          taken
	}{
		{"multi", multi + "x-b3-sampled: 1", yes},
		{"multi no", multi + "x-b3-sampled: 0", no},
		{"multi true", multi + "x-b3-sampled: true", yes},
		{"multi deferred", multi, open},
		{"multi malformed decision", multi + "x-b3-sampled: maybe", open},
		{"multi 64 bits", "x-b3-traceid: a3ce929d0e0e4736\nx-b3-spanid: f067aa0ba902b7", taken{Span: idLow + "/00f067aa0ba902b7"}},
		{"multi no span", "x-b3-traceid: " + idA, taken{}},
		{"multi no hex", "x-b3-traceid: xyz\nx-b3-spanid: 1", taken{}},
		{"single", "b3: " + idA + "-00f067aa0ba902b7-1", yes},
		{"single debug", "b3: " + idA + "-00f067aa0ba902b7-d-000000000000000c", yes},
		{"single no", "b3: " + idA + "-00f067aa0ba902b7-0", no},
		{"single deferred", "b3: " + idA + "-00f067aa0ba902b7", open},
		{"single decision alone", "b3: 0", taken{}},
		{"single too long", "b3: " + idA + "0-00f067aa0ba902b7", taken{}},
	}
	p := NewPropagator(PropagatorOptions{Extract: []string{"b3multi", "b3"}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := takenFrom(t, p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	dd := ddA + "x-datadog-sampling-priority: -1\nx-datadog-tags: " + tidA + ",_dd.p.a=1\n"
	other := "traceparent: 00-" + idA + "-000000000000000c-01\n"
	w3cB := "traceparent: 00-0b000000000000000000000000000000-0b00000000000000-01\n"
	base := taken{Span: fullA, Decision: "-1/-1", Tags: "_dd.p.a=1", Last: "00f067aa0ba902b7"}
	with := func(f func(*taken)) taken { v := base; f(&v); return v }
	tests := []struct {
		name    string
		opts    PropagatorOptions
		headers string
		want    taken
	}{
		{"same trace: W3C adds its vendors, and nothing else", PropagatorOptions{}, dd + w3cA + "tracestate: dd=s:2;o:rum;p:000000000000000c;t.b:1,congo=1",
			with(func(v *taken) { v.State = "congo=1" })},
		{"another parent: W3C's wins", PropagatorOptions{}, dd + other + "tracestate: congo=1",
			with(func(v *taken) { v.Span, v.State = idA+"/"+parentC, "congo=1" })},
		{"another parent: p says which Datadog knows", PropagatorOptions{}, dd + other + "tracestate: dd=s:1;p:000000000000000d",
			with(func(v *taken) { v.Span, v.Last = idA+"/"+parentC, "000000000000000d" })},
		{"another trace: a link", PropagatorOptions{}, dd + w3cB + "tracestate: dd=s:2,congo=1",
			with(func(v *taken) {
				v.Links = "0b000000000000000000000000000000/0b00000000000000 terminated_context tracecontext true congo=1;"
			})},
		{"another trace: W3C first", PropagatorOptions{Extract: []string{"tracecontext", "datadog"}}, dd + w3cB,
			taken{Span: "0b000000000000000000000000000000/0b00000000000000", Decision: "1/-1", Sampled: true, Links: fullA + " terminated_context datadog false ;"}},
		{"same trace: W3C first", PropagatorOptions{Extract: []string{"tracecontext", "datadog"}}, dd + other,
			taken{Span: idA + "/" + parentC, Decision: "1/-1", Sampled: true}},
		{"another parent beside B3's", PropagatorOptions{Extract: []string{"b3", "tracecontext"}}, "b3: " + idA + "-00f067aa0ba902b7-0\n" + other + "tracestate: congo=1",
			taken{Span: fullA, Decision: "0/-1", State: "congo=1"}},
		{"the first alone", PropagatorOptions{ExtractFirst: true}, dd + w3cB, base},
		{"the first that finds one", PropagatorOptions{ExtractFirst: true}, "x-datadog-trace-id: x\n" + w3cA, taken{Span: fullA, Decision: "1/-1", Sampled: true}},
		{"Datadog's malformed", PropagatorOptions{}, "x-datadog-trace-id: 1\nx-datadog-parent-id: x\n" + w3cA, taken{Span: fullA, Decision: "1/-1", Sampled: true}},
		{"none", PropagatorOptions{Extract: []string{"none"}}, dd + w3cA, taken{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := takenFrom(t, NewPropagator(tt.opts).Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestExtractWithoutHeadersKeepsTheContext(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, p := range []propagation.TextMapPropagator{NewPropagator(PropagatorOptions{}), NewIngress(NewPropagator(PropagatorOptions{})), NewIngress(propagation.TraceContext{})} {
		if got := p.Extract(ctx, propagation.HeaderCarrier{}); got != ctx {
			t.Errorf("got another context %v", got)
		}
	}
}

// What is kept of a list is a part of it where it can be, and the same where not.
func TestReadTags(t *testing.T) {
	t.Parallel()
	const tid, dm = "_dd.p.tid=4bf92f3577b34da6", "_dd.p.dm=-4"
	for _, tt := range []struct{ list, want string }{
		{tid + "," + dm, ""},
		{tid + ",_dd.p.a=1,_dd.p.b=2," + dm, "_dd.p.a=1,_dd.p.b=2"},
		{"_dd.p.a=1," + tid + ",_dd.p.b=2,_dd.p.c=3," + dm + ",_dd.p.d=4", "_dd.p.a=1,_dd.p.b=2,_dd.p.c=3,_dd.p.d=4"},
		{"_dd.p.a=1,_dd.p.b=2,_dd.p.a=3,other=1,_dd.p.c=3", "_dd.p.b=2,_dd.p.a=3,_dd.p.c=3"},
	} {
		var h hop
		if h.readTags(tt.list); h.tags != tt.want || h.problem != "" {
			t.Errorf("%s: got %q, %q, want %q", tt.list, h.tags, h.problem, tt.want)
		}
	}
}
