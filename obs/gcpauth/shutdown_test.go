package gcpauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		get(t, c)
		s.token = func(ctx context.Context, _ int) (Token, error) {
			<-ctx.Done()
			return Token{}, ctx.Err()
		}
		time.Sleep(50 * time.Minute)
		get(t, c) // starts a request
		synctest.Wait()
		began := time.Now()
		for range 2 {
			if err := c.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("took %v", time.Since(began))
		}
		if _, err := c.Token(t.Context()); !errors.Is(err, errShutDown) {
			t.Errorf("afterwards: %v", err)
		}
		if s.calls() != 2 {
			t.Errorf("%d calls", s.calls())
		}
	}) // would fail with a goroutine left
}

func TestShutdownCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &scripted{token: func(context.Context, int) (Token, error) { // heeds no context
			<-release
			return mint(t, 0, time.Hour), nil
		}}
		c := Cached(s, CacheOptions{})
		answer := make(chan error)
		go func() {
			_, err := c.Token(context.WithoutCancel(t.Context()))
			answer <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		if err := <-answer; !errors.Is(err, errShutDown) {
			t.Errorf("the waiter got %v", err)
		}
		if c.current.Load() != nil {
			t.Error("a token after the shutdown")
		}
	})
}

// writesSlowly is a cache that takes a while to write.
type writesSlowly struct {
	memory
}

func (s *writesSlowly) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	select {
	case <-time.After(cacheTimeout / 2):
		return s.memory.Set(ctx, key, value, ttl)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestShutdownShares: a job that ends as soon as it has a token shares it, or
// the next one would have to ask again.
func TestShutdownShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := &writesSlowly{}
		c := Cached(minting(t), CacheOptions{Audience: testAudience, Identity: testEmail, Cache: cache})
		get(t, c)
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(cache.values) != 1 {
			t.Errorf("%d tokens shared, want 1", len(cache.values))
		}
	})
}
