package gcpauth

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowly gives a fresh token after a while.
func slowly(t *testing.T, took time.Duration) *scripted {
	return &scripted{token: func(ctx context.Context, _ int) (Token, error) {
		select {
		case <-time.After(took):
			return mint(t, 0, time.Hour), nil
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
	}}
}

// TestLockAtColdStart: one instance asks, the others take what it shares.
func TestLockAtColdStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memory
		first, second := slowly(t, time.Second), slowly(t, time.Second)
		o := CacheOptions{Audience: testAudience, Cache: &m, Lock: true}
		a, b := Cached(named{first, testEmail, nil}, o), Cached(named{second, testEmail, nil}, o)
		done := make(chan Token)
		go func() {
			token, err := a.Token(t.Context())
			if err != nil {
				t.Error(err)
			}
			done <- token
		}()
		synctest.Wait() // a has the lock
		began := time.Now()
		token, err := b.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second+2*maxLockPoll {
			t.Errorf("took %v", took)
		}
		if !token.same(<-done) || first.calls() != 1 || second.calls() != 0 {
			t.Errorf("%d and %d requests of the source, want 1 and 0", first.calls(), second.calls())
		}
	})
}

// TestLockIsNotWaitedForWithAToken: while its token is good an instance leaves
// the asking to the one that has the lock, and takes the result later.
func TestLockIsNotWaitedForWithAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memory
		var log records
		first, second := slowly(t, 0), slowly(t, 0)
		o := CacheOptions{Audience: testAudience, Cache: &m, Lock: true, Logger: log.logger()}
		a, b := Cached(named{first, testEmail, nil}, o), Cached(named{second, testEmail, nil}, o)
		if _, err := a.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		old := get(t, b)
		first.token = slowly(t, 5*time.Second).token
		time.Sleep(49*time.Minute + 40*time.Second)
		get(t, a)
		synctest.Wait() // a holds the lock for 5 s
		for range 4 {
			if get(t, b) != old {
				t.Error("another token, before there is one")
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2*time.Second + 2*lockRetry)
		get(t, b)
		synctest.Wait()
		if get(t, b).same(old) || first.calls() != 2 || second.calls() != 0 {
			t.Errorf("%d and %d requests of the source, want 2 and 0", first.calls(), second.calls())
		}
		if lines := log.with(`"WARN"`); len(lines) != 0 {
			t.Errorf("warned %q", lines)
		}
	})
}

// TestLockCannotStall: whoever holds the lock may never bring a token.
func TestLockCannotStall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		cache func() Cache
		want  string // in the warning
		took  time.Duration
	}{
		{"held by one that died", func() Cache {
			return &memory{locks: map[string]time.Time{testKey: time.Now().Add(lockLife)}}
		}, "", lockWait},
		{"fails", func() Cache { return &memory{lock: func() error { return errDown }} }, errDown.Error(), 0},
		{"panics", func() Cache { return &memory{lock: func() error { panic(7) }} }, "panicked with a int", 0},
		{"none to be had", func() Cache { return struct{ Cache }{&memory{}} }, "needs a Cache that is a Locker", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log records
				s := slowly(t, 0)
				c := Cached(named{s, testEmail, nil}, CacheOptions{Audience: testAudience, Cache: test.cache(), Lock: true, Logger: log.logger()})
				began := time.Now()
				if _, err := c.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < test.took || took > test.took+2*maxLockPoll {
					t.Errorf("took %v, want %v", took, test.took)
				}
				synctest.Wait()
				warnings := log.with(`"WARN"`, "is of no use")
				if test.want == "" && len(warnings) > 0 || test.want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], test.want)) {
					t.Errorf("warned %q, want %q", warnings, test.want)
				}
				if s.calls() != 1 {
					t.Errorf("%d requests of the source", s.calls())
				}
			})
		})
	}
}
