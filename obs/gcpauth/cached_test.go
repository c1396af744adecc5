package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// scripted is a source whose nth call, from 1, is answered by token.
type scripted struct {
	token func(ctx context.Context, n int) (Token, error)

	mu      sync.Mutex
	times   []time.Time // of the calls
	invalid int
	noMark  bool // a call was not marked as telemetry's own
}

func (s *scripted) Token(ctx context.Context) (Token, error) {
	s.mu.Lock()
	s.times = append(s.times, time.Now())
	n := len(s.times)
	s.noMark = s.noMark || !obsctx.Suppressed(ctx)
	s.mu.Unlock()
	return s.token(ctx, n)
}

func (s *scripted) Invalidate(Token) {
	s.mu.Lock()
	s.invalid++
	s.mu.Unlock()
}

func (s *scripted) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.times)
}

// minting gives a fresh token of an hour each time.
func minting(t *testing.T) *scripted {
	return &scripted{token: func(context.Context, int) (Token, error) { return mint(t, 0, time.Hour), nil }}
}

var errDown = errors.New("metadata: status 503")

// records is a slog.Handler that keeps lines.
type records struct {
	mu    sync.Mutex
	lines []string
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.TrimSpace(string(b)))
	return len(b), nil
}

func (r *records) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// with returns the lines that contain all parts.
func (r *records) with(parts ...string) (lines []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
next:
	for _, l := range r.lines {
		for _, p := range parts {
			if !strings.Contains(l, p) {
				continue next
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// get is Token, which must succeed at once.
func get(t *testing.T, c *CachedSource) Token {
	t.Helper()
	began := time.Now()
	token, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited != 0 {
		t.Fatalf("waited %v", waited)
	}
	return token
}

func TestCachedLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{Audience: testAudience})
		first := get(t, c)
		time.Sleep(40 * time.Minute) // 75 % less 10 % of it are 40m30s
		if get(t, c) != first || s.calls() != 1 {
			t.Fatalf("%d calls before three quarters of the life", s.calls())
		}
		time.Sleep(10 * time.Minute) // 75 % and 10 % of it are 49m30s
		if get(t, c) != first {
			t.Error("waited for the successor")
		}
		synctest.Wait()
		if s.calls() != 2 {
			t.Fatalf("%d calls after three quarters of the life, want 2", s.calls())
		}
		second := get(t, c)
		if second == first {
			t.Error("the old token still")
		}
		time.Sleep(3 * time.Hour) // nobody asks: nothing happens
		if s.calls() != 2 {
			t.Errorf("%d calls of an idle program", s.calls())
		}
		if get(t, c) == second {
			t.Error("an expired token")
		}
		if s.noMark {
			t.Error("a request was not marked as telemetry's own")
		}
	})
}

func TestSlowSourceBlocksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		get(t, c)
		quick := s.token
		s.token = func(ctx context.Context, n int) (Token, error) {
			time.Sleep(500 * time.Millisecond)
			return quick(ctx, n)
		}
		time.Sleep(57 * time.Minute)
		for range 50 {
			get(t, c)
		}
		time.Sleep(time.Second)
		if s.calls() != 2 {
			t.Errorf("%d calls", s.calls())
		}
	})
}

func TestOneFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		quick := s.token
		s.token = func(ctx context.Context, n int) (Token, error) {
			time.Sleep(500 * time.Millisecond)
			return quick(ctx, n)
		}
		c := Cached(s, CacheOptions{})
		for life := 1; life <= 2; life++ { // without a token, then with one that is just over
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					if token, err := c.Token(t.Context()); err != nil || token.left(time.Now()) <= 0 {
						t.Errorf("%v left, %v", token.left(time.Now()), err)
					}
				})
			}
			wg.Wait()
			if s.calls() != life {
				t.Errorf("life %d: %d requests for 1000 callers each", life, s.calls())
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestWaiterIsBoundByItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{token: func(ctx context.Context, _ int) (Token, error) {
			<-ctx.Done()
			return Token{}, ctx.Err()
		}}
		c := Cached(s, CacheOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Token(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		_, err = c.Token(t.Context()) // no deadline: that of the attempt
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != attemptTimeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s.calls() != 1 {
			t.Errorf("%d calls", s.calls())
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const poll = 100 * time.Millisecond
		var log records
		down := true
		s := &scripted{token: func(context.Context, int) (Token, error) {
			if down {
				return Token{}, errDown
			}
			return mint(t, 0, time.Hour), nil
		}}
		c := Cached(s, CacheOptions{Logger: log.logger()})
		for range 3000 {
			began := time.Now()
			if _, err := c.Token(t.Context()); !errors.Is(err, errDown) || time.Since(began) != 0 {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
			time.Sleep(poll)
		}
		for i := range len(s.times) - 1 {
			low := min(minBackoff<<min(i, 5), neededBackoff)
			gap, high := s.times[i+1].Sub(s.times[i]), min(2*low, neededBackoff)
			if gap < low || gap > high+poll {
				t.Errorf("gap %d is %v, want %v to %v", i+1, gap, low, high)
			}
		}
		if n := s.calls(); n < 55 || n > 65 {
			t.Errorf("%d calls in five minutes", n)
		}
		down = false
		time.Sleep(neededBackoff)
		get(t, c)
		synctest.Wait() // the report may come after the token
		if n := len(log.with(`"WARN"`)); n != 1 {
			t.Errorf("%d warnings, want 1:\n%s", n, strings.Join(log.with(`"WARN"`), "\n"))
		}
		if n := len(log.with(`"INFO"`, "works again")); n != 1 {
			t.Errorf("%d records of the recovery, want 1", n)
		}
	})
}

// TestBackoffWithToken: while there is a token the source is spared, and asked
// again by the time that the token is over.
func TestBackoffWithToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const poll = 100 * time.Millisecond
		s := minting(t)
		mintOne := s.token
		c := Cached(s, CacheOptions{})
		over := get(t, c).Expires()
		s.token = func(context.Context, int) (Token, error) { return Token{}, errDown }
		time.Sleep(40 * time.Minute)
		for time.Until(over) > 0 {
			get(t, c)
			time.Sleep(poll)
		}
		if n := s.calls(); n < 20 || n > 55 { // in the last quarter of an hour
			t.Errorf("%d calls while there was a token", n)
		}
		for i := 1; i < len(s.times)-1; i++ {
			low := min(minBackoff<<min(i-1, 5), maxBackoff, max(over.Sub(s.times[i]), neededBackoff))
			gap, high := s.times[i+1].Sub(s.times[i]), min(2*low, maxBackoff)
			if gap < low || gap > high+poll {
				t.Errorf("gap %d, %v before the token's end, is %v, want %v to %v", i, over.Sub(s.times[i]), gap, low, high)
			}
		}
		s.token = mintOne
		time.Sleep(neededBackoff)
		get(t, c)
	})
}

func TestReportsEachChangeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log records
		s := minting(t)
		mintOne := s.token
		c := Cached(s, CacheOptions{Logger: log.logger()})
		get(t, c)
		s.token = func(context.Context, int) (Token, error) { return Token{}, errDown }
		for range 12 * 59 { // an export each 5 s, until the token is over
			get(t, c)
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if n := len(log.with("still valid")); n != 1 || len(log.with("none is left")) != 0 {
			t.Errorf("%d reports of a failing source, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		for range 100 {
			if _, err := c.Token(t.Context()); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		s.token = mintOne
		time.Sleep(neededBackoff)
		get(t, c)
		synctest.Wait()
		for _, want := range []string{"still valid", "none is left", "works again"} {
			if n := len(log.with(want)); n != 1 {
				t.Errorf("%d records %q, want 1", n, want)
			}
		}
		if n := len(log.with("ID token obtained", testEmail, `"from":"source"`)); n != 2 {
			t.Errorf("%d records of tokens, want 2", n)
		}
		for _, l := range log.lines {
			if leaks(l) {
				t.Errorf("a token in the log: %s", l)
			}
		}
	})
}

func TestCachedChecks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		source func(t *testing.T) TokenSource
		want   string
	}{
		{"another audience", func(t *testing.T) TokenSource {
			return &scripted{token: func(context.Context, int) (Token, error) {
				return ParseToken(issue("https://other", time.Now(), time.Hour), time.Time{})
			}}
		}, `for the audience "https://other", want "` + testAudience + `"`},
		{"no token", func(*testing.T) TokenSource {
			return &scripted{token: func(context.Context, int) (Token, error) { return Token{}, nil }}
		}, "the source returned no ID token"},
		{"one that has expired since", func(t *testing.T) TokenSource {
			old := mint(t, 0, time.Minute)
			return &scripted{token: func(context.Context, int) (Token, error) {
				time.Sleep(2 * time.Minute)
				return old, nil
			}}
		}, "has expired"},
		{"panic", func(*testing.T) TokenSource {
			return &scripted{token: func(context.Context, int) (Token, error) { panic("at the disco") }}
		}, "the token source panicked with a string"},
		{"Goexit", func(*testing.T) TokenSource {
			return &scripted{token: func(context.Context, int) (Token, error) { runtime.Goexit(); return Token{}, nil }}
		}, "runtime.Goexit"},
		{"no source", func(*testing.T) TokenSource { return nil }, "Cached has no source"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := Cached(test.source(t), CacheOptions{Audience: testAudience})
				for range 2 { // the second time from memory
					_, err := c.Token(t.Context())
					if err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("got %v, want %q", err, test.want)
					}
				}
			})
		})
	}
}

// TestSuspendedMachine wakes up two hours later with a monotonic clock that
// knows nothing of it.
func TestSuspendedMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		first.t.wall = first.t.wall.Add(-2 * time.Hour)
		c.current.Store(newKept(first, refreshAge(first.t)))
		if get(t, c) == first {
			t.Error("a token that expired in its sleep")
		}
	})
}

// TestClockSetBack renews a token on time, by the monotonic clock, after the
// other has been set back by two hours.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		first.t.wall = first.t.wall.Add(2 * time.Hour)
		c.current.Store(newKept(first, refreshAge(first.t)))
		time.Sleep(40 * time.Minute)
		if get(t, c) != first || s.calls() != 1 {
			t.Errorf("another token was asked for after 40 min, with %d requests", s.calls())
		}
		time.Sleep(10 * time.Minute)
		get(t, c)
		synctest.Wait()
		if get(t, c) == first || s.calls() != 2 {
			t.Errorf("no other token after 50 min, with %d requests", s.calls())
		}
	})
}

func TestHotPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := Cached(Static(issue(testAudience, time.Now(), time.Hour)), CacheOptions{Audience: testAudience})
	ctx := context.Background()
	if _, err := c.Token(ctx); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Token(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestRefreshAge(t *testing.T) {
	t.Parallel()
	const h, m = time.Hour, time.Minute
	for _, test := range []struct {
		age, life time.Duration
		low, high time.Duration
	}{
		{0, h, 40*m + 30*time.Second, 49*m + 30*time.Second},
		{30 * m, h, 10*m + 30*time.Second, 19*m + 30*time.Second},
		{50 * m, h, 5 * m, 5 * m},
		{58 * m, h, m, m},
		{0, 10 * time.Second, 5 * time.Second, 5 * time.Second},
	} {
		t.Run(fmt.Sprintf("%v of %v", test.age, test.life), func(t *testing.T) {
			t.Parallel()
			token := token{total: test.life, left: test.life - test.age}
			for range 1000 {
				if got := refreshAge(&token); got < test.low || got > test.high {
					t.Fatalf("got %v, want %v to %v", got, test.low, test.high)
				}
			}
		})
	}
}
