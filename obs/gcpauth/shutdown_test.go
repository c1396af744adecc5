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
