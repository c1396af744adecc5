package rediscache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// lines keeps what go-redis logs; Open gives it to the whole process.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var clientLog lines

func open(t *testing.T, url string, o Options) *Cache {
	t.Helper()
	o.ClientLogger = slog.New(slog.NewTextHandler(&clientLog, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second // a busy machine is no fault of Redis
	}
	c, err := Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// patient is a cache on a client with go-redis's own timeouts: those that Open
// sets, 100 ms, a busy machine runs into.
func patient(t *testing.T, url string, o Options) *Cache {
	t.Helper()
	parsed, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	r := redis.NewClient(parsed)
	t.Cleanup(func() { r.Close() })
	o.Timeout = time.Minute
	c, err := New(r, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGetAndSet(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	ctx := t.Context()
	for _, test := range []struct {
		name string
		o    Options
		key  string
	}{
		{"sealed", Options{Key: testKey(1)}, "kumihimo:k"},
		{"plaintext", Options{Plaintext: true, Prefix: "shop:"}, "shop:k"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := patient(t, "redis://"+s.addr, test.o)
			if got, err := c.Get(ctx, "k"); got != nil || err != nil {
				t.Errorf("before: %q, %v", got, err)
			}
			if err := c.Set(ctx, "k", []byte("value"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Get(ctx, "k"); string(got) != "value" || err != nil {
				t.Errorf("after: %q, %v", got, err)
			}
			stored, err := s.admin.Get(ctx, test.key).Result()
			if err != nil || strings.Contains(stored, "value") != test.o.Plaintext {
				t.Errorf("stored %q, %v", stored, err)
			}
			if ttl, err := s.admin.PTTL(ctx, test.key).Result(); err != nil || ttl <= 59*time.Minute || ttl > time.Hour {
				t.Errorf("ttl %v, %v", ttl, err)
			}
			if err := c.Set(ctx, "k", []byte("value"), 0); err == nil {
				t.Error("stored for ever")
			}
		})
	}
}

// TestPoisoned: what others put there does not come out, and is no reason to
// stop asking.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	ctx := t.Context()
	c := patient(t, "redis://"+s.addr, Options{Key: testKey(1)})
	ours := mustSealer(t, Options{Key: testKey(1)})
	for _, test := range []struct {
		name  string
		value string
		want  error
	}{
		{"garbage", "garbage", errForm},
		{"empty", "", errForm},
		{"plaintext token", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", errForm},
		{"plaintext of our form", "\x00eyJhbGciOiJSUzI1NiJ9.e30.c2ln", errForm},
		{"another key", string(mustSealer(t, Options{Key: testKey(2)}).seal([]byte("v"), "kumihimo:k")), errKey},
		{"moved from another key", string(ours.seal([]byte("v"), "kumihimo:other")), errOpen},
		{"prefix of another cache", string(ours.seal([]byte("v"), "other:k")), errOpen},
		{"cut", string(ours.seal([]byte("v"), "kumihimo:k")[:20]), errOpen},
	} {
		if err := s.admin.Set(ctx, "kumihimo:k", test.value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		for range maxFailures + 1 {
			got, err := c.Get(ctx, "k")
			if got != nil || !errors.Is(err, test.want) {
				t.Errorf("%s: got %q, %v; want %v", test.name, got, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "eyJ") {
				t.Errorf("%s: the error shows the value", test.name)
			}
		}
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	ctx := t.Context()
	c := patient(t, "redis://"+s.addr, Options{Key: testKey(1)})
	if err := c.Set(ctx, "k", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.admin.PExpire(ctx, "kumihimo:k", 0).Result(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range maxFailures + 1 {
		if got, err := c.Get(ctx, "k"); got != nil || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestServerErrors(t *testing.T) {
	t.Parallel()
	s := startRedis(t, "--requirepass", "hunter2")
	ctx := t.Context()
	for _, test := range []struct{ name, url, want string }{
		{"no password", "redis://" + s.addr, "NOAUTH"},
		{"wrong password", "redis://:hunter3@" + s.addr, "WRONGPASS"},
	} {
		c := patient(t, test.url, Options{Key: testKey(1)})
		if _, err := c.Get(ctx, "k"); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	c := patient(t, "redis://:hunter2@"+s.addr, Options{Key: testKey(1)})
	if _, err := c.Get(ctx, "k"); err != nil {
		t.Error(err)
	}
	if err := s.admin.LPush(ctx, "kumihimo:k", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "k"); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("wrong type: %v", err)
	}
	if got := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(got, "hunter2") {
		t.Errorf("the cache prints its password: %s", got)
	}
}

// TestDown covers what a Redis that is not there costs: an error, and after
// three of them nothing.
func TestDown(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	s.stop()
	for _, test := range []struct {
		name, addr string
		timeout    time.Duration
	}{
		{"refused", s.addr, 10 * time.Second},
		{"hangs", blackHole(t), 50 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, "redis://:hunter2@"+test.addr, Options{Key: testKey(1), Timeout: test.timeout})
			for i := range maxFailures {
				_, err := c.Get(t.Context(), "k")
				if err == nil || errors.Is(err, errPaused) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("call %d: %v", i+1, err)
				}
			}
			if _, err := c.Get(t.Context(), "k"); !errors.Is(err, errPaused) {
				t.Errorf("after %d failures: %v", maxFailures, err)
			}
			if err := c.Set(t.Context(), "k", nil, time.Hour); !errors.Is(err, errPaused) {
				t.Errorf("Set: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		if strings.Contains(clientLog.String(), "hunter2") {
			t.Error("go-redis logged the password")
		}
	})
}

// fakeClient answers Get and nothing else.
type fakeClient struct {
	redis.UniversalClient
	get   func(ctx context.Context) (string, error)
	calls atomic.Int64
}

func (f *fakeClient) Get(ctx context.Context, _ string) *redis.StringCmd {
	f.calls.Add(1)
	return redis.NewStringResult(f.get(ctx))
}

// TestClientLoggerByOptionAlone: go-redis has one logger for the whole process.
// The test is not parallel, so that no other one sets it meanwhile.
func TestClientLoggerByOptionAlone(t *testing.T) {
	var programs, ours lines
	logger := func(w *lines) *slog.Logger {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	redis.SetLogger(clientLogger{logger(&programs)})
	t.Cleanup(func() { redis.SetLogger(clientLogger{logger(&clientLog)}) })
	failing := redis.NewClient(&redis.Options{
		MaxRetries: noRetries, DialerRetries: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") },
	})
	t.Cleanup(func() { failing.Close() })
	const line = "nobody there"
	fail := func() {
		if err := failing.Ping(t.Context()).Err(); err == nil {
			t.Error("the client works")
		}
	}

	if _, err := New(failing, Options{Key: testKey(1), ClientLogger: logger(&ours)}); err != nil {
		t.Fatal(err)
	}
	fail()
	before := strings.Count(programs.String(), line)
	if before == 0 || ours.String() != "" {
		t.Errorf("after New: the program's logger has %q, the option's %q", programs.String(), ours.String())
	}
	for _, o := range []Options{{Key: testKey(1)}, {Key: testKey(1), ClientLogger: logger(&ours)}} {
		c, err := Open("redis://127.0.0.1:1", o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fail()
		after := strings.Count(programs.String(), line)
		if optional := o.ClientLogger != nil; (after == before) != optional || strings.Contains(ours.String(), line) != optional {
			t.Errorf("after Open, with a logger %v: the program's logger has %q, the option's %q", optional, programs.String(), ours.String())
		}
		before = after
	}
}

// TestForeignClient bounds a client that heeds no context, and goes easy on it.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		slow.Store(true)
		f := &fakeClient{}
		f.get = func(ctx context.Context) (string, error) {
			if !obsctx.Suppressed(ctx) {
				t.Error("a call is not marked as telemetry's own")
			}
			if slow.Load() {
				time.Sleep(5 * time.Second)
			}
			return "", redis.Nil
		}
		c, err := New(f, Options{Key: testKey(1)})
		if err != nil {
			t.Fatal(err)
		}
		for range maxFailures {
			began := time.Now()
			if _, err := c.Get(t.Context(), "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != defaultTimeout {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		calls := 0
		for range 60 { // a minute, in which one call is let through
			began := time.Now()
			_, err := c.Get(t.Context(), "k")
			if errors.Is(err, context.DeadlineExceeded) {
				calls++
			} else if !errors.Is(err, errPaused) || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		if calls != 1 {
			t.Errorf("%d calls let through in a minute, want 1", calls)
		}
		slow.Store(false)
		time.Sleep(pause)
		for range 3 { // redis.Nil is a success
			if got, err := c.Get(t.Context(), "k"); got != nil || err != nil {
				t.Errorf("after the recovery: %q, %v", got, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.Get(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestCallersEndIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeClient{get: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}}
		c, err := New(f, Options{Key: testKey(1)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 * maxFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := c.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if _, err := c.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with a context that is over: %v", err)
			}
			cancel()
		}
		if f.calls.Load() != 2*maxFailures {
			t.Errorf("%d calls", f.calls.Load())
		}
	})
}

func TestPanickingClient(t *testing.T) {
	t.Parallel()
	c, err := New(&fakeClient{get: func(context.Context) (string, error) { panic(7) }}, Options{Plaintext: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "panicked with a int") {
		t.Errorf("got %v", err)
	}
}

func TestURLsChecked(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "127.0.0.1:6379", "http://:hunter2@127.0.0.1", "redis://:hunter2@127.0.0.1:x", "redis://:hunter2@127.0.0.1/zero",
		"redis://user:hunter2#@127.0.0.1", "redis://:hunter2@127.0.0.1?hunter2=1", "redis://:hunter2@127.0.0.1/0/1", "redis://:hunter2\x7f@h",
		"redis://:%zzhunter2@h", "redis://:hunter2@h?read_timeout=hunter2",
		"redis://:hunter2@h?master_name=", "redis://:hunter2@h/zero?master_name=m", "unix://:hunter2@/h?master_name=m", "redis://h?master_name=m&hunter2=1",
		"redis://:hunter2@h?addr=hunter2", "redis://:hunter2@h/1?addr=g:1", "unix://:hunter2@/h?addr=g:1", "redis://h?addr=g:1&hunter2=1",
	} {
		c, err := Open(url, Options{Key: testKey(1)})
		if err == nil {
			c.Close()
			t.Errorf("%q: no error", url)
		} else if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "want redis://") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestOptionsChecked(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, Options{Key: testKey(1)}); err == nil {
		t.Error("no client: no error")
	}
	if _, err := Open("redis://127.0.0.1:1", Options{Key: testKey(1), Timeout: -1}); err == nil || !strings.Contains(err.Error(), "timeout -1ns") {
		t.Errorf("negative timeout: %v", err)
	}
}

func TestTuned(t *testing.T) {
	t.Parallel()
	c := open(t, "rediss://:secret@10.0.0.3:6378/2?read_timeout=9s&pool_size=99", Options{Key: testKey(1), TLS: &tls.Config{MinVersion: tls.VersionTLS13}})
	o := c.client.(*redis.Client).Options()
	if !o.ContextTimeoutEnabled || o.ReadTimeout != 100*time.Millisecond || o.DialTimeout != 200*time.Millisecond || o.PoolSize != 2 || o.MaxRetries != 0 {
		t.Errorf("not tuned: %+v %v %v %d %d", o.ContextTimeoutEnabled, o.ReadTimeout, o.DialTimeout, o.PoolSize, o.MaxRetries)
	}
	if o.DB != 2 || o.Addr != "10.0.0.3:6378" || o.Password != "secret" {
		t.Errorf("the URL was not heeded: db %d, addr %s", o.DB, o.Addr)
	}
	if o.TLSConfig == nil || o.TLSConfig.MinVersion != tls.VersionTLS13 || o.TLSConfig.ServerName != "10.0.0.3" {
		t.Error("TLS was not heeded")
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Unix(1_800_000_000, 0)
	step := func(after time.Duration, allowed, ok bool) {
		t.Helper()
		now = now.Add(after)
		if got := b.allow(now); got != allowed {
			t.Fatalf("allowed %v, want %v", got, allowed)
		}
		if allowed {
			b.note(now, ok)
		}
	}
	step(0, true, false)
	step(0, true, false)
	step(0, true, true) // a success forgives
	step(0, true, false)
	step(0, true, false)
	step(0, true, false)
	step(0, false, false)
	step(29*time.Second, false, false)
	step(time.Second, true, false) // one tries, in vain
	step(29*time.Second, false, false)
	step(time.Second, true, true)
	step(0, true, false)
	now = now.Add(time.Hour)
	step(0, true, false)
	step(0, true, false)
	now = now.Add(pause)
	if !b.allow(now) || b.allow(now) {
		t.Error("more than one tries at a time")
	}
}
