// Package rediscache shares ID tokens between instances of a service through
// Redis:
//
//	cache, err := rediscache.Open("rediss://:password@10.0.0.3:6378/0", rediscache.Options{Key: key})
//	if err != nil {
//		return err
//	}
//	defer cache.Close()
//	source := gcpauth.Cached(metadata, gcpauth.CacheOptions{Audience: url, Cache: cache})
//
// It is of use where tokens are slow or dear to make. On Cloud Run each
// instance has a metadata server of its own, which answers in milliseconds, and
// needs it about once an hour.
//
// Values are sealed: who reads or writes Redis can neither take a token nor
// plant one. A Redis that is slow, down or lies costs a call 50 ms, and after
// three such calls nothing for half a minute.
//
// Read rediscache.go for the cache, open.go for how a client of our own is
// tuned, seal.go for the form of the values, and breaker.go for the pauses.
package rediscache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

const (
	defaultPrefix  = "kumihimo:"
	defaultTimeout = 50 * time.Millisecond
)

// Options say how values are kept. They print as [REDACTED], for the keys.
type Options struct {
	// Key seals the values, with AES-256-GCM: 32 bytes, the same for all
	// instances, from a secret manager. There is no default.
	Key []byte

	// PreviousKey opens what was sealed before Key was changed. Nil: none.
	PreviousKey []byte

	// Plaintext keeps values as they are, for development: it takes Key's
	// place.
	Plaintext bool

	// Prefix begins each key in Redis. Empty: "kumihimo:".
	Prefix string

	// Cluster makes Open take the URL's host for a node of a cluster, or for its
	// one endpoint. An addr in the URL's query does so too.
	Cluster bool

	// Timeout bounds each call by a timer of our own, whatever the client's
	// settings. 0: 50 ms.
	Timeout time.Duration

	// TLS replaces what Open makes of a rediss URL: for a certificate authority
	// of one's own, as Memorystore's. It turns TLS on for a redis URL too.
	// Nil: the system's authorities.
	TLS *tls.Config

	// ClientLogger takes what go-redis logs, at debug level, instead of
	// standard error. Open sets it for every go-redis client of the process.
	// Nil: left as it is.
	ClientLogger *slog.Logger
}

// Format writes the placeholder, whatever the verb and its flags.
func (Options) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Placeholder) } //nolint:errcheck // fmt's own buffer takes every write

// LogValue returns the placeholder.
func (Options) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// MarshalText returns the placeholder.
func (Options) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

// Cache is a [gcpauth.Cache] in Redis. It is safe for concurrent use.
type Cache struct {
	client  redis.UniversalClient
	owned   bool // by Open: ours to close
	sealer  sealer
	prefix  string
	timeout time.Duration
	breaker breaker

	mu      sync.Mutex // guards closed, and running against a call after Close
	closed  bool
	running sync.WaitGroup
}

var (
	_ gcpauth.Cache  = (*Cache)(nil)
	_ gcpauth.Locker = (*Cache)(nil)
)

// New returns a cache on a client of the caller's, which stays the caller's to
// close. It is an error if neither a key is given nor Plaintext is.
func New(client redis.UniversalClient, o Options) (*Cache, error) {
	if client == nil {
		return nil, errors.New("rediscache: New without a client")
	}
	sealer, err := newSealer(o)
	if err != nil {
		return nil, err
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("rediscache: timeout %v: want a duration above 0, or 0 for %v", o.Timeout, defaultTimeout)
	}
	c := &Cache{client: client, sealer: sealer, prefix: o.Prefix, timeout: o.Timeout}
	if c.prefix == "" {
		c.prefix = defaultPrefix
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	return c, nil
}

// Get returns the value of key, or nil if there is none. A value that was not
// sealed for this key with one of our keys is an error.
func (c *Cache) Get(ctx context.Context, key string) ([]byte, error) {
	key = c.prefix + key
	sealed, err := call(ctx, c, func(ctx context.Context) ([]byte, error) {
		b, err := c.client.Get(ctx, key).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		return b, err
	})
	if err != nil || sealed == nil {
		return nil, err
	}
	return c.sealer.open(sealed, key)
}

// Set seals a value and stores it for ttl.
func (c *Cache) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("rediscache: ttl %v: want at least 1ms", ttl) // 0 would be for ever
	}
	key = c.prefix + key
	sealed := c.sealer.seal(value, key)
	_, err := call(ctx, c, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.client.Set(ctx, key, sealed, ttl).Err()
	})
	return err
}

// Lock reports whether key was not locked, and locks it for ttl. There is no
// unlocking: a lock is over when its time is.
func (c *Cache) Lock(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if ttl < time.Millisecond {
		return false, fmt.Errorf("rediscache: lock for %v: want at least 1ms", ttl)
	}
	return call(ctx, c, func(ctx context.Context) (bool, error) {
		err := c.client.SetArgs(ctx, c.prefix+key+":lock", "", redis.SetArgs{Mode: "NX", TTL: ttl}).Err()
		if errors.Is(err, redis.Nil) {
			return false, nil
		}
		return err == nil, err
	})
}

// Close closes the client if Open made it, and waits for calls under way. Later
// calls are errors. Calls on a client of the caller's end as the client ends
// them.
func (c *Cache) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed || !c.owned {
		return nil
	}
	err := c.client.Close()
	c.running.Wait()
	if err != nil {
		return fmt.Errorf("rediscache: %w", err)
	}
	return nil
}

// start runs f in a goroutine that Close waits for.
func (c *Cache) start(f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("rediscache: closed")
	}
	c.running.Go(f)
	return nil
}

// call runs f in a goroutine, because a client heeds a context only if it was
// made so. A goroutine that is left behind ends with the client's own timeouts;
// the breaker keeps them few.
func call[T any](parent context.Context, c *Cache, f func(context.Context) (T, error)) (T, error) {
	var none T
	if err := parent.Err(); err != nil {
		return none, fmt.Errorf("rediscache: %w", err)
	}
	if !c.breaker.allow(time.Now()) {
		return none, errPaused
	}
	ctx, cancel := context.WithTimeout(obsctx.Suppress(parent), c.timeout)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	err := c.start(func() {
		r := result{err: errors.New("the client ended the call")}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("the client panicked with a %T", p)
			}
			done <- r
		}()
		r.value, r.err = f(ctx)
	})
	if err != nil {
		return none, err
	}
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		r.err = ctx.Err()
	}
	if parent.Err() == nil { // else it says nothing of Redis
		c.breaker.note(time.Now(), r.err == nil)
	}
	if r.err != nil {
		return none, fmt.Errorf("rediscache: %w", r.err)
	}
	return r.value, nil
}
