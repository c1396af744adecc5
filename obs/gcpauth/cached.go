package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

const (
	// refreshShare is the share of a token's life after which a new one is
	// asked for; a quarter of an hour remains for a source that is down.
	refreshShare  = 0.75
	refreshJitter = 0.10

	// margin is the end of a token's life in which it is sent only if no
	// other can be had: clocks differ, and a request takes a while.
	margin = 30 * time.Second

	// settling is the age below which a token fresh from the source is not
	// replaced because a server refused it: the next would be refused too.
	// It bounds what a wrong audience costs to two requests a minute.
	settling = 30 * time.Second
)

var errShutDown = errors.New("gcpauth: the token source has been shut down")

// CacheOptions complete [Cached]. The zero value keeps tokens in memory alone.
type CacheOptions struct {
	// Audience is what the tokens must be for; others are refused. Empty: any
	// that the source returns.
	Audience string

	// Cache is shared with other instances. It is asked before the source,
	// and needs Audience and an identity: a token is found by both alone.
	Cache Cache

	// Lock lets one instance at a time ask the source, if Cache is a [Locker].
	// It is for sources that are slow or bound by a quota, as IAM's: where each
	// instance has a metadata server of its own, it is of no use. Instances
	// without a token wait for the other's up to 4 s before they ask.
	Lock bool

	// Identity names the service account whose tokens these are. Empty: the
	// source is asked, if it has a method Identity(context.Context) (string,
	// error), as Metadata's has.
	Identity string

	// Logger takes one record when the source begins to fail, one when the
	// last token has run out too, one when it is over, the same for Cache, and
	// at debug level one for each token that comes in. Nil: none.
	Logger *slog.Logger
}

// Cached returns a source that keeps one token of another source in memory.
//
// From three quarters of its life on, the next call of Token asks for another
// in the background, first of the shared cache, then of the source; while the
// old token is valid nobody waits, and a source that fails is tried again after
// 1 to 30 s, or 1 to 5 s once no valid token is left. Callers without a valid
// token wait for the one request under way, each no longer than its own
// context. A token's life is its own, counted from the issuer's clock.
//
// There are no timers: what nobody uses is not renewed.
func Cached(source TokenSource, o CacheOptions) *CachedSource {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(obsctx.Suppress(context.Background()))
	return &CachedSource{
		source: source,
		opts:   o,
		shared: newShared(source, o),
		ctx:    ctx,
		stop:   stop,
	}
}

// CachedSource is the TokenSource that [Cached] returns.
type CachedSource struct {
	source TokenSource
	opts   CacheOptions
	shared *shared // nil without a cache

	current atomic.Pointer[kept] // nil while there is none

	ctx     context.Context // of the requests for tokens
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // guards the fields below, and writes to current
	closed   bool
	flight   *flight // the request under way, or nil
	failures int     // in a row
	next     time.Time
	err      error // of the last request, while next is to come
	health   health
}

// kept is a token in memory.
type kept struct {
	token   Token
	fresh   time.Time // when the source gave it; zero if the shared cache did
	refused bool      // by a server: the last resort

	// When another is asked for, by the monotonic clock and, in nanoseconds of
	// Unix time, by the other.
	until     time.Time
	untilWall int64
}

// newKept keeps t until it has the given age.
func newKept(t Token, age time.Duration) *kept {
	return &kept{token: t, until: t.t.born.Add(age), untilWall: t.t.wall.Add(age).UnixNano()}
}

// young reports whether it is too early to ask for another.
func (k *kept) young(now time.Time) bool {
	return k != nil && now.Before(k.until) && now.UnixNano() < k.untilWall
}

func (k *kept) left(now time.Time) time.Duration {
	if k == nil {
		return 0
	}
	return k.token.left(now)
}

// valid is what is left of a token that no server has refused.
func (k *kept) valid(now time.Time) time.Duration {
	if k == nil || k.refused {
		return 0
	}
	return k.left(now)
}

// good reports whether the token can be sent without a thought.
func (k *kept) good(now time.Time) bool {
	return k != nil && !k.refused && k.left(now) > margin
}

var _ TokenSource = (*CachedSource)(nil)

// Token returns the token in memory while it is valid, and waits for another
// otherwise. While the source fails and no token is left, the error is the
// source's last.
func (c *CachedSource) Token(ctx context.Context) (Token, error) {
	now := time.Now()
	if k := c.current.Load(); k.young(now) {
		return k.token, nil
	}
	k, f, err := c.renew(now)
	if k.good(now) {
		return k.token, nil
	}
	if f != nil {
		var t Token
		if t, err = f.wait(ctx); err == nil {
			return t, nil
		}
		k = c.current.Load()
	}
	if k.left(time.Now()) > 0 {
		return k.token, nil
	}
	return Token{}, err
}

// Invalidate says that a server has refused the token: the next call of Token
// waits for another, and returns this one only if none can be had. A token
// that came from the source less than 30 s ago stays as it is.
func (c *CachedSource) Invalidate(t Token) {
	if c.refuse(t) && c.source != nil {
		c.source.Invalidate(t)
	}
}

func (c *CachedSource) refuse(t Token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.current.Load()
	if t.t == nil || k == nil || k.refused || !k.token.same(t) {
		return false
	}
	if !k.fresh.IsZero() && time.Since(k.fresh) < settling {
		return false
	}
	c.current.Store(&kept{token: k.token, refused: true})
	return true
}

// Shutdown ends the request under way, if there is one, waits for it and until
// a token that came in just now is shared, and forgets the token. It returns
// ctx's error if that comes first. Afterwards Token returns an error. Who does not call it leaves nothing behind that lives
// longer than one request, 10 s.
func (c *CachedSource) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.current.Store(nil)
	c.mu.Unlock()
	c.stop()

	done := make(chan struct{})
	go func() {
		c.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gcpauth: shutdown: %w", ctx.Err())
	}
}

// keep puts a token that came in into memory, unless the one there lives
// longer. c.mu is held.
func (c *CachedSource) keep(t Token, fromSource bool, now time.Time) {
	k := newKept(t, refreshAge(t.t))
	if fromSource {
		k.fresh = now
	}
	if old := c.current.Load(); old.good(now) && old.left(now) > t.left(now) && !old.token.same(t) {
		k = newKept(old.token, old.token.t.age(now)+old.left(now)/2)
		k.fresh = old.fresh
	}
	c.current.Store(k)
}

// refreshAge is when to ask for a token's successor: at refreshShare of its
// life; if that is over or near, as with a source that hands out one token for
// a while, after half of what remains.
func refreshAge(t *token) time.Duration {
	const near = 30 * time.Second
	share := refreshShare * (1 + refreshJitter*(2*rand.Float64()-1))
	passed := t.total - t.left
	age := time.Duration(share*float64(t.total)) - passed
	if age < near {
		age = t.left / 2
	}
	return age
}
