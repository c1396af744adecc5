package spanqueue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// exporter is an sdktrace.SpanExporter that can be made to fail.
type exporter struct {
	mu      sync.Mutex
	err     error
	poison  string // the name of a span that always fails
	panics  bool
	hang    bool // until the export's context ends
	deaf    chan struct{}
	names   []string
	batches []int
	traced  bool // an export whose context makes spans
	closed  int
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.mu.Lock()
	hang, deaf := e.hang, e.deaf
	e.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	if deaf != nil {
		<-deaf
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.traced = e.traced || !obsctx.Suppressed(ctx)
	if e.panics {
		panic("exporter")
	}
	if hang {
		return ctx.Err()
	}
	if e.err != nil || e.poison != "" && slices.ContainsFunc(spans, func(s sdktrace.ReadOnlySpan) bool { return s.Name() == e.poison }) {
		return errors.Join(e.err, errPoison)
	}
	for _, s := range spans {
		e.names = append(e.names, s.Name())
	}
	e.batches = append(e.batches, len(spans))
	return nil
}

func (e *exporter) Shutdown(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed++
	return nil
}

func (e *exporter) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

var errPoison = errors.New("poison")

type refusal struct{}

func (refusal) Error() string   { return "bad request" }
func (refusal) Permanent() bool { return true }

type rig struct {
	*Queue
	out    *exporter
	log    *bytes.Buffer
	tracer trace.Tracer
}

func newRig(opts Options) *rig {
	r := &rig{out: &exporter{}, log: &bytes.Buffer{}}
	opts.Exporter = r.out
	opts.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	r.Queue = New(opts)
	r.tracer = tracing.NewProvider(tracing.Options{SpanProcessors: []sdktrace.SpanProcessor{r.Queue}}).Tracer("test")
	return r
}

// spans makes n traces of one span.
func (r *rig) spans(n int) {
	for range n {
		_, s := r.tracer.Start(context.Background(), "one")
		s.End()
	}
}

// balanced checks the account, and returns it.
func (r *rig) balanced(t *testing.T) ddagent.Stats {
	t.Helper()
	s := r.Stats()
	if s.Started != s.Open+s.Forgotten+s.Ended || s.Ended != s.Sent+s.Dropped.Total()+s.Queued+s.InFlight {
		t.Errorf("the account does not add up: %+v", s)
	}
	return s
}

func TestQueueDelivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		ctx, root := r.tracer.Start(t.Context(), "root")
		_, child := r.tracer.Start(ctx, "child")
		child.End()
		time.Sleep(maxDelay)
		synctest.Wait()
		if s := r.balanced(t); s.Queued != 1 || s.Open != 1 || s.Sent != 0 {
			t.Errorf("of an open trace: %+v", s)
		}
		root.End()
		time.Sleep(maxDelay)
		synctest.Wait()
		if diff := cmp.Diff([]string{"child", "root"}, r.out.names); diff != "" {
			t.Error(diff)
		}
		r.spans(maxBatch + 3)
		synctest.Wait()
		if diff := cmp.Diff([]int{2, maxBatch}, r.out.batches); diff != "" {
			t.Error("a full batch does not wait:", diff)
		}
		if err := r.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent != maxBatch+5 || s.Queued != 0 || s.QueueBytes != 0 {
			t.Errorf("after a flush: %+v", s)
		}
		if err := r.Shutdown(t.Context()); err != nil || r.out.closed != 1 || r.out.traced {
			t.Errorf("shutdown: %v, closed %d times, traces itself: %t", err, r.out.closed, r.out.traced)
		}
		r.spans(2)
		if s := r.balanced(t); s.Dropped.Shutdown != 2 {
			t.Errorf("after the end: %+v", s)
		}
	})
}

// TestQueueUnsampled: spans wait for their trace's decision, as late as it is.
func TestQueueUnsampled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		for _, priority := range []int{-1, 0, 1, 2} {
			ctx, root := r.tracer.Start(t.Context(), "root")
			_, child := r.tracer.Start(ctx, "child")
			child.End()
			obsctx.TraceFrom(ctx).Decide(obsctx.Decision{Priority: priority})
			root.End()
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent != 4 || s.Dropped.Unsampled != 4 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestQueuePartial: what ended in a trace that stays open goes out by its age,
// its number, or a flush.
func TestQueuePartial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		ctx, root := r.tracer.Start(t.Context(), "root")
		child := func() {
			_, s := r.tracer.Start(ctx, "child")
			s.End()
		}
		child()
		time.Sleep(2*partialAge + maxDelay)
		synctest.Wait()
		if s := r.balanced(t); s.Sent != 1 {
			t.Errorf("by age: %+v", s)
		}
		for range maxBatch {
			child()
		}
		synctest.Wait()
		if s := r.balanced(t); s.Sent != maxBatch+1 {
			t.Errorf("by number: %+v", s)
		}
		child()
		if err := r.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent != maxBatch+2 || s.Open != 1 {
			t.Errorf("by flush: %+v", s)
		}
		root.End()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestQueueFaults: an exporter that fails loses nothing, is said once, and is
// tried again ever more seldom.
func TestQueueFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		on   func(*exporter)
		off  func(*exporter)
	}{
		{"error", func(e *exporter) { e.err = errors.New("no route") }, func(e *exporter) { e.err = nil }},
		{"panic", func(e *exporter) { e.panics = true }, func(e *exporter) { e.panics = false }},
		{"hang", func(e *exporter) { e.hang = true }, func(e *exporter) { e.hang = false }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(Options{})
				r.out.set(func() { tt.on(r.out) })
				for range 300 {
					r.spans(1)
					time.Sleep(time.Second)
				}
				if s := r.balanced(t); s.Sent != 0 || s.Dropped.Total() != 0 || s.Retries == 0 || s.Requests > 20 {
					t.Errorf("while it fails: %+v", s)
				}
				r.out.set(func() { tt.off(r.out) })
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if s := r.balanced(t); s.Sent != 300 {
					t.Errorf("afterwards: %+v", s)
				}
				if n := strings.Count(r.log.String(), "\n"); n != 2 || !strings.Contains(r.log.String(), "they wait") || !strings.Contains(r.log.String(), "again") {
					t.Errorf("said:\n%s", r.log)
				}
				if err := r.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestQueueRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		r.out.set(func() { r.out.err = refusal{} })
		r.spans(3)
		if err := r.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Dropped.Rejected != 3 || s.Requests != 1 {
			t.Errorf("got %+v", s)
		}
		if !strings.Contains(r.log.String(), "they are lost") {
			t.Errorf("said:\n%s", r.log)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestQueuePoison: one batch that always fails does not hold up the others.
func TestQueuePoison(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		r.out.poison = "bad"
		_, bad := r.tracer.Start(t.Context(), "bad")
		bad.End()
		time.Sleep(maxDelay)
		synctest.Wait()
		r.spans(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := r.balanced(t); s.Sent != 3 || s.Queued != 1 {
			t.Errorf("got %+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Shutdown(ctx); err == nil || r.balanced(t).Dropped.Shutdown != 1 {
			t.Errorf("got %v, %+v", err, r.Stats())
		}
	})
}

func TestQueueExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		r.out.set(func() { r.out.err = errors.New("down") })
		r.spans(5)
		time.Sleep(maxAge + 2*maxBackoff)
		synctest.Wait()
		if s := r.balanced(t); s.Dropped.Expired != 5 || s.QueueBytes != 0 {
			t.Errorf("got %+v", s)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestQueueBounded: the oldest make room for what comes.
func TestQueueBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{QueueBytes: 100 << 10})
		r.out.set(func() { r.out.err = errors.New("down") })
		r.spans(1000)
		if s := r.balanced(t); s.QueueBytes > 100<<10 || s.Queued+s.InFlight < 40 || s.Dropped.QueueFull != 1000-s.Queued-s.InFlight {
			t.Errorf("got %+v", s)
		}
		_, s := r.tracer.Start(t.Context(), "huge", trace.WithAttributes(attribute.String("a", strings.Repeat("x", 200<<10))))
		s.End()
		if s := r.balanced(t); s.QueueBytes > 100<<10 || s.Dropped.TooLarge != 1 {
			t.Errorf("with a span larger than the queue: %+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err == nil {
			t.Error("no error of spans that were left")
		}
		r.balanced(t)
	})
}

// TestQueueShutdownDeaf: an exporter that heeds no context delays nothing
// beyond the deadline.
func TestQueueShutdownDeaf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		r.out.deaf = make(chan struct{})
		r.spans(3)
		time.Sleep(maxDelay)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Shutdown(ctx); err == nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if s := r.balanced(t); s.Dropped.Shutdown != 3 {
			t.Errorf("got %+v", s)
		}
		close(r.out.deaf)
		synctest.Wait()
		if s := r.balanced(t); s.Dropped.Shutdown != 3 || s.Sent != 0 {
			t.Errorf("counted again: %+v", s)
		}
	})
}

// TestQueueOpenBounded: spans that are never ended take a bounded place.
func TestQueueOpenBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{QueueBytes: 10 * openCost})
		var open []trace.Span
		for range 25 {
			_, s := r.tracer.Start(t.Context(), "open")
			open = append(open, s)
		}
		if s := r.balanced(t); s.Open != 10 || s.Forgotten != 15 {
			t.Errorf("got %+v", s)
		}
		r.Queue.opts.QueueBytes = defaultQueueBytes // room for what ends
		for _, s := range slices.Backward(open) {
			s.End()
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent != 25 || s.Open != 0 || s.Forgotten != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestQueueConcurrent(t *testing.T) {
	t.Parallel()
	r := newRig(Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				ctx, root := r.tracer.Start(t.Context(), "root")
				_, child := r.tracer.Start(ctx, "child")
				root.End()
				child.End()
			}
		})
	}
	wg.Wait()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if s := r.balanced(t); s.Sent != 8000 {
		t.Errorf("got %+v", s)
	}
}
