package ddagent

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// flushed sends all and returns the chunks the agent has got, oldest first.
func (r *rig) flushed() [][]span {
	r.t.Helper()
	if err := r.exporter.Flush(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	return r.agent.chunks()
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.exporter.Shutdown(context.Background()); err != nil {
		r.t.Error(err)
	}
}

func names(chunk []span) (list []string) {
	for _, s := range chunk {
		list = append(list, s["resource"].(string))
	}
	return list
}

// bubble runs f with a rig in a synctest bubble, and stops the rig.
func bubble(t *testing.T, po ProcessorOptions, f func(t *testing.T, r *rig, tracer trace.Tracer)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, po)
		f(t, r, r.provider.Tracer("test"))
		r.stop()
	})
}

func TestChunkIsWholeAndRootFirst(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, state := r.trace(obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismManual})
		childCtx, child := tracer.Start(ctx, "child")
		_, grandchild := tracer.Start(childCtx, "grandchild")
		grandchild.End()
		child.End()
		time.Sleep(5 * time.Second)
		if n := r.agent.count(); n != 0 {
			t.Errorf("%d requests while the root is open", n)
		}
		root.End()
		time.Sleep(2*time.Second + time.Millisecond)
		chunks := r.agent.chunks()
		if len(chunks) != 1 {
			t.Fatalf("%d chunks, want 1", len(chunks))
		}
		if got := names(chunks[0]); !slices.Equal(got, []string{"root", "grandchild", "child"}) {
			t.Errorf("spans %v", got)
		}
		for i, s := range chunks[0] {
			_, hasPriority := s.metrics()[keyPriority]
			_, hasTop := s.metrics()[keyTopLevel]
			if first := i == 0; hasPriority != first || hasTop != first {
				t.Errorf("span %d: priority %v, top level %v", i, hasPriority, hasTop)
			}
		}
		first := chunks[0][0]
		if first.metrics()[keyPriority] != 2.0 || first.meta()[keyDecisionMaker] != "-4" {
			t.Errorf("first span: %v %v", first.metrics(), first.meta())
		}
		if want := state.ID.String()[:16]; first.meta()[keyTraceHigh] != want {
			t.Errorf("%s = %v, want %v", keyTraceHigh, first.meta()[keyTraceHigh], want)
		}
		if chunks[0][1]["parent_id"] != chunks[0][2]["span_id"] {
			t.Error("the grandchild's parent is not the child")
		}
	})
}

func TestFactsOfTheTrace(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		id := randomID()
		state := &obsctx.Trace{ID: id, Origin: "synthetics", Tags: "_dd.p.usr.id=abc,_dd.p.ts=02,_dd.p.tid=bad", LastParent: trace.SpanID{0xab, 7: 1}}
		state.Init(keepIt)
		ctx := trace.ContextWithRemoteSpanContext(obsctx.WithTrace(context.Background(), state),
			trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{7: 9}, TraceFlags: trace.FlagsSampled}))
		_, root := tracer.Start(ctx, "root")
		root.End()
		s := r.flushed()[0][0]
		for key, want := range map[string]any{
			keyOrigin: "synthetics", "_dd.p.usr.id": "abc", "_dd.p.ts": "02", keyLastParent: "ab00000000000001",
			keyTraceHigh: id.String()[:16], keyDecisionMaker: "-0",
		} {
			if got := s.meta()[key]; got != want {
				t.Errorf("%s = %v, want %v", key, got, want)
			}
		}
		if s["parent_id"] != uint64(9) || s.metrics()[keyTopLevel] != 1.0 {
			t.Errorf("parent %v, metrics %v", s["parent_id"], s.metrics())
		}
	})
}

func TestRejectedTracesReachTheAgentWithoutADecisionMaker(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		for _, priority := range []int{-1, 0} {
			_, span, _ := r.trace(obsctx.Decision{Priority: priority, Mechanism: obsctx.MechanismRule})
			span.End()
		}
		for i, chunk := range r.flushed() {
			if got := chunk[0].metrics()[keyPriority]; got != float64(i-1) {
				t.Errorf("priority %v, want %d", got, i-1)
			}
			if dm, ok := chunk[0].meta()[keyDecisionMaker]; ok {
				t.Errorf("decision maker %v", dm)
			}
		}
	})
}

func TestTwoLocalRootsOfOneTrace(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, a, state := r.trace(keepIt)
		// The second local root gets the trace from a request of the first.
		remote := trace.ContextWithRemoteSpanContext(context.Background(), a.SpanContext())
		second := &obsctx.Trace{ID: state.ID}
		second.Init(keepIt)
		remote, b := tracer.Start(obsctx.WithTrace(remote, second), "b")
		_, ofB := tracer.Start(remote, "of b")
		_, ofA := tracer.Start(ctx, "of a")
		ofA.End()
		ofB.End()
		b.End()
		if got := names(r.flushed()[0]); !slices.Equal(got, []string{"b", "of b"}) {
			t.Errorf("chunk of the second root %v", got)
		}
		a.End()
		chunks := r.flushed()
		if got := names(chunks[len(chunks)-1]); !slices.Equal(got, []string{"root"}) {
			t.Errorf("last chunk %v", got)
		}
	})
}

func TestLateSpans(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, state := r.trace(keepIt)
		_, slow := tracer.Start(ctx, "ends after its root")
		root.End()
		r.flushed()
		state.Decide(obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismManual})
		slow.End()
		r.flushed()
		_, late := tracer.Start(ctx, "starts after its root's chunk")
		late.End()
		chunks := r.flushed()
		if len(chunks) != 3 {
			t.Fatalf("%d chunks, want 3", len(chunks))
		}
		for i, want := range []float64{1, 2, 2} {
			s := chunks[i][0]
			if s.metrics()[keyPriority] != want {
				t.Errorf("chunk %d: priority %v, want %v", i, s.metrics()[keyPriority], want)
			}
			if _, top := s.metrics()[keyTopLevel]; top != (i == 0) {
				t.Errorf("chunk %d: top level %v", i, top)
			}
			if s.meta()[keyTraceHigh] != state.ID.String()[:16] {
				t.Errorf("chunk %d: no high half of the trace id", i)
			}
		}
		r.check(3)
	})
}

func TestLostContext(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, _ := r.trace(obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismManual})
		_, child := tracer.Start(ctx, "child")
		child.End()
		// Only the span context survives, of a parent that has ended.
		lost := trace.ContextWithSpanContext(context.Background(), child.SpanContext())
		_, orphan := tracer.Start(lost, "orphan")
		// And a state of some other trace.
		_, stale := tracer.Start(obsctx.WithTrace(trace.ContextWithSpan(context.Background(), root), &obsctx.Trace{ID: randomID()}), "stale")
		stale.End()
		orphan.End()
		root.End()
		chunks := r.flushed()
		if len(chunks) != 1 {
			t.Fatalf("%d chunks, want 1", len(chunks))
		}
		if got := names(chunks[0]); !slices.Equal(got, []string{"root", "child", "stale", "orphan"}) {
			t.Errorf("spans %v", got)
		}
	})
}

func TestNoStateAtAll(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root := tracer.Start(context.Background(), "root")
		_, child := tracer.Start(ctx, "child")
		child.End()
		root.End()
		chunks := r.flushed()
		if len(chunks) != 1 || len(chunks[0]) != 2 || chunks[0][0].metrics()[keyPriority] != 1.0 {
			t.Errorf("chunks %v", chunks)
		}
	})
}

func TestManualKeepAtTheEnd(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		for _, key := range []string{"manual.keep", "manual.drop"} {
			ctx, root, _ := r.trace(keepIt)
			_, child := tracer.Start(ctx, "child")
			child.SetAttributes(attribute.Bool(key, true))
			child.End()
			root.End()
		}
		chunks := r.flushed()
		for i, want := range []float64{2, -1} {
			if got := chunks[i][0].metrics()[keyPriority]; got != want {
				t.Errorf("chunk %d: priority %v, want %v", i, got, want)
			}
		}
	})
}

func TestPartialFlushBySpans(t *testing.T) {
	bubble(t, ProcessorOptions{PartialFlushSpans: 10}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, _ := r.trace(keepIt)
		for range 25 {
			_, child := tracer.Start(ctx, "child")
			child.End()
		}
		time.Sleep(3 * time.Second)
		if chunks := r.agent.chunks(); len(chunks) != 2 || len(chunks[0]) != 10 || len(chunks[1]) != 10 {
			t.Errorf("%d chunks", len(chunks))
		}
		root.End()
		chunks := r.flushed()
		if last := chunks[len(chunks)-1]; len(last) != 6 || last[0]["resource"] != "root" {
			t.Errorf("last chunk %v", names(last))
		}
		for _, c := range chunks {
			if c[0].metrics()[keyPriority] != 1.0 || c[0].meta()[keyTraceHigh] == nil {
				t.Errorf("a chunk's first span lacks facts: %v", c[0])
			}
		}
	})
}

func TestPartialFlushByAge(t *testing.T) {
	bubble(t, ProcessorOptions{PartialFlushAge: 10 * time.Second}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, _ := r.trace(keepIt)
		_, child := tracer.Start(ctx, "child")
		child.End()
		time.Sleep(25 * time.Second)
		if chunks := r.agent.chunks(); len(chunks) != 1 || len(chunks[0]) != 1 {
			t.Errorf("chunks %v", chunks)
		}
		n := r.agent.count()
		time.Sleep(time.Hour)
		if more := r.agent.count() - n; more != 0 {
			t.Errorf("%d requests in an idle hour", more)
		}
		root.End()
	})
}

func TestFlushSendsOpenTraces(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, _ := r.trace(keepIt)
		_, child := tracer.Start(ctx, "child")
		child.End()
		if chunks := r.flushed(); len(chunks) != 1 || chunks[0][0]["resource"] != "child" {
			t.Errorf("chunks %v", chunks)
		}
		if s := r.check(1); s.Open != 1 || s.Started != 2 {
			t.Errorf("%+v", s)
		}
		root.End()
	})
}

func TestServiceEntryIsTopLevel(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, root, _ := r.trace(keepIt)
		db := attribute.String("service.name", "db")
		dbCtx, entry := tracer.Start(ctx, "entry", trace.WithAttributes(db))
		_, inner := tracer.Start(dbCtx, "inner", trace.WithAttributes(db))
		_, back := tracer.Start(dbCtx, "back")
		for _, s := range []trace.Span{back, inner, entry, root} {
			s.End()
		}
		got := map[string]bool{}
		for _, s := range r.flushed()[0] {
			_, got[s["resource"].(string)] = s.metrics()[keyTopLevel]
		}
		for name, want := range map[string]bool{"root": true, "entry": true, "inner": false, "back": true} {
			if got[name] != want {
				t.Errorf("%s: top level %v, want %v", name, got[name], want)
			}
		}
	})
}

func TestTwoProvidersAreTwoServices(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		other := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.proc),
			sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "other"))))
		ctx, root, _ := r.trace(keepIt)
		_, foreign := other.Tracer("test").Start(ctx, "foreign")
		foreign.End()
		root.End()
		chunks := r.flushed()
		if len(chunks) != 2 || chunks[0][0]["service"] != "other" || chunks[1][0]["service"] != "shop" {
			t.Errorf("chunks %v", chunks)
		}
	})
}

func TestRepeatedSpanIDs(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		same := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.proc), sdktrace.WithIDGenerator(sameIDs{}))
		_, a := same.Tracer("test").Start(context.Background(), "a")
		_, b := same.Tracer("test").Start(context.Background(), "b")
		a.End()
		b.End()
		if chunks := r.flushed(); len(chunks) != 2 {
			t.Errorf("%d chunks, want 2", len(chunks))
		}
		for i := range r.proc.shards {
			if sh := &r.proc.shards[i]; len(sh.open)+len(sh.groups) != 0 {
				t.Errorf("shard %d still has %d open spans, %d groups", i, len(sh.open), len(sh.groups))
			}
		}
	})
}

type sameIDs struct{}

func (sameIDs) NewIDs(context.Context) (trace.TraceID, trace.SpanID) {
	return trace.TraceID{15: 1}, trace.SpanID{7: 1}
}
func (sameIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return trace.SpanID{7: 1} }

// TestConcurrency ends spans from many goroutines, on common and own traces,
// while others flush and read the account.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{PartialFlushSpans: 7})
		tracer := r.provider.Tracer("test")
		ctx, root, _ := r.trace(keepIt)
		const workers, each = 8, 100
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					own, span, _ := r.trace(keepIt)
					_, child := tracer.Start(own, fmt.Sprint(w, i))
					_, shared := tracer.Start(ctx, "shared")
					span.End()
					shared.End()
					child.End()
					if i%20 == 0 {
						r.exporter.Stats()
						if err := r.exporter.Flush(ctx); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		root.End()
		r.flushed()
		if s := r.check(workers*each*3 + 1); s.Sent != s.Ended || s.Open != 0 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestStaleStateIsNotUsed(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		for _, stale := range []*obsctx.Trace{{ID: randomID()}, {Remote: true}} {
			stale.Init(obsctx.Decision{Priority: 2, Mechanism: obsctx.MechanismManual})
			_, root := tracer.Start(obsctx.WithTrace(context.Background(), stale), "root")
			if stale.Remote {
				stale.ID = root.SpanContext().TraceID()
			}
			root.End()
		}
		for i, c := range r.flushed() {
			if got := c[0].metrics()[keyPriority]; got != 1.0 {
				t.Errorf("chunk %d: priority %v of a state that is not its own", i, got)
			}
		}
	})
}

// TestTheStateNamesTheGroup starts a span under a parent that has ended, while
// two local roots of the trace are open.
func TestTheStateNamesTheGroup(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, tracer trace.Tracer) {
		ctx, a, state := r.trace(keepIt)
		ended, child := tracer.Start(ctx, "child of a")
		child.End()
		second := &obsctx.Trace{ID: state.ID}
		second.Init(keepIt)
		_, b := tracer.Start(obsctx.WithTrace(trace.ContextWithRemoteSpanContext(context.Background(), a.SpanContext()), second), "b")
		_, late := tracer.Start(ended, "grandchild of a")
		late.End()
		b.End()
		a.End()
		chunks := r.flushed()
		if len(chunks) != 2 || !slices.Equal(names(chunks[0]), []string{"b"}) || len(chunks[1]) != 3 {
			t.Errorf("chunks of %v", chunks)
		}
	})
}

func TestSpansThatEndAfterShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		ctx, root, _ := r.trace(keepIt)
		_, child := r.provider.Tracer("test").Start(ctx, "child")
		r.stop()
		child.End() // its group stays open
		if s := r.check(1); s.Dropped.Shutdown != 1 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		root.End()
		if s := r.check(2); s.Dropped.Shutdown != 2 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}
