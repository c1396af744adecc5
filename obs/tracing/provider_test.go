package tracing

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

var (
	traceA = trace.TraceID{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
	traceB = trace.TraceID{0xb}
	spanA  = trace.SpanID{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7}
	spanB  = trace.SpanID{0xb}

	keep    = obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismManual}
	auto    = obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismDefault}
	refused = obsctx.Decision{Priority: -1, Mechanism: obsctx.MechanismManual}
)

// seen is what a processor's OnStart found in its context.
type seen struct {
	state    *obsctx.Trace
	decision obsctx.Decision
	decided  bool
}

// observer is a processor that keeps what it sees at each start, by span name.
type observer struct {
	*tracetest.SpanRecorder
	mu     sync.Mutex // guards starts
	starts map[string]seen
}

func newObserver() *observer {
	return &observer{SpanRecorder: tracetest.NewSpanRecorder(), starts: make(map[string]seen)}
}

func (o *observer) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	o.SpanRecorder.OnStart(ctx, s)
	v := seen{state: obsctx.TraceFrom(ctx)}
	if v.state != nil && v.state.ID == s.SpanContext().TraceID() {
		v.decision, v.decided = v.state.Decision()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.starts[s.Name()] = v
}

func observed(opts Options) (*Provider, trace.Tracer, *observer) {
	o := newObserver()
	opts.SpanProcessors = append(opts.SpanProcessors, o)
	p := NewProvider(opts)
	return p, p.Tracer("test"), o
}

// remote is the context of a request that continues a trace.
func remote(ctx context.Context, id trace.TraceID, parent trace.SpanID, d *obsctx.Decision) (context.Context, *obsctx.Trace) {
	s := &obsctx.Trace{ID: id, Remote: true, Origin: "rum", Tags: "_dd.p.usr.id=u", LastParent: spanB, FrontEnd: traceB}
	if d != nil {
		s.Init(*d)
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: parent}))
	return obsctx.WithTrace(ctx, s), s
}

func TestLocalRootHasStateBeforeOnStart(t *testing.T) {
	t.Parallel()
	p, tr, o := observed(Options{})
	ctx, span := tr.Start(t.Context(), "root")
	child, _ := tr.Start(ctx, "child")

	state := obsctx.TraceFrom(ctx)
	if state == nil || state.ID != span.SpanContext().TraceID() || state.Remote || state.Pipeline != p.Pipeline(ctx) {
		t.Fatalf("got state %+v, want one of the trace %s and its pipeline", state, span.SpanContext().TraceID())
	}
	want := seen{state, auto, true}
	for _, name := range []string{"root", "child"} {
		if got := o.starts[name]; got != want {
			t.Errorf("%s: OnStart saw %+v, want %+v", name, got, want)
		}
	}
	if obsctx.TraceFrom(child) != state {
		t.Error("the child has a state of its own, want its root's")
	}
}

func TestRemoteParentHandsItsFactsOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		decision *obsctx.Decision
		want     obsctx.Decision
		sampled  bool
	}{
		{"kept", &keep, keep, true},
		{"refused", &refused, refused, false},
		{"undecided", nil, auto, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, tr, o := observed(Options{})
			in, up := remote(t.Context(), traceA, spanA, tt.decision)
			ctx, span := tr.Start(in, "root")

			got := obsctx.TraceFrom(ctx)
			if got == up || got.Remote || got.ID != traceA || span.SpanContext().TraceID() != traceA {
				t.Fatalf("got state %+v of span %v, want a new local one of %s", got, span.SpanContext(), traceA)
			}
			facts := func(s *obsctx.Trace) []any {
				return []any{s.Origin, s.Tags, s.LastParent, s.FrontEnd}
			}
			if diff := cmp.Diff(facts(up), facts(got)); diff != "" {
				t.Errorf("facts (-upstream +root):\n%s", diff)
			}
			if o.starts["root"].decision != tt.want || span.SpanContext().IsSampled() != tt.sampled {
				t.Errorf("got %+v, sampled %v, want %+v, %v", o.starts["root"].decision, span.SpanContext().IsSampled(), tt.want, tt.sampled)
			}
			if !span.IsRecording() {
				t.Error("the span is not recorded; an agent counts those of traces not kept, too")
			}
		})
	}
}

func TestTwoLocalRootsOfOneTrace(t *testing.T) {
	t.Parallel()
	_, tr, _ := observed(Options{})
	in, _ := remote(t.Context(), traceA, spanA, nil)
	one, _ := tr.Start(in, "one")
	two, _ := tr.Start(in, "two")
	a, b := obsctx.TraceFrom(one), obsctx.TraceFrom(two)
	if a == b || a.ID != traceA || b.ID != traceA {
		t.Errorf("got states %+v and %+v, want one each of the same trace", a, b)
	}
}

// The SDK keeps the trace id of a parent without a span id, and makes a root:
// ingress.go rests on that.
func TestIDAdoptedWithoutParent(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	in, _ := remote(t.Context(), traceA, trace.SpanID{}, nil)
	ctx, span := tr.Start(in, "root")
	span.End()
	got := o.Ended()[0]
	if got.SpanContext().TraceID() != traceA || got.Parent().SpanID().IsValid() || got.Parent().IsValid() {
		t.Errorf("got span %v under %v, want a root in %s", got.SpanContext(), got.Parent(), traceA)
	}
	if s := obsctx.TraceFrom(ctx); s.ID != traceA || s.FrontEnd != traceB || o.starts["root"].decision != auto {
		t.Errorf("got state %+v, want one of %s with upstream's facts and a decision of ours", s, traceA)
	}
}

func TestFrontEndOfAnUntrustedRequest(t *testing.T) {
	t.Parallel()
	_, tr, _ := observed(Options{})
	in := obsctx.WithTrace(t.Context(), &obsctx.Trace{Remote: true, FrontEnd: traceB})
	ctx, span := tr.Start(in, "root")
	got := obsctx.TraceFrom(ctx)
	if got.FrontEnd != traceB || got.ID != span.SpanContext().TraceID() || got.ID == traceB {
		t.Errorf("got state %+v, want a new trace's with the front end's id", got)
	}
}

func TestNewRoot(t *testing.T) {
	t.Parallel()
	_, tr, _ := observed(Options{})
	outer, outerSpan := tr.Start(t.Context(), "outer")
	obsctx.TraceFrom(outer).Decide(refused)
	inner, span := tr.Start(outer, "inner", trace.WithAttributes(attribute.Int("a", 1)), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithNewRoot())

	got, id := obsctx.TraceFrom(inner), span.SpanContext().TraceID()
	if id == outerSpan.SpanContext().TraceID() || got.ID != id || got == obsctx.TraceFrom(outer) {
		t.Errorf("got state %+v of trace %s, want a new one", got, id)
	}
	if d, _ := got.Decision(); d != auto {
		t.Errorf("got decision %+v, want a new one", d)
	}
}

// What calls the SDK's own tracer, as instrumentation does that asks a span
// for its provider, must not write to the state of the trace it leaves.
func TestSDKsOwnTracer(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	ctx, span := tr.Start(t.Context(), "outer")
	sdk := span.TracerProvider().Tracer("other")
	state := obsctx.TraceFrom(ctx)

	sdk.Start(ctx, "child")
	if got, want := o.starts["child"], (seen{state, auto, true}); got != want {
		t.Errorf("child: OnStart saw %+v, want %+v", got, want)
	}
	state.Decide(refused) // of the trace left, and no other
	_, root := sdk.Start(ctx, "root", trace.WithNewRoot())
	if state.ID != span.SpanContext().TraceID() || root.SpanContext().TraceID() == state.ID || !root.SpanContext().IsSampled() {
		t.Errorf("state %s of trace %s after a new root %v", state.ID, span.SpanContext().TraceID(), root.SpanContext())
	}
}

func TestLostAndForeignStates(t *testing.T) {
	t.Parallel()
	p, tr, o := observed(Options{})
	ctx, span := tr.Start(t.Context(), "root")

	lost, child := tr.Start(trace.ContextWithSpan(t.Context(), span), "lost")
	if obsctx.TraceFrom(lost) != nil || child.SpanContext().TraceID() != span.SpanContext().TraceID() || !child.SpanContext().IsSampled() {
		t.Errorf("a span whose context was lost: got state %+v, span %v", obsctx.TraceFrom(lost), child.SpanContext())
	}

	other, theirs := NewProvider(Options{}).Tracer("other").Start(t.Context(), "theirs")
	obsctx.TraceFrom(other).Decide(keep)
	mine, _ := tr.Start(other, "mine")
	got := obsctx.TraceFrom(mine)
	if got.Pipeline != p.Pipeline(mine) || got.ID != theirs.SpanContext().TraceID() || o.starts["mine"].decision != keep {
		t.Errorf("below another provider's span: got state %+v, want one of ours with the decision", got)
	}

	stale := trace.ContextWithSpan(ctx, theirs)
	after, grandchild := tr.Start(stale, "stale")
	if d, _ := obsctx.TraceFrom(after).Decision(); d != auto || grandchild.SpanContext().TraceID() != theirs.SpanContext().TraceID() {
		t.Errorf("with a stale state: span %v, and the state's decision became %+v", grandchild.SpanContext(), d)
	}
}

// A propagator of OpenTelemetry's own makes no state: what it read of W3C's
// headers is in the SpanContext.
func TestParentFromAnotherPropagator(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	ts, err := trace.ParseTraceState("dd=s:2;o:rum;t.dm:-4;t.usr.id:u,congo=1")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		sc   trace.SpanContextConfig
		want obsctx.Decision
	}{
		"dd":      {trace.SpanContextConfig{TraceFlags: 1, TraceState: ts}, keep},
		"sampled": {trace.SpanContextConfig{TraceFlags: 1}, obsctx.Decision{Priority: 1, Mechanism: obsctx.MechanismUnknown}},
		"dropped": {trace.SpanContextConfig{}, obsctx.Decision{Priority: 0, Mechanism: obsctx.MechanismUnknown}},
	} {
		tt.sc.TraceID, tt.sc.SpanID = traceA, spanA
		_, span := tr.Start(trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(tt.sc)), name)
		if got := o.starts[name].decision; got != tt.want || span.SpanContext().IsSampled() != (tt.want.Priority > 0) {
			t.Errorf("%s: got %+v, span %v, want %+v", name, got, span.SpanContext(), tt.want)
		}
	}
	if s := o.starts["dd"].state; s.Origin != "rum" || s.Tags != "_dd.p.usr.id=u" {
		t.Errorf("got state %+v, want tracestate's origin and tags", s)
	}
}

func TestKeepAndDropHoldForLaterChildren(t *testing.T) {
	t.Parallel()
	_, tr, _ := observed(Options{})
	ctx, _ := tr.Start(t.Context(), "root")
	for _, tt := range []struct {
		d       obsctx.Decision
		sampled bool
	}{{refused, false}, {keep, true}} {
		obsctx.TraceFrom(ctx).Decide(tt.d)
		_, span := tr.Start(ctx, "child")
		if span.SpanContext().IsSampled() != tt.sampled || !span.IsRecording() {
			t.Errorf("after %+v: span %v, recording %v, want sampled %v and recorded", tt.d, span.SpanContext(), span.IsRecording(), tt.sampled)
		}
	}
}

func TestSuppressed(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	in, up := remote(t.Context(), traceA, spanA, nil)
	local, localSpan := tr.Start(in, "local")
	for _, parent := range []context.Context{t.Context(), in, local} {
		ctx, span := tr.Start(obsctx.Suppress(parent), "suppressed")
		if span.IsRecording() || obsctx.TraceFrom(ctx) != obsctx.TraceFrom(parent) {
			t.Errorf("got span %v with state %+v, want none recorded and the parent's", span, obsctx.TraceFrom(ctx))
		}
		if got, want := span.SpanContext(), trace.SpanContextFromContext(parent); !got.Equal(want) {
			t.Errorf("got ids %v, want the parent's %v", got, want)
		}
		span.End()
	}
	if _, decided := up.Decision(); decided || len(o.Started()) != 1 || !localSpan.IsRecording() {
		t.Errorf("%d spans started, want the one that was not suppressed, still open", len(o.Started()))
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	p, tr, o := observed(Options{Disabled: true})
	in, up := remote(t.Context(), traceA, spanA, &keep)
	ctx, span := tr.Start(in, "root", trace.WithAttributes(attribute.Int("a", 1)))
	span.End()
	if span.IsRecording() || span.SpanContext().TraceID() != traceA || obsctx.TraceFrom(ctx) != up || len(o.Started()) != 0 {
		t.Errorf("got span %v, state %+v, %d spans, want the caller's ids and nothing recorded", span.SpanContext(), obsctx.TraceFrom(ctx), len(o.Started()))
	}
	headers := injected(ctx, p.Pipeline(ctx).Propagator)
	if got, want := headers["x-datadog-parent-id"]+" "+headers["x-datadog-sampling-priority"], "67667974448284343 2"; got != want {
		t.Errorf("an outgoing request carries %q, want %q", got, want)
	}
	if _, none := tr.Start(t.Context(), "root"); none.IsRecording() || none.SpanContext().IsValid() {
		t.Errorf("without a caller got span %v, want none", none.SpanContext())
	}
}

type countingValuer struct{ n *int }

func (v countingValuer) LogValue() slog.Value { *v.n++; return slog.IntValue(*v.n) }

func TestFieldsBecomeAttributes(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	n := 0
	ctx := obsctx.WithFields(t.Context(), []slog.Attr{slog.String("tenant", "acme"), slog.Int("try", 1), slog.Any("n", countingValuer{&n})})
	ctx = obsctx.WithFields(ctx, []slog.Attr{slog.Group("user", slog.String("id", "u1"))})
	ctx, root := tr.Start(ctx, "root", trace.WithAttributes(attribute.Int("try", 2)))
	_, child := tr.Start(ctx, "child")
	child.End()
	root.End()

	want := map[string][]string{
		"child": {"tenant=acme", "try=1", "n=1", "user.id=u1"},
		"root":  {"tenant=acme", "try=2", "n=1", "user.id=u1"},
	}
	got := make(map[string][]string)
	for _, s := range o.Ended() {
		for _, kv := range s.Attributes() {
			got[s.Name()] = append(got[s.Name()], string(kv.Key)+"="+kv.Value.String())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if n != 1 {
		t.Errorf("LogValue ran %d times, want once a context", n)
	}
}

func TestLinksOfTheRemoteState(t *testing.T) {
	t.Parallel()
	_, tr, o := observed(Options{})
	in, up := remote(t.Context(), traceA, spanA, nil)
	terminated := trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceB, SpanID: spanB})}
	own := trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: spanB})}
	up.Links = []trace.Link{terminated}
	opts := make([]trace.SpanStartOption, 1, 2)
	opts[0] = trace.WithLinks(own)
	ctx, root := tr.Start(in, "root", opts...)
	if opts[:2][1] != nil {
		t.Error("Start wrote behind its caller's options")
	}
	_, second := tr.Start(trace.ContextWithRemoteSpanContext(ctx, root.SpanContext()), "second root")
	second.End()
	_, child := tr.Start(ctx, "child")
	child.End()
	root.End()
	for _, s := range o.Ended()[:2] {
		if got := s.Links(); len(got) != 0 {
			t.Errorf("%s has links %v, want none", s.Name(), got)
		}
	}
	got := o.Ended()[2].Links()
	if len(got) != 2 || !got[0].SpanContext.Equal(own.SpanContext) || !got[1].SpanContext.Equal(terminated.SpanContext) {
		t.Errorf("the root has links %v, want its own and upstream's", got)
	}
}

func TestTracersAreCached(t *testing.T) {
	t.Parallel()
	for _, p := range []*Provider{NewProvider(Options{}), NewProvider(Options{Disabled: true})} {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				p.Tracer("a").Start(t.Context(), "x")
				p.Tracer("a", trace.WithInstrumentationVersion("1")).Start(t.Context(), "x")
			})
		}
		wg.Wait()
		if p.Tracer("a") != p.Tracer("a") || p.Tracer("a", trace.WithSchemaURL("s")) != p.Tracer("a", trace.WithSchemaURL("s")) {
			t.Error("got different tracers for one name")
		}
	}
	p := NewProvider(Options{})
	if p.Tracer("a") == p.Tracer("b") || p.Tracer("a") == p.Tracer("a", trace.WithInstrumentationVersion("1")) {
		t.Error("got one tracer for two scopes")
	}
}

// The SDK reads OTEL_SPAN_*_LIMIT itself, and is left to.
func TestSpanLimitsFromTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
	_, tr, o := observed(Options{})
	_, span := tr.Start(t.Context(), "root", trace.WithAttributes(attribute.Int("a", 1), attribute.Int("b", 2)))
	span.End()
	if got := o.Ended()[0]; len(got.Attributes()) != 1 || got.DroppedAttributes() != 1 {
		t.Errorf("got %d attributes, %d dropped, want 1 and 1", len(got.Attributes()), got.DroppedAttributes())
	}
}

func TestOptionsAreNotWrittenTo(t *testing.T) {
	t.Parallel()
	var opts Options
	p := NewProvider(opts)
	if opts.Sampler != nil || opts.IDGenerator != nil || opts.Propagator != nil || opts.Ingress != nil {
		t.Errorf("NewProvider wrote to its options: %+v", opts)
	}
	if got := p.Pipeline(t.Context()); got.Ingress != got.Propagator || got.Provider != trace.TracerProvider(p) || got != p.Pipeline(t.Context()) {
		t.Errorf("got pipeline %+v", got)
	}
}
