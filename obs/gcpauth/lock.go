package gcpauth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// A Locker is a [Cache] that lets one of several instances do something. Its
// method is safe for concurrent use and ends soon after ctx does.
type Locker interface {
	// Lock reports whether key was not locked, and locks it for ttl, which is
	// above zero. There is no unlocking: a lock is over when its time is.
	Lock(ctx context.Context, key string, ttl time.Duration) (bool, error)
}

const (
	// lockLife is that of an attempt: who holds the lock has then shared a
	// token, or failed, or ended.
	lockLife = attemptTimeout

	// lockWait is how long an instance without a token leaves the source to
	// another. Enough of its own attempt remains to ask then.
	lockWait = 4 * time.Second

	minLockPoll = 50 * time.Millisecond
	maxLockPoll = 500 * time.Millisecond

	// lockRetry is when an instance that has a token looks again, at the
	// earliest; at the latest after twice that.
	lockRetry = time.Second
)

var errLater = errors.New("gcpauth: another instance asks for an ID token")

// turn returns when this instance may ask the source: at once without a lock.
// While another holds it, an instance that has a token is told to come back
// later; one that has none looks for the other's, and after lockWait asks all
// the same.
func (c *CachedSource) turn(ctx context.Context, old *kept) (found Token, later bool) {
	if c.shared == nil || !c.opts.Lock {
		return Token{}, false
	}
	until := time.Now().Add(lockWait)
	for poll := minLockPoll; !c.shared.lock(ctx); poll = min(2*poll, maxLockPoll) {
		now := time.Now()
		if old.good(now) {
			return Token{}, true
		}
		if !now.Before(until) {
			return Token{}, false
		}
		select {
		case <-time.After(poll + rand.N(poll)):
		case <-ctx.Done():
			return Token{}, false
		}
		if t, ok := c.shared.get(ctx); ok && better(t, old) {
			return t, false
		}
	}
	return Token{}, false
}

// lock reports whether the source may be asked, which it may be where a lock
// cannot be had.
func (s *shared) lock(ctx context.Context) bool {
	locked := false
	err := guard(func() error {
		locker, ok := s.cache.(Locker)
		if !ok {
			return errors.New("gcpauth: CacheOptions.Lock needs a Cache that is a Locker")
		}
		identity, err := s.who(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
		defer cancel()
		ours, err := locker.Lock(ctx, cacheKey(s.audience, identity), lockLife)
		locked = err == nil && !ours
		return err
	})
	s.note(ctx, &s.lockFailed, err)
	return !locked
}
