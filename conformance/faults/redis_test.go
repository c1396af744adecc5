//go:build unix

package faults

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

// A redisFault happens to a Redis in which one instance has put its token.
// Another instance starts then.
type redisFault struct {
	name string

	// inject does the damage, and returns another address if Redis is now
	// behind that.
	inject func(t *testing.T, s *redisServer, p *program) (addr string)

	// stuck is a Redis that does not answer in time: the client is rediscache's
	// own then, with its timeouts, and else one that a busy machine cannot
	// mislead.
	stuck bool

	says string // in the report; "" where the cache serves
}

// cacheReport begins what is said when the cache is of no use; the cause follows.
const cacheReport = "shared token cache is of no use; the token source is asked instead"

// tooSlow is said where the cache took longer than gcpauth gives it, 250 ms. A
// busy machine does so to a Redis that is well: the token then comes from the
// source, and that is all there is to see.
const tooSlow = "context deadline exceeded"

var sealingKey = bytes.Repeat([]byte("k"), 32)

// planted puts a value in the token's place, sealed as ours are.
func planted(value func(p *program) string) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, s *redisServer, p *program) string {
		plant(t, s, sealingKey, value(p))
		return ""
	}
}

func plant(t *testing.T, s *redisServer, key []byte, value string) {
	t.Helper()
	c, err := rediscache.New(s.admin, rediscache.Options{Key: key, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(s.tokenKey(t), "kumihimo:")
	if err := c.Set(t.Context(), name, []byte(value), time.Hour); err != nil {
		t.Fatal(err)
	}
}

// raw puts a value in the token's place as it is.
func raw(value string) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, s *redisServer, _ *program) string {
		s.do(t, "SET", s.tokenKey(t), value)
		return ""
	}
}

func signal(sig syscall.Signal) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, s *redisServer, _ *program) string {
		if err := s.process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		return ""
	}
}

// replies is a server that says the same to every command.
func replies(text string) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, _ *redisServer, _ *program) string { return answering(t, "-"+text+"\r\n") }
}

func delayed(wait time.Duration) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, s *redisServer, _ *program) string { return slowly(t, s.addr, wait) }
}

// without takes the token away, then runs a command: what is written now fails.
func without(command ...any) func(*testing.T, *redisServer, *program) string {
	return func(t *testing.T, s *redisServer, _ *program) string {
		s.do(t, "DEL", s.tokenKey(t))
		s.do(t, command...)
		return ""
	}
}

func aged(age time.Duration) func(p *program) string {
	return func(p *program) string { return claim(p.cloud.FrontEnd.Audience(), time.Now().Add(-age), "RS256") }
}

var redisFaults = []redisFault{
	{name: "none"},
	{name: "R1: killed", inject: func(_ *testing.T, s *redisServer, _ *program) string { s.kill(); return "" }, stuck: true, says: cacheReport},
	{name: "R1: killed and started again, empty", inject: func(t *testing.T, s *redisServer, _ *program) string {
		s.kill()
		if !s.run(t) {
			t.Fatal("redis-server does not start again")
		}
		return ""
	}},
	{name: "R1: stopped with SIGSTOP", inject: signal(syscall.SIGSTOP), stuck: true, says: cacheReport},
	{name: "R1: takes connections, says nothing", inject: func(t *testing.T, _ *redisServer, _ *program) string {
		return listener(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	}, stuck: true, says: cacheReport},
	{name: "R1: 20 ms late", inject: delayed(20 * time.Millisecond)},
	{name: "R1: 500 ms late", inject: delayed(500 * time.Millisecond), stuck: true, says: cacheReport},
	{name: "R1: each second connection breaks", inject: func(t *testing.T, s *redisServer, _ *program) string {
		var n atomic.Int64
		return listener(t, func(c net.Conn) {
			defer c.Close()
			up, err := net.Dial("tcp", s.addr)
			if err != nil || n.Add(1)%2 == 1 {
				return
			}
			go func() {
				io.Copy(up, c) //nolint:errcheck // it ends with the connection
				up.Close()
			}()
			io.Copy(c, up)
		})
	}, says: cacheReport},
	{name: "R2: the password was changed: WRONGPASS", inject: func(t *testing.T, s *redisServer, _ *program) string {
		s.do(t, "CONFIG", "SET", "requirepass", "another")
		return ""
	}, says: "WRONGPASS"},
	{name: "R2: NOAUTH", inject: replies("NOAUTH Authentication required."), says: "NOAUTH"},
	{name: "R2: LOADING", inject: replies("LOADING Redis is loading the dataset in memory"), says: "LOADING"},
	{name: "R2: CLUSTERDOWN", inject: replies("CLUSTERDOWN The cluster is down"), says: "CLUSTERDOWN"},
	{name: "R2: MOVED", inject: replies("MOVED 1 127.0.0.1:1"), says: "MOVED"},
	{name: "R2: READONLY", inject: without("REPLICAOF", "127.0.0.1", "1"), says: "READONLY"},
	{name: "R2: OOM", inject: without("CONFIG", "SET", "maxmemory", "1"), says: "OOM"},
	{name: "R2: WRONGTYPE", inject: func(t *testing.T, s *redisServer, _ *program) string {
		key := s.tokenKey(t)
		s.do(t, "DEL", key)
		s.do(t, "LPUSH", key, "x")
		return ""
	}, says: "WRONGTYPE"},
	{name: "R3: rubbish", inject: raw("rubbish"), says: "not of our making"},
	{name: "R3: a token in the clear", inject: raw(claim("https://agent.example", time.Now(), "RS256")), says: "not of our making"},
	{name: "R3: sealed with another key", inject: func(t *testing.T, s *redisServer, p *program) string {
		plant(t, s, bytes.Repeat([]byte("x"), 32), aged(0)(p))
		return ""
	}, says: "a key that is not ours"},
	{name: "R3: moved from another key", inject: func(t *testing.T, s *redisServer, _ *program) string {
		key := s.tokenKey(t)
		s.do(t, "RENAME", key, "elsewhere")
		c, err := rediscache.New(s.admin, rediscache.Options{Key: sealingKey, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), "other", []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		s.do(t, "RENAME", "kumihimo:other", key)
		return ""
	}, says: "does not open"},
	{name: "R3: no token", inject: planted(func(*program) string { return "<html>" }), says: "malformed ID token"},
	{name: "R3: a token for another audience", inject: planted(func(*program) string { return claim("https://other.example", time.Now(), "RS256") }), says: "for the audience"},
	{name: "R3: an expired token", inject: planted(aged(2 * time.Hour)), says: "expired"},
	{name: "R3: 5 min left", inject: planted(aged(55 * time.Minute))},
	{name: "R3: from the future", inject: planted(aged(-10 * time.Minute)), says: "in the future"},
	{name: "R4: the only connection is taken", inject: func(*testing.T, *redisServer, *program) string { return "" }, says: cacheReport},
}

// cache opens one for an instance.
func (f redisFault) cache(t *testing.T, addr string) *rediscache.Cache {
	t.Helper()
	o := rediscache.Options{Key: sealingKey, ClientLogger: slog.New(slog.DiscardHandler)}
	if f.stuck {
		c, err := rediscache.Open("redis://:"+password+"@"+addr, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	options := &redis.Options{Addr: addr, Password: password, MaxRetries: -1, DialTimeout: time.Minute, ReadTimeout: time.Minute}
	o.Timeout = time.Minute
	if strings.HasPrefix(f.name, "R4") {
		options.PoolSize, o.Timeout = 1, 50*time.Millisecond
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	if options.PoolSize == 1 { // somebody waits on it for good
		conn := client.Conn()
		t.Cleanup(func() { conn.Close() })
		if err := conn.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := rediscache.New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRedisFaults: whatever Redis does, an instance has a token, from the
// source if not from there, and never one that it must not send.
func TestRedisFaults(t *testing.T) {
	path := needRedis(t)
	rows := make([]tokenRow, len(redisFaults))
	var wg sync.WaitGroup
	for i, f := range redisFaults {
		p, s := newProgram(t), startRedis(t, path)
		first := p.start(t, p.cloud.Metadata.Host(), redisFault{}.cache(t, s.addr), io.Discard)
		eachOTel(work{Spans: 1, Over: time.Millisecond}, first.TracerProvider())
		if err := first.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		s.tokenKey(t) // it is written after the spans are sent
		if err := first.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		addr := s.addr
		if f.inject != nil {
			if behind := f.inject(t, s, p); behind != "" {
				addr = behind
			}
		}
		log := &lines{}
		tel := p.start(t, p.cloud.Metadata.Host(), f.cache(t, addr), log)
		wg.Go(func() {
			r, err := p.send(t.Context(), tel, work{Spans: 5, Over: 50 * time.Millisecond, Grace: time.Minute}, log, f.says)
			if err != nil {
				t.Error(err)
			}
			r.Fault = f.name
			rows[i] = r
		})
	}
	wg.Wait()
	for i, r := range rows {
		r.checkRedis(t, redisFaults[i])
	}
	text := strings.ReplaceAll(tokenTable(rows, "fault", "requests of the metadata server"), cacheReport+": ", "")
	t.Log("\n" + text)
	if *update {
		write(t, "redis", text)
		writeRaw(t, "redis", rows)
	}
}

func (r tokenRow) checkRedis(t *testing.T, f redisFault) {
	t.Helper()
	if r.Ended == 0 || r.Lost != 0 || r.Refused != 0 || r.Asked > 1 {
		t.Errorf("%s: %+v", f.name, r)
	}
	said := false
	for text, n := range r.Reported {
		if n != 1 {
			t.Errorf("%s: %q was said %d times", f.name, text, n)
		}
		if !*update && r.Asked == 1 && strings.Contains(text, tooSlow) {
			return
		}
		said = said || f.says != "" && strings.Contains(text, f.says)
	}
	if f.name == "none" && r.Asked != 0 {
		t.Errorf("%s: the source was asked, though Redis has a token", f.name)
	}
	if f.says != "" && (!said || r.Asked != 1) || f.says == "" && len(r.Reported) != 0 {
		t.Errorf("%s: reported %v after %d requests, want %q", f.name, r.Reported, r.Asked, f.says)
	}
}
