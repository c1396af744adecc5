package gcpauth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// memory is a Cache of one process.
type memory struct {
	mu     sync.Mutex
	values map[string]string
	ends   map[string]time.Time
	ttls   []time.Duration
	gets   int
	noMark bool
	get    func(ctx context.Context) error // may be nil
	locks  map[string]time.Time            // when each is over
	lock   func() error                    // may be nil
}

func (m *memory) Lock(_ context.Context, key string, ttl time.Duration) (bool, error) {
	if m.lock != nil {
		return false, m.lock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Before(m.locks[key]) {
		return false, nil
	}
	if m.locks == nil {
		m.locks = make(map[string]time.Time)
	}
	m.locks[key] = now.Add(ttl)
	return true, nil
}

func (m *memory) Get(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	m.gets++
	m.noMark = m.noMark || !obsctx.Suppressed(ctx)
	v, ok := m.values[key]
	if end := m.ends[key]; !end.IsZero() && time.Now().After(end) {
		ok = false
	}
	m.mu.Unlock()
	if m.get != nil {
		if err := m.get(ctx); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, nil
	}
	return []byte(v), nil
}

func (m *memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = make(map[string]string)
	}
	if m.ends == nil {
		m.ends = make(map[string]time.Time)
	}
	m.ends[key] = time.Now().Add(ttl)
	m.values[key] = string(value)
	m.ttls = append(m.ttls, ttl)
	return nil
}

// named is a source that knows whose tokens it makes.
type named struct {
	*scripted
	email string
	err   error
}

func (n named) Identity(context.Context) (string, error) { return n.email, n.err }

var testKey = cacheKey(testAudience, testEmail)

func TestSharedFillsAndServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memory
		first, second := minting(t), minting(t)
		o := CacheOptions{Audience: testAudience, Cache: &m}
		a := Cached(named{first, testEmail, nil}, o)
		b := Cached(named{second, testEmail, nil}, o)
		token := get(t, a)
		synctest.Wait() // it is shared after it is served
		if d := cmp.Diff([]time.Duration{50 * time.Minute}, m.ttls); d != "" {
			t.Error(d)
		}
		if _, ok := m.values[testKey]; !ok {
			t.Errorf("not under %s: %d values", testKey, len(m.values))
		}
		if !get(t, b).same(token) || second.calls() != 0 {
			t.Errorf("the second instance made %d requests of the source", second.calls())
		}

		// From three quarters on one of them asks the source, the other finds that.
		time.Sleep(49*time.Minute + 40*time.Second)
		get(t, a)
		synctest.Wait()
		get(t, b)
		synctest.Wait()
		if !get(t, a).same(get(t, b)) || get(t, a).same(token) {
			t.Error("the instances' tokens differ, or are the old one")
		}
		if n := first.calls() + second.calls(); n != 2 {
			t.Errorf("%d requests of the source, want 2", n)
		}
		if m.noMark {
			t.Error("a request of the cache was not marked as telemetry's own")
		}
	})
}

// TestSharedFaults: whatever is wrong with the cache, the source's token comes,
// and the log says so once, without it.
func TestSharedFaults(t *testing.T) {
	t.Parallel()
	at := func(change testClaims) func() string {
		return func() string {
			now := time.Now()
			c := testClaims{"aud": testAudience, "sub": testSubject, "email": testEmail,
				"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
			for k, v := range change {
				if d, ok := v.(time.Duration); ok {
					v = now.Add(d).Unix()
				}
				c[k] = v
			}
			return rawToken(c)
		}
	}
	for _, test := range []struct {
		name   string
		value  func() string
		get    func(context.Context) error
		change func(*CacheOptions, *named)
		want   string // in the warning; empty: none
		took   time.Duration
	}{
		{name: "nothing there"},
		{name: "garbage", value: func() string { return "\x00garbage" }, want: "compact form"},
		{name: "another audience", value: at(testClaims{"aud": "https://other"}), want: "for the audience"},
		{name: "another account", value: at(testClaims{"email": "mallory@x", "sub": "7"}), want: "another service account's"},
		{name: "expired", value: at(testClaims{"iat": -2 * time.Hour, "exp": -time.Hour}), want: "has expired"},
		{name: "nearly expired", value: at(testClaims{"iat": -58 * time.Minute, "exp": 2 * time.Minute})},
		{name: "from the future", value: at(testClaims{"iat": 30 * time.Minute, "exp": 90 * time.Minute}), want: "issued in the future"},
		{name: "for ten years", value: at(testClaims{"exp": 87600 * time.Hour}), want: "claims a life"},
		{name: "refused", value: at(nil), get: func(context.Context) error { return errDown }, want: errDown.Error()},
		{name: "hangs", value: at(nil), get: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, want: "deadline exceeded", took: cacheTimeout},
		{name: "panics", value: at(nil), get: func(context.Context) error { panic(7) }, want: "the shared cache panicked with a int"},
		{name: "no audience", value: at(nil), change: func(o *CacheOptions, _ *named) { o.Audience = "" }, want: "needs CacheOptions.Audience"},
		{name: "identity unknown", value: at(nil), change: func(_ *CacheOptions, n *named) { n.err = errDown }, want: errDown.Error()},
		{name: "of another identity", value: at(nil), change: func(o *CacheOptions, _ *named) { o.Identity = "other@x" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := memory{get: test.get, values: map[string]string{}}
				if test.value != nil {
					m.values[testKey] = test.value()
				}
				var log records
				n := named{minting(t), testEmail, nil}
				o := CacheOptions{Audience: testAudience, Cache: &m, Logger: log.logger()}
				if test.change != nil {
					test.change(&o, &n)
				}
				c := Cached(n, o)
				began := time.Now()
				if _, err := c.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if n.calls() != 1 {
					t.Errorf("%d requests of the source", n.calls())
				}
				synctest.Wait()
				warnings := log.with(`"WARN"`)
				if test.want == "" && len(warnings) > 0 || test.want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], test.want)) {
					t.Errorf("warned %q, want %q", warnings, test.want)
				}
				if lines := strings.Join(log.with(""), "\n"); leaks(lines) {
					t.Errorf("a token in the log:\n%s", lines)
				}
			})
		})
	}
}

func TestSharedNeedsAnIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log records
		m := memory{values: map[string]string{testKey: issue(testAudience, time.Now(), time.Hour)}}
		s := minting(t) // has no method Identity
		c := Cached(s, CacheOptions{Audience: testAudience, Cache: &m, Logger: log.logger()})
		get(t, c)
		synctest.Wait()
		if m.gets != 0 || len(log.with(`"WARN"`, "needs CacheOptions.Identity")) != 1 {
			t.Errorf("%d gets, log %q", m.gets, log.with(`"WARN"`))
		}
		c = Cached(s, CacheOptions{Audience: testAudience, Cache: &m, Identity: testEmail})
		get(t, c)
		if m.gets != 1 || s.calls() != 1 {
			t.Errorf("with an identity: %d gets, %d calls of the source", m.gets, s.calls())
		}
	})
}

// TestSharedKnowsTheIssuersClock reads a token kept by another instance with a
// clock that is wrong, but known to be.
func TestSharedKnowsTheIssuersClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-70 * time.Minute, 70 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := time.Now().Add(skew)
				m := memory{values: map[string]string{testKey: issue(testAudience, issuer.Add(-30*time.Minute), time.Hour)}}
				s := clocked{named{minting(t), testEmail, nil}, issuer}
				c := Cached(s, CacheOptions{Audience: testAudience, Cache: &m})
				if left := get(t, c).left(time.Now()); left != 30*time.Minute || s.calls() != 0 {
					t.Errorf("%v left, %d requests of the source", left, s.calls())
				}
			})
		})
	}
}

type clocked struct {
	named
	now time.Time
}

func (c clocked) IssuerTime() time.Time { return c.now }

// TestSharedRefusedToken: what a server has refused is not taken from the cache
// again.
func TestSharedRefusedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory{values: map[string]string{testKey: issue(testAudience, time.Now(), time.Hour)}}
		s := minting(t)
		c := Cached(named{s, testEmail, nil}, CacheOptions{Audience: testAudience, Cache: &m})
		first := get(t, c)
		if s.calls() != 0 {
			t.Fatal("not from the cache")
		}
		time.Sleep(time.Second)
		c.Invalidate(first)
		second := get(t, c)
		if second.same(first) || s.calls() != 1 {
			t.Errorf("the same token %v, %d calls", second.same(first), s.calls())
		}
		synctest.Wait()
		if m.values[testKey] != second.t.raw() {
			t.Error("the cache has the refused token still")
		}
	})
}

// TestSharedIsNotToldTwice: a source that hands out the same token again has
// nothing for others.
func TestSharedIsNotToldTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memory
		raw := issue(testAudience, time.Now(), time.Hour)
		s := &scripted{token: func(context.Context, int) (Token, error) { return ParseToken(raw, time.Now()) }}
		c := Cached(named{s, testEmail, nil}, CacheOptions{Audience: testAudience, Cache: &m})
		get(t, c)
		time.Sleep(49*time.Minute + 40*time.Second)
		get(t, c)
		synctest.Wait()
		if s.calls() != 2 || len(m.ttls) != 1 {
			t.Errorf("%d calls, stored %d times", s.calls(), len(m.ttls))
		}
	})
}

func TestSharedReportsEachChangeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log records
		m := memory{get: func(context.Context) error { return errors.New("refused") }}
		c := Cached(named{minting(t), testEmail, nil}, CacheOptions{Audience: testAudience, Cache: &m, Logger: log.logger()})
		for range 3 {
			if _, err := c.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
		}
		m.get = nil
		get(t, c)
		synctest.Wait()
		bad, good := len(log.with("is of no use", `"WARN"`)), len(log.with("works again"))
		if bad != 1 || good != 1 {
			t.Errorf("%d warnings and %d recoveries, want 1 each:\n%s", bad, good, strings.Join(log.with("shared"), "\n"))
		}
	})
}

func TestCacheKey(t *testing.T) {
	t.Parallel()
	keys := map[string]bool{}
	for _, pair := range [][2]string{{"a", "b"}, {"a", "c"}, {"b", "a"}, {"ab", ""}, {"", "ab"}, {"a\x00b", ""}} {
		keys[cacheKey(pair[0], pair[1])] = true
	}
	if len(keys) != 6 {
		t.Errorf("%d keys for 6 pairs", len(keys))
	}
	if got, want := cacheKey(testAudience, testEmail), "idtok:v1:{"; !strings.HasPrefix(got, want) || strings.Contains(got, "acme") {
		t.Errorf("got %s", got)
	}
}

// TestSharedOlderToken asks the source when what the cache has ends no later
// than the token that is to be replaced.
func TestSharedOlderToken(t *testing.T) {
	t.Parallel()
	old := mint(t, 20*time.Minute, time.Hour)
	for _, test := range []struct {
		name   string
		shared Token
		old    *kept
		want   bool
	}{
		{"none in memory", mint(t, 40*time.Minute, time.Hour), nil, true},
		{"newer", mint(t, 10*time.Minute, time.Hour), &kept{token: old}, true},
		{"older", mint(t, 40*time.Minute, time.Hour), &kept{token: old}, false},
		{"the same", old, &kept{token: old}, false},
		{"older than a refused one", mint(t, 40*time.Minute, time.Hour), &kept{token: old, refused: true}, true},
		{"the refused one", old, &kept{token: old, refused: true}, false},
	} {
		if got := better(test.shared, test.old); got != test.want {
			t.Errorf("%s: better %v, want %v", test.name, got, test.want)
		}
	}
}
