package spanqueue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// saying is an error that says all there is to say.
type saying struct {
	permanent, tooLarge bool
	rejected            int
	after               time.Duration
}

func (saying) Error() string               { return "no" }
func (s saying) Permanent() bool           { return s.permanent }
func (s saying) TooLarge() bool            { return s.tooLarge }
func (s saying) Rejected() int             { return s.rejected }
func (s saying) RetryAfter() time.Duration { return s.after }

func TestQueueRejectsSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		for _, n := range []int{1, 0, 100} { // of three
			r.out.set(func() { r.out.err = fmt.Errorf("export: %w", saying{permanent: true, rejected: n}) })
			r.spans(3)
			if err := r.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
			r.out.set(func() { r.out.err = nil })
			r.spans(1)
			if err := r.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if s := r.balanced(t); s.Dropped.Rejected != 1+3+3 || s.Sent != 2+3 || s.Requests != 6 {
			t.Errorf("got %+v", s)
		}
		if n := strings.Count(r.log.String(), "rejects spans"); n != 1 {
			t.Errorf("said %d times in less than a minute:\n%s", n, r.log)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// picky takes a few spans at once, none of them called huge, or says after.
type picky struct {
	exporter
	max   int
	after time.Duration
	asked []time.Time
}

func (p *picky) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	after := p.after
	p.mu.Unlock()
	if after > 0 {
		return saying{after: after}
	}
	for _, s := range spans {
		if len(spans) > p.max || s.Name() == "huge" {
			return saying{tooLarge: true}
		}
	}
	return p.exporter.ExportSpans(ctx, spans)
}

func TestQueueSplits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &picky{max: 3}
		r := newRig(Options{})
		r.Queue.opts.Exporter = out
		r.spans(5)
		_, s := r.tracer.Start(t.Context(), "huge")
		s.End()
		r.spans(5)
		time.Sleep(maxDelay)
		synctest.Wait()
		if s := r.balanced(t); s.Sent != 10 || s.Dropped.TooLarge != 1 || s.QueueBytes != 0 {
			t.Errorf("got %+v", s)
		}
		if n := strings.Count(r.log.String(), "\n"); n != 2 || !strings.Contains(r.log.String(), "rejects spans") {
			t.Errorf("said:\n%s", r.log)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestQueueBatchBytes: large spans of several traces do not share an export.
func TestQueueBatchBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(Options{})
		for range 9 {
			_, s := r.tracer.Start(t.Context(), "large", trace.WithAttributes(attribute.String("a", strings.Repeat("x", 1<<20))))
			s.End()
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent != 9 || fmt.Sprint(r.out.batches) != "[3 3 3]" {
			t.Errorf("got %+v in %v", s, r.out.batches)
		}
	})
}

func TestQueueRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &picky{max: 10, after: 90 * time.Second}
		r := newRig(Options{})
		r.Queue.opts.Exporter = out
		r.spans(1)
		time.Sleep(maxDelay + 100*time.Second)
		synctest.Wait()
		if len(out.asked) != 2 || out.asked[1].Sub(out.asked[0]) < 90*time.Second {
			t.Errorf("asked at %v", out.asked)
		}
		out.set(func() { out.after = time.Hour }) // longer than the spans live: they get another chance
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if len(out.asked) != 3 {
			t.Errorf("asked at %v", out.asked)
		}
		out.set(func() { out.after = 0 })
		time.Sleep(maxAge)
		synctest.Wait()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := r.balanced(t); s.Sent+s.Dropped.Expired != 1 {
			t.Errorf("got %+v", s)
		}
	})
}

// TestQueueShutdownTriesOnceMore: whatever the last attempt said.
func TestQueueShutdownTriesOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &picky{max: 10, after: 90 * time.Second}
		r := newRig(Options{})
		r.Queue.opts.Exporter = out
		r.spans(1)
		time.Sleep(maxDelay + time.Second)
		out.set(func() { out.after = 0 })
		began := time.Now()
		if err := r.Shutdown(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s := r.balanced(t); s.Sent != 1 {
			t.Errorf("got %+v", s)
		}
	})
}
