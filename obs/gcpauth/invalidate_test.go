package gcpauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestInvalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		first := get(t, c)

		c.Invalidate(first)
		if get(t, c) != first || s.invalid != 0 {
			t.Error("a token fresh from the source was replaced")
		}
		time.Sleep(20 * time.Minute)
		c.Invalidate(Token{})
		c.Invalidate(mint(t, time.Minute, time.Hour))
		if get(t, c) != first || s.calls() != 1 {
			t.Error("a foreign token did something")
		}
		c.Invalidate(first)
		c.Invalidate(first)
		second := get(t, c)
		if second == first || s.calls() != 2 || s.invalid != 1 {
			t.Errorf("same token %v, %d calls, %d invalidated", second == first, s.calls(), s.invalid)
		}
		c.Invalidate(first) // late, from another request
		if get(t, c) != second {
			t.Error("the successor fell with its predecessor")
		}
	})
}

// TestRefusedTokenIsTheLastResort: one stray 401 while the source is down must
// not cost a token that may still be good.
func TestRefusedTokenIsTheLastResort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		mintOne := s.token
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		time.Sleep(10 * time.Minute)
		s.token = func(context.Context, int) (Token, error) { return Token{}, errDown }
		c.Invalidate(first)
		for range 10 {
			if get(t, c) != first {
				t.Error("another token from a source that is down")
			}
		}
		if s.calls() != 2 {
			t.Errorf("%d calls", s.calls())
		}
		s.token = mintOne
		time.Sleep(neededBackoff)
		if get(t, c) == first {
			t.Error("the refused token, though the source has another")
		}
	})
}

// TestRefusedForEver: a wrong audience must not make a request of the source
// for each request of the program.
func TestRefusedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		for range 3600 {
			c.Invalidate(get(t, c))
			time.Sleep(time.Second)
		}
		if n := s.calls(); n > 121 {
			t.Errorf("%d requests in an hour, want two a minute at most", n)
		}
	})
}

// TestMargin: a token in its last seconds is sent only if there is no other.
func TestMargin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		mintOne := s.token
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		s.token = func(context.Context, int) (Token, error) { return Token{}, errDown }
		time.Sleep(time.Hour - 20*time.Second)
		if get(t, c) != first {
			t.Error("another token from a source that is down")
		}
		s.token = mintOne
		time.Sleep(10 * time.Second)
		if get(t, c) == first {
			t.Error("the old token, 10 s before its end, though the source has another")
		}
	})
}

// TestLateCaller asks for a token just when another caller's has come in.
func TestLateCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := Cached(minting(t), CacheOptions{})
		token := get(t, c)
		if k, f, err := c.renew(time.Now()); k == nil || k.token != token || f != nil || err != nil {
			t.Errorf("starts a flight: %v, error %v", f != nil, err)
		}
	})
}

// TestBackoffWithRefusedToken asks a source that fails as often as without a
// token: nobody lets the one in memory in.
func TestBackoffWithRefusedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		s.token = func(context.Context, int) (Token, error) { return Token{}, errDown }
		time.Sleep(10 * time.Minute)
		c.Invalidate(first)
		for range 5 * 60 {
			if token, err := c.Token(t.Context()); err != nil || token != first {
				t.Fatalf("got %v, %v, want the last resort", token, err)
			}
			time.Sleep(time.Second)
		}
		for i := 2; i < len(s.times); i++ {
			if gap := s.times[i].Sub(s.times[i-1]); gap > neededBackoff+time.Second {
				t.Errorf("request %d came %v after the one before", i+1, gap)
			}
		}
		if s.calls() < 5*60/6 {
			t.Errorf("%d requests in 5 min", s.calls())
		}
	})
}

// TestOlderSuccessor keeps the token that lives longer.
func TestOlderSuccessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		c := Cached(s, CacheOptions{})
		first := get(t, c)
		s.token = func(context.Context, int) (Token, error) { return mint(t, 55*time.Minute, time.Hour), nil }
		time.Sleep(50 * time.Minute)
		get(t, c)
		synctest.Wait()
		if get(t, c) != first || s.calls() != 2 {
			t.Errorf("a token with 10 min left gave way to one with 5, after %d requests", s.calls())
		}
	})
}

// TestLastMoments asks a source that hands out a token in the last moments of
// its life once a second, not once a call.
func TestLastMoments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := minting(t)
		s.token = func(context.Context, int) (Token, error) {
			token := mint(t, time.Hour-time.Second, time.Hour)
			time.Sleep(500 * time.Millisecond)
			return token, nil
		}
		c := Cached(s, CacheOptions{})
		if _, err := c.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond)
		if _, err := c.Token(t.Context()); !errors.Is(err, errOver) || s.calls() != 1 {
			t.Errorf("%v after %d requests", err, s.calls())
		}
		time.Sleep(minBackoff)
		if _, err := c.Token(t.Context()); err != nil || s.calls() != 2 {
			t.Errorf("%v after %d requests", err, s.calls())
		}
	})
}

// TestShutdownForgets gives out no token from memory after Shutdown.
func TestShutdownForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := Cached(minting(t), CacheOptions{})
		get(t, c)
		if err := c.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if token, err := c.Token(t.Context()); !errors.Is(err, errShutDown) || token != (Token{}) {
			t.Errorf("got %v, %v", token, err)
		}
	})
}
