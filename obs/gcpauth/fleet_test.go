package gcpauth

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const fleetSize = 1000

// fleet is so many instances of one service, with one shared cache, each with
// a source of its own that takes a while.
type fleet struct {
	instances []*CachedSource
	asked     atomic.Int64

	mu    sync.Mutex // guards times
	times []time.Time
}

func newFleet(t *testing.T, took time.Duration, cache Cache, lock bool) *fleet {
	f := &fleet{}
	source := &fleetSource{f, t, took}
	for range fleetSize {
		f.instances = append(f.instances, Cached(source, CacheOptions{
			Audience: testAudience, Identity: testEmail, Cache: cache, Lock: lock,
		}))
	}
	return f
}

type fleetSource struct {
	*fleet
	t    *testing.T
	took time.Duration
}

func (s *fleetSource) Token(context.Context) (Token, error) {
	s.asked.Add(1)
	s.mu.Lock()
	s.times = append(s.times, time.Now())
	s.mu.Unlock()
	time.Sleep(s.took)
	return mint(s.t, 0, time.Hour), nil
}

func (*fleetSource) Invalidate(Token) {}

// coldStart starts the instances one after the other, within the given time,
// and returns when all have a token.
func (f *fleet) coldStart(t *testing.T, within time.Duration) {
	var wg sync.WaitGroup
	for _, c := range f.instances {
		wg.Go(func() {
			if _, err := c.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(within / fleetSize)
	}
	wg.Wait()
	synctest.Wait() // what was served is shared afterwards
}

// run makes each instance ask for its token each interval, for so long; at any
// moment a few of them do.
func (f *fleet) run(t *testing.T, interval, long time.Duration) {
	const steps = 100
	step := interval / steps
	for n := range int(long / step) {
		for i := n % steps; i < fleetSize; i += steps {
			if _, err := f.instances[i].Token(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(step)
	}
}

// TestFleet runs a thousand instances for a day.
func TestFleet(t *testing.T) {
	t.Parallel()
	interval := 10 * time.Second
	if raceEnabled {
		interval = time.Minute // the detector makes a call ten times as dear
	}
	const lifetimes = 24
	for _, test := range []struct {
		name string
		took time.Duration
		lock bool
	}{
		{"source takes 5 ms, no lock", 5 * time.Millisecond, false},
		{"source takes 2 s, lock", 2 * time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, test.took, &memory{}, test.lock)
				f.coldStart(t, 10*time.Second)
				cold, began := f.asked.Load(), time.Now()
				f.run(t, interval, lifetimes*simulatedLife)
				steady := f.asked.Load() - cold
				var perLife [lifetimes + 1]int
				for _, at := range f.times[cold:] {
					perLife[at.Sub(began)/simulatedLife]++
				}
				t.Logf("%d requests of the sources in %d lifetimes of a token, %.2f each; by lifetime: %v",
					steady, lifetimes, float64(steady)/lifetimes, perLife[:lifetimes])
				if steady > 2*lifetimes {
					t.Errorf("%d requests of the sources, want at most two a lifetime", steady)
				}
				if steady < lifetimes {
					t.Errorf("%d requests in %d lifetimes: the simulation does not run", steady, lifetimes)
				}
				for i, n := range perLife[:lifetimes] {
					if test.lock && n > 2 {
						t.Errorf("lifetime %d: %d requests, want at most 2", i, n)
					}
				}
			})
		})
	}
}

// TestFleetColdStart prints what the lock is good for.
func TestFleetColdStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		took, within time.Duration
		lock         bool
		want         int64 // at most
	}{
		{"all at once, source takes 1 s, no lock", time.Second, 0, false, fleetSize},
		{"all at once, source takes 1 s, lock", time.Second, 0, true, 1},
		{"within 10 s, source takes 1 s, no lock", time.Second, 10 * time.Second, false, 102},
		{"within 10 s, source takes 1 s, lock", time.Second, 10 * time.Second, true, 1},
		{"within 10 s, source takes 5 ms, no lock", 5 * time.Millisecond, 10 * time.Second, false, 2},
		{"all at once, source takes 6 s, lock", 6 * time.Second, 0, true, fleetSize}, // longer than lockWait
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, test.took, &memory{}, test.lock)
				began := time.Now()
				f.coldStart(t, test.within)
				t.Logf("%d requests of the sources, %v until all have a token", f.asked.Load(), time.Since(began))
				if n := f.asked.Load(); n > test.want {
					t.Errorf("%d requests of the sources, want at most %d", n, test.want)
				}
			})
		})
	}
}
