package ddagent

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// TestFreezeMovesTheDeadline ticks an attempt of 10 s at given times.
func TestFreezeMovesTheDeadline(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := []struct {
		name   string
		ticks  []time.Duration // when, after the beginning
		frozen time.Duration
		left   time.Duration // until the deadline, at the last tick
	}{
		{"on time", []time.Duration{250 * ms, 500 * ms}, 0, 9500 * ms},
		{"a little late", []time.Duration{250 * ms, 1400 * ms}, 0, 8600 * ms},
		{"frozen", []time.Duration{250 * ms, 30500 * ms}, 30 * time.Second, 9500 * ms},
		{"frozen from the beginning", []time.Duration{30250 * ms}, 30 * time.Second, 9750 * ms},
		{"frozen twice", []time.Duration{250 * ms, 20500 * ms, 20750 * ms, 41 * time.Second}, 40 * time.Second, 9 * time.Second},
		{"for a day", []time.Duration{24 * time.Hour}, 24*time.Hour - 250*ms, 9750 * ms},
	}
	for _, tt := range tests {
		start := time.Now()
		a := &attempt{last: start, deadline: start.Add(10 * time.Second)}
		for _, at := range tt.ticks {
			if next := a.check(start.Add(at)); next != tickEvery {
				t.Errorf("%s: the next tick is in %v", tt.name, next)
			}
		}
		last := tt.ticks[len(tt.ticks)-1]
		if left := a.deadline.Sub(start.Add(last)); a.frozen != tt.frozen || left != tt.left {
			t.Errorf("%s: frozen %v, %v left; want %v, %v", tt.name, a.frozen, left, tt.frozen, tt.left)
		}
	}
	start := time.Now()
	a := &attempt{last: start, deadline: start.Add(300 * ms)}
	if next := a.check(start.Add(250 * ms)); next != 50*ms {
		t.Errorf("the last tick is in %v, want 50ms", next)
	}
	if next := a.check(start.Add(300 * ms)); next != 0 {
		t.Errorf("%v left at the deadline", next)
	}
}

// TestAttemptEndsInTime runs one out.
func TestAttemptEndsInTime(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, _ *rig, _ trace.Tracer) {
		start := time.Now()
		ctx, a := beginAttempt(context.Background(), 10*time.Second)
		<-ctx.Done()
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("done after %v", took)
		}
		if frozen, expired := a.end(); frozen != 0 || !expired {
			t.Errorf("frozen %v, expired %v", frozen, expired)
		}
		ctx, a = beginAttempt(context.Background(), 10*time.Second)
		time.Sleep(9 * time.Second)
		if frozen, expired := a.end(); frozen != 0 || expired || ctx.Err() == nil {
			t.Errorf("frozen %v, expired %v, ctx %v", frozen, expired, ctx.Err())
		}
	})
}

// settled takes one span into flight and settles it with a.
func settled(r *rig, s *sender, a answer) {
	_, span, _ := r.trace(keepIt)
	span.End()
	s.take(v04)
	s.settle(a)
}

// TestAttemptAcrossAFreezeIsNotJudged: it fails, the span waits, but neither
// the backoff grows nor is the agent reported.
func TestAttemptAcrossAFreezeIsNotJudged(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, ProcessorOptions{})
	r.exporter.running = true // the sender is ours
	s := &sender{Exporter: r.exporter, limit: maxPayload, health: health{logger: r.exporter.opts.Logger, agent: "agent"}}
	now := time.Now()
	settled(r, s, answer{outcome: failed, frozen: 30 * time.Second, err: context.Canceled})
	if pause := s.retryAt.Sub(now); s.failures != 0 || pause > firstPause+time.Second || len(r.logs.records) != 0 {
		t.Errorf("failures %d, next in %v, %d reports", s.failures, pause, len(r.logs.records))
	}
	settled(r, s, answer{outcome: failed, err: context.Canceled})
	if s.failures != 1 || len(r.logs.records) != 1 {
		t.Errorf("an attempt without a freeze: failures %d, %d reports", s.failures, len(r.logs.records))
	}
	if got := r.exporter.Stats(); got.Queued != 2 || got.Dropped.Total() != 0 {
		t.Errorf("%+v", got)
	}
	s.take(v04)
	s.settle(answer{outcome: delivered})
	if got := r.exporter.Stats(); got.Sent != 2 || s.frozen != 0 {
		t.Errorf("%+v, frozen %v", got, s.frozen)
	}
}

// TestNothingExpiresWhileFrozen: a chunk's age does not count the time in which
// nobody could have sent it.
func TestNothingExpiresWhileFrozen(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, ProcessorOptions{})
	r.exporter.running = true // the sender is ours
	s := &sender{Exporter: r.exporter, limit: maxPayload, health: health{logger: r.exporter.opts.Logger, agent: "agent"}}
	settled(r, s, answer{outcome: failed})
	age := func(d time.Duration) {
		for i := range r.exporter.queue.rings {
			for c := r.exporter.queue.rings[i].front(); c != nil; c = nil {
				c.at = c.at.Add(-d)
			}
		}
	}
	age(maxAge + time.Hour)
	s.frozen = time.Hour + time.Minute
	s.take(v04)
	s.settle(answer{outcome: failed})
	if got := r.exporter.Stats(); got.Queued != 1 {
		t.Errorf("after a freeze of an hour: %+v", got)
	}
	age(2 * time.Minute)
	s.take(v04)
	s.settle(answer{outcome: failed})
	if got := r.exporter.Stats(); got.Queued != 0 || got.Dropped.Expired != 1 {
		t.Errorf("after ten minutes besides: %+v", got)
	}
}
