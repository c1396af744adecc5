package tracing

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// local is the context of a span of ours.
func local(ctx context.Context, s *obsctx.Trace, d *obsctx.Decision, state string) context.Context {
	s.ID = traceA
	if d != nil {
		s.Init(*d)
	}
	ts, err := trace.ParseTraceState(state)
	if err != nil {
		panic(err)
	}
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceA, SpanID: spanA, TraceState: ts}))
	return obsctx.WithTrace(ctx, s)
}

func TestInject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	with := func(more map[string]string) map[string]string {
		all := map[string]string{
			"x-datadog-trace-id": "11803532876627986230", "x-datadog-parent-id": "67667974448284343",
			"x-datadog-sampling-priority": "2", "x-datadog-tags": tidA + ",_dd.p.dm=-4",
			"traceparent": "00-" + idA + "-00f067aa0ba902b7-01",
			"tracestate":  "dd=s:2;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6",
		}
		for k, v := range more {
			if all[k] = v; v == "" {
				delete(all, k)
			}
		}
		return all
	}
	tests := []struct {
		name     string
		state    *obsctx.Trace
		decision *obsctx.Decision
		vendors  string
		want     map[string]string
	}{
		{"kept", &obsctx.Trace{}, &keep, "", with(nil)},
		{"refused", &obsctx.Trace{}, &refused, "", with(map[string]string{
			"x-datadog-sampling-priority": "-1", "x-datadog-tags": tidA,
			"traceparent": "00-" + idA + "-00f067aa0ba902b7-00",
			"tracestate":  "dd=s:-1;p:00f067aa0ba902b7;t.tid:4bf92f3577b34da6",
		})},
		{"undecided", &obsctx.Trace{}, nil, "", with(map[string]string{
			"x-datadog-sampling-priority": "", "x-datadog-tags": tidA,
			"tracestate": "dd=p:00f067aa0ba902b7;t.tid:4bf92f3577b34da6",
		})},
		{"origin, tags, vendors", &obsctx.Trace{Origin: "a=b c;~", Tags: "_dd.p.x:y=1=2;3,_dd.p.end=e "}, &keep, "rojo=1,dd=s:0,congo=2", with(map[string]string{
			"x-datadog-origin": "a=b c;~", "x-datadog-tags": tidA + ",_dd.p.dm=-4,_dd.p.x:y=1=2;3,_dd.p.end=e ",
			"tracestate": "dd=s:2;o:a~b_c__;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6;t.x_y:1~2_3;t.end:e_,rojo=1,congo=2",
		})},
		{"too many tags", &obsctx.Trace{Tags: "_dd.p.a=" + long + ",_dd.p.b=" + long + ",_dd.p.c=" + long + ",_dd.p.d=1"}, &keep, "", with(map[string]string{
			"tracestate": "dd=s:2;p:00f067aa0ba902b7;t.dm:-4;t.tid:4bf92f3577b34da6;t.d:1",
		})},
	}
	p := NewPropagator(PropagatorOptions{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := injected(local(t.Context(), tt.state, tt.decision, tt.vendors), p)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if n := len(got["x-datadog-tags"]); n > maxTags {
				t.Errorf("x-datadog-tags has %d bytes", n)
			}
			if member, _, _ := strings.Cut(got["tracestate"], ","); len(member) > maxMember {
				t.Errorf("the dd member has %d bytes", len(member))
			}
		})
	}
}

func TestInjectB3(t *testing.T) {
	t.Parallel()
	p := NewPropagator(PropagatorOptions{Inject: []string{"b3multi", "b3 single header"}})
	for _, tt := range []struct {
		decision *obsctx.Decision
		want     map[string]string
	}{
		{&keep, map[string]string{"x-b3-traceid": idA, "x-b3-spanid": "00f067aa0ba902b7", "x-b3-sampled": "1", "b3": idA + "-00f067aa0ba902b7-1"}},
		{&refused, map[string]string{"x-b3-traceid": idA, "x-b3-spanid": "00f067aa0ba902b7", "x-b3-sampled": "0", "b3": idA + "-00f067aa0ba902b7-0"}},
		{nil, map[string]string{"x-b3-traceid": idA, "x-b3-spanid": "00f067aa0ba902b7", "b3": idA + "-00f067aa0ba902b7"}},
	} {
		if diff := cmp.Diff(tt.want, injected(local(t.Context(), &obsctx.Trace{}, tt.decision, ""), p)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	short := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: spanA}))
	if got, want := injected(short, p)["b3"], "0000000000000001-00f067aa0ba902b7-0"; got != want {
		t.Errorf("64 bits: got %q, want %q", got, want)
	}
}

// A trace that passes through without a span of ours goes on as it came.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, headers, want string
	}{
		{"the last parent Datadog knows stays", w3cA + "tracestate: dd=s:2;o:rum;p:000000000000000c;t.dm:-4;t.a:1,congo=1",
			"dd=s:2;o:rum;p:000000000000000c;t.dm:-4;t.tid:4bf92f3577b34da6;t.a:1,congo=1"},
		{"a parent Datadog does not know is not named", w3cA, "dd=s:1;t.tid:4bf92f3577b34da6"},
		{"undecided", ddA, "dd=p:00f067aa0ba902b7"},
	} {
		p := NewPropagator(PropagatorOptions{})
		got := injected(p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers))), p)
		if got["tracestate"] != tt.want || !strings.HasSuffix(got["traceparent"], "-00f067aa0ba902b7-01") {
			t.Errorf("%s: got %v, want tracestate %q and the parent as it came", tt.name, got, tt.want)
		}
	}
}

// A decision changed after the fact is in every later request.
func TestInjectFollowsTheDecision(t *testing.T) {
	t.Parallel()
	p, tr, _ := observed(Options{})
	ctx, _ := tr.Start(t.Context(), "root")
	for _, tt := range []struct {
		d    *obsctx.Decision
		want string
	}{{nil, "1"}, {&refused, "-1"}, {&keep, "2"}} {
		if tt.d != nil {
			obsctx.TraceFrom(ctx).Decide(*tt.d)
		}
		if got := injected(ctx, p.Pipeline(ctx).Propagator)["x-datadog-sampling-priority"]; got != tt.want {
			t.Errorf("after %v: priority %s, want %s", tt.d, got, tt.want)
		}
	}
}

// Without a state, or with another trace's, the sampled flag is all there is.
func TestInjectWithoutState(t *testing.T) {
	t.Parallel()
	p := NewPropagator(PropagatorOptions{Inject: []string{"datadog", "tracecontext"}})
	sc := trace.SpanContextConfig{TraceID: trace.TraceID{0: 0xb, 15: 0xb}, SpanID: spanA, TraceFlags: trace.FlagsSampled | trace.FlagsRandom}
	stale := local(t.Context(), &obsctx.Trace{Origin: "rum"}, &refused, "")
	for _, ctx := range []context.Context{t.Context(), stale} {
		got := injected(trace.ContextWithSpanContext(ctx, trace.NewSpanContext(sc)), p)
		want := map[string]string{
			"x-datadog-trace-id": "11", "x-datadog-parent-id": "67667974448284343", "x-datadog-sampling-priority": "1",
			"x-datadog-tags": "_dd.p.tid=0b00000000000000",
			"traceparent":    "00-0b00000000000000000000000000000b-00f067aa0ba902b7-03",
			"tracestate":     "dd=s:1;p:00f067aa0ba902b7;t.tid:0b00000000000000",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// A trace id that x-datadog-trace-id cannot hold goes on in the other styles.
func TestInjectWithoutLowHalf(t *testing.T) {
	t.Parallel()
	p := NewPropagator(PropagatorOptions{Inject: []string{"datadog", "tracecontext", "b3 single header"}})
	ctx, _ := NewProvider(Options{}).Tracer("t").Start(p.Extract(t.Context(), propagation.HeaderCarrier(headers(
		"traceparent: 00-0b000000000000000000000000000000-00f067aa0ba902b7-01\ntracestate: dd=s:2;o:rum;t.dm:-4"))), "root")
	span := trace.SpanContextFromContext(ctx).SpanID().String()
	want := map[string]string{
		"traceparent": "00-0b000000000000000000000000000000-" + span + "-01",
		"tracestate":  "dd=s:2;o:rum;p:" + span + ";t.dm:-4;t.tid:0b00000000000000",
		"b3":          "0b000000000000000000000000000000-" + span + "-1",
	}
	if diff := cmp.Diff(want, injected(ctx, p)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Upstream's tags have room for what came with them, not always for what this
// service decides; the trace then says that they are gone.
func TestTagsThatHaveNoRoom(t *testing.T) {
	t.Parallel()
	one := 1.0
	full := "_dd.p.a=" + strings.Repeat("x", maxTags-len("_dd.p.a="))
	p := NewProvider(Options{Sampler: NewSampler(SamplerOptions{Rate: &one})})
	for _, tt := range []struct {
		name, headers, tags, problem string
	}{
		{"what came goes on", ddA + "x-datadog-sampling-priority: 1\nx-datadog-tags: " + full, full, ""},
		{"no room for a decision", ddA + "x-datadog-tags: " + full, "_dd.p.dm=-3", "inject_max_size"},
		{"room for one", ddA + "x-datadog-tags: " + full[:len(full)-len("_dd.p.dm=-3,,_dd.p.ksr=1")], "", ""},
		{"nothing came", ddA + "x-datadog-tags: x" + full, "_dd.p.dm=-3,_dd.p.ksr=1", "extract_max_size"},
	} {
		in := p.pipeline.Propagator.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers)))
		ctx, _ := p.Tracer("t").Start(in, "root")
		s := obsctx.TraceFrom(ctx)
		if got := s.PropagationError(); got != s.Problem {
			t.Errorf("%s: %q before an inject", tt.name, got)
		}
		for range 2 {
			got := injected(ctx, p.pipeline.Propagator)["x-datadog-tags"]
			if len(got) > maxTags || tt.tags != "" && got != tt.tags || s.PropagationError() != tt.problem {
				t.Errorf("%s: sent %d bytes %q, error %q; want %q, %q", tt.name, len(got), got, s.PropagationError(), tt.tags, tt.problem)
			}
		}
		injected(in, p.pipeline.Propagator) // as a proxy would: nothing is decided here
		if got := obsctx.TraceFrom(in).PropagationError(); got != obsctx.TraceFrom(in).Problem {
			t.Errorf("%s: passed on with %q", tt.name, got)
		}
	}
}

func TestNothingToInject(t *testing.T) {
	t.Parallel()
	in, _ := remote(t.Context(), traceA, trace.SpanID{}, nil)
	for _, ctx := range []context.Context{t.Context(), in} {
		if got := injected(ctx, NewPropagator(PropagatorOptions{})); len(got) != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	}
	if got := injected(local(t.Context(), &obsctx.Trace{}, &keep, ""), NewPropagator(PropagatorOptions{Inject: []string{"none"}})); len(got) != 0 {
		t.Errorf("none: got %v, want nothing", got)
	}
}

func TestBaggage(t *testing.T) {
	t.Parallel()
	p := NewPropagator(PropagatorOptions{})
	many := func(n, size int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("k" + strings.Repeat("i", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=" + strings.Repeat("v", size) + ",")
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	tests := []struct {
		name, headers string
		want          map[string]string
	}{
		{"members", "baggage: a=1,b=%20x;p=1", map[string]string{"a": "1", "b": " x"}},
		{"a malformed one", "baggage: a=1,=,b=2", map[string]string{"a": "1", "b": "2"}},
		{"legacy", "ot-baggage-User: u%201\not-baggage-a: 2\nbaggage: a=1", map[string]string{"user": "u 1", "a": "1"}},
		{"legacy malformed", "ot-baggage-a: %zz\not-baggage-b: 1", map[string]string{"b": "1"}},
		{"too large", "baggage: a=" + strings.Repeat("x", 8192), map[string]string{}},
	}
	for _, tt := range tests {
		ctx := p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers)))
		got := map[string]string{}
		for _, m := range baggage.FromContext(ctx).Members() {
			got[m.Key()] = m.Value()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}

	in := NewPropagator(PropagatorOptions{Extract: []string{"tracecontext"}}).Extract(t.Context(), propagation.HeaderCarrier(headers("baggage: a=1")))
	if n := baggage.FromContext(in).Len(); n != 0 {
		t.Errorf("without the style %d members came in", n)
	}
	for _, tt := range []struct{ n, size, want int }{{3, 10, 3}, {64, 100, 64}, {80, 10, 64}, {20, 1000, 8}} {
		var b baggage.Baggage
		for member := range strings.SplitSeq(many(tt.n, tt.size), ",") {
			k, v, _ := strings.Cut(member, "=")
			m, err := baggage.NewMemberRaw(k, v)
			if err != nil {
				t.Fatal(err)
			}
			b, _ = b.SetMember(m)
		}
		out := propagation.HeaderCarrier{} // one of them: the order is a map's
		p.Inject(baggage.ContextWithBaggage(t.Context(), b), out)
		got := out.Get("baggage")
		if n := strings.Count(got, "="); n != tt.want || len(got) > maxBaggage {
			t.Errorf("%d members of %d bytes: sent %d in %d bytes, want %d", tt.n, tt.size, n, len(got), tt.want)
		}
	}
}

func TestBehavior(t *testing.T) {
	t.Parallel()
	const other = "b3: 0b000000000000000000000000000000000-1-1\n"
	dd := ddA + "x-datadog-sampling-priority: 2\nx-datadog-origin: rum\nx-datadog-tags: " + tidA + "\nbaggage: a=1\n"
	through := "traceparent: 00-0b000000000000000000000000000000-0b00000000000000-00\ntracestate: congo=1\n"
	tests := []struct {
		name, behavior string
		frontEnd       bool
		headers        string
		link           string // trace/parent and attributes
		baggage        string
		front          string
		continues      bool
	}{
		{"continue", "continue", false, dd, "", "a=1", "", true},
		{"restart", "restart", false, dd, fullA + " propagation_behavior_extract datadog", "a=1", "", false},
		{"restart, W3C", "restart", false, w3cA, fullA + " propagation_behavior_extract tracecontext", "", "", false},
		{"restart, baggage alone", "restart", false, "baggage: a=1", "", "a=1", "", false},
		{"restart, nothing", "restart", false, other, "", "", "", false},
		{"restart behind the front end", "restart", true, dd + through, fullA + " propagation_behavior_extract datadog", "a=1", "0b000000000000000000000000000000", false},
		{"restart, the front end's own", "restart", true, through, "", "", "0b000000000000000000000000000000", false},
		{"ignore", "ignore", false, dd, "", "", "", false},
		{"ignore behind the front end", "ignore", true, dd + through, "", "", "0b000000000000000000000000000000", false},
	}
	for _, tt := range tests {
		p := NewPropagator(PropagatorOptions{Behavior: tt.behavior})
		if tt.frontEnd {
			p = NewIngress(p)
		}
		ctx := p.Extract(t.Context(), propagation.HeaderCarrier(headers(tt.headers)))
		if got := baggage.FromContext(ctx).String(); got != tt.baggage {
			t.Errorf("%s: got baggage %q", tt.name, got)
		}
		_, tr, o := observed(Options{Propagator: p})
		ctx, span := tr.Start(ctx, "root")
		span.End()
		s := obsctx.TraceFrom(ctx)
		if got := s.ID.String() == idA; got != tt.continues || span.SpanContext().TraceID() != s.ID {
			t.Errorf("%s: got trace %s", tt.name, s.ID)
		}
		if front := s.FrontEnd.String(); s.FrontEnd.IsValid() && front != tt.front || !s.FrontEnd.IsValid() && tt.front != "" {
			t.Errorf("%s: got front end %s", tt.name, front)
		}
		if d, _ := s.Decision(); !tt.continues && (d != auto || s.Origin != "") {
			t.Errorf("%s: got %+v, origin %q, want neither of upstream", tt.name, d, s.Origin)
		}
		link := ""
		for _, l := range o.Ended()[0].Links() {
			link = l.SpanContext.TraceID().String() + "/" + l.SpanContext.SpanID().String()
			for _, a := range l.Attributes {
				link += " " + a.Value.String()
			}
		}
		if link != tt.link {
			t.Errorf("%s: got link %q, want %q", tt.name, link, tt.link)
		}
	}
}

func TestUnknownBehaviorPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewPropagator(PropagatorOptions{Behavior: "reset"})
}
