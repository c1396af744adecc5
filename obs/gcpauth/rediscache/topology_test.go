package rediscache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// eventually waits until f returns no error: a server comes to agree with
// another when it does.
func eventually(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func client(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// keepsValues sets and gets, until it works.
func keepsValues(t *testing.T, c *Cache, key string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		c.breaker.note(time.Now(), true) // half a minute is long here
		if err := c.Set(ctx, key, []byte("value of "+key), time.Hour); err != nil {
			return err
		}
		got, err := c.Get(ctx, key)
		if err == nil && string(got) != "value of "+key {
			err = fmt.Errorf("got %q", got)
		}
		return err
	})
}

// TestCluster finds keys on two nodes, by the address of one.
func TestCluster(t *testing.T) {
	t.Parallel()
	path := needReal(t)
	ctx := t.Context()
	start := func() *server {
		return startReal(t, path, []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-require-full-coverage", "no"})
	}
	a, b := start(), start()
	ca, cb := client(t, a.addr), client(t, b.addr)
	if err := ca.ClusterAddSlotsRange(ctx, 0, 8191).Err(); err != nil {
		t.Fatal(err)
	}
	if err := cb.ClusterAddSlotsRange(ctx, 8192, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.ClusterMeet(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*redis.Client{ca, cb} {
		eventually(t, func(ctx context.Context) error {
			info, err := c.ClusterInfo(ctx).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384")) {
				err = fmt.Errorf("not yet: %s", info)
			}
			return err
		})
	}
	for name, c := range map[string]*Cache{
		"one endpoint": open(t, "redis://"+a.addr, Options{Key: testKey(1), Cluster: true}),
		"both nodes":   open(t, "redis://"+a.addr+"?addr="+b.addr, Options{Key: testKey(1), Prefix: "both:"}),
	} {
		for i := range 8 {
			keepsValues(t, c, fmt.Sprintf("%s {%d}", name, i))
		}
		if taken, err := c.Lock(ctx, "{7}", time.Hour); !taken || err != nil {
			t.Errorf("%s: lock: %v, %v", name, taken, err)
		}
	}
	for _, c := range []*redis.Client{ca, cb} {
		if n, err := c.DBSize(ctx).Result(); err != nil || n == 0 {
			t.Errorf("%d keys on a node, %v: want some on each", n, err)
		}
	}
}

// TestSentinel follows a fail-over to the other server.
func TestSentinel(t *testing.T) {
	t.Parallel()
	path := needReal(t)
	master := startReal(t, path, []string{"--repl-diskless-sync-delay", "0"})
	host, port, err := net.SplitHostPort(master.addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := startReal(t, path, []string{"--replicaof", host + " " + port, "--repl-diskless-sync-delay", "0"})
	sentinel := startProcess(t, path, func(own string) []string {
		conf := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor tokens %s %s 1\nsentinel down-after-milliseconds tokens 60000\n", own, host, port)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{conf, "--sentinel"}
	})
	c := open(t, "redis://"+sentinel.addr+"?master_name=tokens", Options{Key: testKey(1)})
	keepsValues(t, c, "before")

	s := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr})
	t.Cleanup(func() { s.Close() })
	eventually(t, func(ctx context.Context) error { // it must have found the replica first
		return s.Failover(ctx, "tokens").Err()
	})
	eventually(t, func(ctx context.Context) error {
		at, err := s.GetMasterAddrByName(ctx, "tokens").Result()
		if err == nil && net.JoinHostPort(at[0], at[1]) != replica.addr {
			err = fmt.Errorf("the master is still at %v", at)
		}
		return err
	})
	master.stop()
	keepsValues(t, c, "after")
	if n, err := client(t, replica.addr).Exists(t.Context(), "kumihimo:after").Result(); n != 1 || err != nil {
		t.Errorf("the other server has %d of it, %v", n, err)
	}
}

// TestTLS needs the authority that it is told, for the name that it is told.
func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // for its certificate, of example.com and 127.0.0.1
	t.Cleanup(web.Close)
	m := miniredis.NewMiniRedis()
	if err := m.StartTLS(&tls.Config{Certificates: web.TLS.Certificates}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	for _, test := range []struct {
		name, scheme string
		tls          *tls.Config
		want         string // in the error
	}{
		{"rediss, its authority", "rediss", &tls.Config{RootCAs: pool}, ""},
		{"redis, TLS asked for", "redis", &tls.Config{RootCAs: pool}, ""},
		{"rediss, its authority, its other name", "rediss", &tls.Config{RootCAs: pool, ServerName: "example.com"}, ""},
		{"rediss, the system's authorities", "rediss", nil, "certificate"},
		{"rediss, another name", "rediss", &tls.Config{RootCAs: pool, ServerName: "redis.internal"}, "certificate"},
	} {
		c := open(t, test.scheme+"://"+m.Addr(), Options{Key: testKey(1), TLS: test.tls})
		if test.want == "" {
			keepsValues(t, c, "k")
			continue
		}
		eventually(t, func(ctx context.Context) error { // a busy machine runs into the timeouts first
			c.breaker.note(time.Now(), true)
			_, err := c.Get(ctx, "k")
			if err == nil {
				t.Errorf("%s: no error", test.name)
				return nil
			}
			if !strings.Contains(err.Error(), test.want) {
				return fmt.Errorf("%s: got %w, want %q", test.name, err, test.want)
			}
			return nil
		})
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	ctx := t.Context()
	var caches [2]*Cache
	for i := range caches {
		var err error
		// With go-redis's own timeouts: a busy machine is no fault of Redis.
		if caches[i], err = New(client(t, s.addr), Options{Key: testKey(1), Timeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := caches[0], caches[1]
	lock := func(c *Cache, want bool) {
		t.Helper()
		if got, err := c.Lock(ctx, "{k}", time.Hour); got != want || err != nil {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	lock(a, true)
	lock(a, false)
	for range maxFailures + 1 { // another's lock is no failure
		lock(b, false)
	}
	if ttl, err := s.admin.PTTL(ctx, "kumihimo:{k}:lock").Result(); err != nil || ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("ttl %v, %v", ttl, err)
	}
	if err := s.admin.Del(ctx, "kumihimo:{k}:lock").Err(); err != nil {
		t.Fatal(err)
	}
	lock(b, true)
	if _, err := a.Lock(ctx, "{k}", 0); err == nil {
		t.Error("locked for ever")
	}
	s.stop()
	if got, err := a.Lock(ctx, "{k}", time.Hour); got || err == nil {
		t.Errorf("Redis is gone: %v, %v", got, err)
	}
}

// TestTopologiesTuned: no client of ours may wait for what its context does not.
func TestTopologiesTuned(t *testing.T) {
	t.Parallel()
	const query = "read_timeout=9s&pool_size=99&max_retries=7"
	f := open(t, "rediss://:sentinels@10.0.0.3:26379/2?master_name=m&password=secret&"+query, Options{Key: testKey(1)}).client.(*redis.Client).Options()
	if !f.ContextTimeoutEnabled || f.ReadTimeout != ioTimeout || f.DialTimeout != dialTimeout || f.PoolSize != connections || f.MaxRetries != 0 {
		t.Errorf("sentinels: not tuned: %v %v %v %d %d", f.ContextTimeoutEnabled, f.ReadTimeout, f.DialTimeout, f.PoolSize, f.MaxRetries)
	}
	if f.DB != 2 || f.Password != "secret" || f.TLSConfig == nil {
		t.Error("sentinels: the URL was not heeded")
	}
	c := open(t, "rediss://:secret@10.0.0.3:6378?addr=10.0.0.4:6379&"+query, Options{Key: testKey(1)}).client.(*redis.ClusterClient).Options()
	if !c.ContextTimeoutEnabled || c.ReadTimeout != ioTimeout || c.DialTimeout != dialTimeout || c.PoolSize != connections || c.MaxRetries > 0 {
		t.Errorf("cluster: not tuned: %v %v %v %d %d", c.ContextTimeoutEnabled, c.ReadTimeout, c.DialTimeout, c.PoolSize, c.MaxRetries)
	}
	if len(c.Addrs) != 2 || c.Password != "secret" || c.TLSConfig == nil || c.TLSConfig.ServerName != "10.0.0.3" {
		t.Error("cluster: the URL was not heeded")
	}
}
