package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	attemptTimeout = 10 * time.Second
	minBackoff     = time.Second
	maxBackoff     = 30 * time.Second

	// neededBackoff is the longest pause while no valid token is left: someone
	// waits for each attempt then.
	neededBackoff = 5 * time.Second
)

// A flight is one request for a token, however many wait for it.
type flight struct {
	done  chan struct{} // closed when token and err are set
	token Token
	err   error
}

func (f *flight) wait(ctx context.Context) (Token, error) {
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("gcpauth: waiting for an ID token: %w", context.Cause(ctx))
	}
}

// renew returns the token in memory, if there is one, and the flight that will
// bring another: the one in the air, or a new one. It returns no flight, and
// why, while the source is not to be asked.
func (c *CachedSource) renew(now time.Time) (*kept, *flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.current.Load()
	switch {
	case c.closed:
		return nil, nil, errShutDown
	case k.young(now): // came in just now
		return k, nil, nil
	case c.flight != nil:
		return k, c.flight, nil
	case now.Before(c.next):
		return k, nil, c.err
	}
	f := &flight{done: make(chan struct{})}
	c.flight = f
	c.running.Go(func() { c.fly(f, k) })
	return k, f, nil
}

// arrival is what a flight brings home.
type arrival struct {
	token      Token
	fromSource bool
	later      bool // nobody was asked, see turn
	err        error
}

// fly runs one flight; old is the token that another is wanted for, or nil.
func (c *CachedSource) fly(f *flight, old *kept) {
	ctx, cancel := context.WithTimeout(c.ctx, attemptTimeout)
	defer cancel()
	// What stays if the source ends the goroutine.
	a := arrival{err: errors.New("gcpauth: the token source called runtime.Goexit")}
	defer func() {
		c.land(f, a)
		again := old != nil && old.token.same(a.token)
		if a.err == nil && a.fromSource && !again {
			c.shared.put(context.WithoutCancel(ctx), a.token) // Shutdown waits for it
		}
	}()
	a = c.fetch(ctx, old)
}

// fetch asks the shared cache, then the source, once it may be asked.
func (c *CachedSource) fetch(ctx context.Context, old *kept) arrival {
	if t, ok := c.shared.get(ctx); ok && better(t, old) {
		return arrival{token: t}
	}
	switch t, later := c.turn(ctx, old); {
	case later:
		return arrival{err: errLater, later: true}
	case t.t != nil:
		return arrival{token: t}
	}
	t, err := c.ask(ctx)
	return arrival{token: t, fromSource: true, err: err}
}

// better reports whether t, from the shared cache, does instead of old.
func better(t Token, old *kept) bool {
	if old == nil {
		return true
	}
	return !t.same(old.token) && (old.refused || t.t.expires.After(old.token.t.expires))
}

// ask makes one request of the source.
func (c *CachedSource) ask(ctx context.Context) (t Token, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("gcpauth: the token source panicked with a %T", p)
		}
	}()
	if c.source == nil {
		return Token{}, errors.New("gcpauth: Cached has no source")
	}
	if t, err = c.source.Token(ctx); err != nil {
		return Token{}, err
	}
	if err = t.check(c.opts.Audience, time.Now()); err != nil {
		return Token{}, err
	}
	return t, nil
}

// land ends a flight: it keeps the token, or sets the time of the next attempt,
// and wakes who waits.
func (c *CachedSource) land(f *flight, a arrival) {
	now := time.Now()
	c.mu.Lock()
	if c.closed {
		a.err = errShutDown
	}
	report := func() {}
	switch {
	case c.closed:
	case a.later: // no word on the source
		c.err, c.next = a.err, now.Add(lockRetry+rand.N(lockRetry))
	case a.err != nil:
		c.failures++
		c.err = a.err
		k := c.current.Load()
		c.next = now.Add(backoff(c.failures, k.valid(now)))
		report = c.health.bad(c.opts.Logger, a.err, k.left(now) > 0, c.next.Sub(now))
	default:
		c.keep(a.token, a.fromSource, now)
		report = c.health.good(c.opts.Logger, now)
		c.failures, c.err = 0, errOver
		// A source may hand out a token in its last moments.
		c.next = time.Time{}
		if left := a.token.left(now); left <= margin {
			c.next = now.Add(max(minBackoff, left/2))
		}
	}
	f.token, f.err = a.token, a.err
	c.flight = nil
	c.mu.Unlock()
	close(f.done)

	report()
	if a.err == nil {
		c.debug(a)
	}
}

// errOver answers who asks between the end of a token that was nearly over when
// it came and the next attempt.
var errOver = errors.New("gcpauth: the source returned an ID token in the last moments of its life")

func (c *CachedSource) debug(a arrival) {
	from := "shared cache"
	if a.fromSource {
		from = "source"
	}
	t := a.token.t
	c.opts.Logger.LogAttrs(c.ctx, slog.LevelDebug, "ID token obtained",
		slog.String("from", from),
		slog.Any("audience", t.audience),
		slog.String("identity", t.identity()),
		slog.Time("expires", t.expires),
		slog.Duration("left", t.left))
}

// backoff doubles from 1 to 30 s; its upper half is random. It is over when the
// token in memory is, which is valid for so long, and 5 s at most without one:
// after an outage that outlives the token nobody waits for longer than that.
func backoff(failures int, valid time.Duration) time.Duration {
	d := maxBackoff
	if shift := failures - 1; shift < 5 {
		d = minBackoff << shift
	}
	return min(d+rand.N(d), maxBackoff, max(valid, neededBackoff))
}
