package ddagent

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

func TestOverflowDropsTheOldestOfTheLowestPriority(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 50 << 10
		r := newRig(t, Options{QueueBytes: limit}, ProcessorOptions{})
		r.agent.setDown(true)
		pad := attribute.String("pad", strings.Repeat("x", 800))
		for i := range 100 {
			priority := []int{2, 0, -1, 1}[i%4]
			_, span, _ := r.trace(obsctx.Decision{Priority: priority})
			span.SetAttributes(pad, attribute.Int("i", i), attribute.Int("p", priority))
			span.End()
		}
		s := r.check(100)
		if s.Dropped.QueueFull == 0 || s.QueueBytes > limit {
			t.Fatalf("%+v", s)
		}
		r.agent.setDown(false)
		r.flushed()
		got := map[int][]int{}
		for _, c := range r.agent.chunks() {
			m := c[0].metrics()
			p := int(m["p"].(float64))
			got[p] = append(got[p], int(m["i"].(float64)))
		}
		if len(got[2]) != 25 || len(got[-1]) != 0 || len(got[1]) < len(got[0]) {
			t.Errorf("kept of each priority: %v", got)
		}
		if n := len(got[1]); n > 0 && got[1][n-1] != 99 {
			t.Errorf("the newest of priority 1 is gone: %v", got[1])
		}
		if s := r.check(100); s.Sent+s.Dropped.QueueFull != 100 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

func TestQueueTooSmallForAnything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{QueueBytes: 10}, ProcessorOptions{})
		for range 5 {
			_, span, _ := r.trace(keepIt)
			span.End()
		}
		if s := r.check(5); s.Dropped.QueueFull != 5 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// TestUnfinishedTracesCount fills the queue with spans of traces that stay
// open.
func TestUnfinishedTracesCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 50 << 10
		r := newRig(t, Options{QueueBytes: limit}, ProcessorOptions{})
		tracer := r.provider.Tracer("test")
		for range 20 {
			ctx, _, _ := r.trace(keepIt)
			for range 50 {
				_, child := tracer.Start(ctx, "child")
				child.End()
				if used := r.exporter.Stats().QueueBytes; used > limit {
					t.Fatalf("%d bytes of %d", used, limit)
				}
			}
		}
		if s := r.check(1000); s.Dropped.QueueFull == 0 || s.Queued == 0 || s.Open != 20 {
			t.Errorf("%+v", s)
		}
		r.stop()
		r.check(1000)
	})
}

// TestQueueAgainstAModel does random things to a queue and to a plain slice.
func TestQueueAgainstAModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var model []chunk
	var seq uint64
	id := &identity{}
	for step := range 20_000 {
		switch op := rng.IntN(10); {
		case op < 5:
			seq++
			c := chunk{seq: seq, id: id, spans: 1 + rng.IntN(3), records: strings.Repeat("x", rng.IntN(50)), at: time.Unix(int64(seq), 0)}
			c.facts.decision.Priority = rng.IntN(6) - 2
			q.push(c)
			model = append(model, c)
		case op < 7 && len(model) > 0:
			n := 1 + rng.IntN(min(len(model), 5))
			var batch []chunk
			for i := range n {
				c := q.pop()
				if c.seq != model[i].seq {
					t.Fatalf("step %d: popped %d, want %d", step, c.seq, model[i].seq)
				}
				batch = append(batch, c)
			}
			if rng.IntN(2) == 0 {
				q.unpop(batch)
			} else {
				model = model[n:]
			}
		case op < 9:
			c, ok := q.evict()
			if ok != (len(model) > 0) {
				t.Fatalf("step %d: evict says %v with %d chunks", step, ok, len(model))
			}
			if ok {
				model = without(t, model, c)
			}
		case len(model) > 10:
			t0 := model[3].at
			q.expire(t0)
			model = model[3:]
		}
		var bytes, spans int64
		for i := range model {
			bytes += model[i].cost()
			spans += int64(model[i].spans)
		}
		if q.bytes != bytes || q.spans != spans {
			t.Fatalf("step %d: %d bytes, %d spans; want %d, %d", step, q.bytes, q.spans, bytes, spans)
		}
	}
}

// without removes c from model, and checks that it was the oldest of the
// lowest class.
func without(t *testing.T, model []chunk, c chunk) []chunk {
	t.Helper()
	at := 0
	for i := range model {
		if model[i].class() < model[at].class() {
			at = i
		}
	}
	if model[at].seq != c.seq {
		t.Fatalf("evicted %d, want %d", c.seq, model[at].seq)
	}
	return append(append([]chunk{}, model[:at]...), model[at+1:]...)
}
