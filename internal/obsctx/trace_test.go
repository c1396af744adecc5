package obsctx

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type otherKey struct{}

func TestNewTrace(t *testing.T) {
	t.Parallel()
	outer, cancel := context.WithCancel(context.WithValue(t.Context(), otherKey{}, 7))
	defer cancel()
	ctx, s := NewTrace(outer)
	if TraceFrom(ctx) != s || ctx.Value(otherKey{}) != 7 || TraceFrom(outer) != nil {
		t.Error("the context does not carry what it should")
	}
	inner, cancelInner := context.WithTimeout(ctx, time.Hour)
	defer cancelInner()
	if TraceFrom(inner) != s {
		t.Error("a context below does not carry it")
	}
	again, other := NewTrace(inner)
	if TraceFrom(again) != other || other == s {
		t.Error("a trace below does not hide the one above")
	}
	cancel()
	<-again.Done() // or the test hangs
}

func TestSettle(t *testing.T) {
	t.Parallel()
	first, final, manual := Decision{Priority: 1}, Decision{Priority: -1, Mechanism: MechanismRule}, Decision{Priority: 2, Mechanism: MechanismManual}
	var asked atomic.Int64
	pending := func() *Trace {
		s := &Trace{Pending: &Pending{Decide: func() Decision { asked.Add(1); return final }}}
		s.Init(first)
		return s
	}
	s := pending()
	if d, _ := s.Decision(); d != first || asked.Load() != 0 {
		t.Errorf("before: %+v", d)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if d, ok := s.Settle(); d != final || !ok {
				t.Errorf("got %+v, %v", d, ok)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
	s.Decide(manual)
	if d, _ := s.Settle(); d != manual {
		t.Errorf("after Decide: %+v", d)
	}
	s = pending()
	s.Decide(manual)
	if d, _ := s.Settle(); d != manual || asked.Load() != 1 {
		t.Errorf("decided before: %+v", d)
	}
	s = &Trace{Pending: &Pending{}} // its provider was not ours
	s.Init(first)
	if d, _ := s.Settle(); d != first {
		t.Errorf("with nothing to ask: %+v", d)
	}
	if _, ok := new(Trace).Settle(); ok {
		t.Error("undecided: got a decision")
	}
}

func TestTagsWith(t *testing.T) {
	t.Parallel()
	rates := &Rates{Tag: "_dd.p.ksr=1"}
	for _, tt := range []struct {
		rates      *Rates
		tags, want string
	}{{nil, "", ""}, {nil, "_dd.p.a=1", "_dd.p.a=1"}, {rates, "", "_dd.p.ksr=1"}, {rates, "_dd.p.a=1", "_dd.p.a=1,_dd.p.ksr=1"}, {&Rates{}, "_dd.p.a=1", "_dd.p.a=1"}} {
		if got := (Decision{Rates: tt.rates}).TagsWith(tt.tags); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
