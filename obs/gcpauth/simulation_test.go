package gcpauth

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// issuer is a metadata server and the front end that checks its tokens, by a
// clock of their own.
type issuer struct {
	skew    time.Duration // of the issuer's clock against ours
	began   time.Time     // by the issuer's clock
	keep    time.Duration // a token is handed out again until so much of its life is left; 0: never
	prefill time.Duration // the age of the token it keeps at the beginning
	down    [2]time.Duration
	revoke  time.Duration // when tokens made before are refused; 0: never

	kept time.Time // when the token it hands out was made
}

const simulatedLife = time.Hour

func (i *issuer) now() time.Time { return time.Now().Add(i.skew).Truncate(time.Second) }

func (i *issuer) token(context.Context, int) (Token, error) {
	now := i.now()
	since := now.Sub(i.began)
	if i.down[0] <= since && since < i.down[1] {
		return Token{}, errDown
	}
	revoked := i.revoke > 0 && since >= i.revoke && i.kept.Before(i.began.Add(i.revoke))
	if i.keep == 0 || revoked || i.kept.Add(simulatedLife-i.keep).Before(now) {
		i.kept = now
	}
	return ParseToken(issue(testAudience, i.kept, simulatedLife), now)
}

// accepts is the front end.
func (i *issuer) accepts(t Token) bool {
	now := i.now()
	made := t.t.expires.Add(-simulatedLife)
	if i.revoke > 0 && now.Sub(i.began) >= i.revoke && made.Before(i.began.Add(i.revoke)) {
		return false
	}
	return now.Before(t.t.expires)
}

// TestThreeHours sends one request each 5 s, as an exporter does. No request
// may fail while there is a valid token to be had.
func TestThreeHours(t *testing.T) {
	t.Parallel()
	const m = time.Minute
	for _, test := range []struct {
		name   string
		issuer issuer
		step   time.Duration // 0: 5 s
		failed int           // at most
		calls  int           // at most
	}{
		{"healthy", issuer{}, 0, 0, 5},
		{"kept until 5 min are left, cold", issuer{keep: 5 * m}, 0, 0, 18},
		{"kept until 5 min are left, 30 min old", issuer{keep: 5 * m, prefill: 30 * m}, 0, 0, 18},
		{"kept until 5 min are left, 50 min old", issuer{keep: 5 * m, prefill: 50 * m}, 0, 0, 18},
		{"kept until 4 min are left, cold", issuer{keep: 4 * m}, 0, 0, 18},
		{"kept until 4 min are left, 30 min old", issuer{keep: 4 * m, prefill: 30 * m}, 0, 0, 18},
		{"kept until 1 min is left", issuer{keep: m}, 0, 0, 24},
		{"kept until 10 s are left", issuer{keep: 10 * time.Second}, 0, 0, 40},
		{"down for 30 s", issuer{down: [2]time.Duration{55 * m, 55*m + 30*time.Second}}, 0, 0, 10},
		{"down from 54 to 59 min", issuer{down: [2]time.Duration{54 * m, 59 * m}}, 0, 0, 25},
		{"down from 54 to 70 min", issuer{down: [2]time.Duration{54 * m, 70 * m}}, 0, 0, 5},
		// The token is over at 60 min; the issuer comes back 12 s later, the
		// attempt within 5 s of that.
		{"down from 40 to 60.2 min", issuer{down: [2]time.Duration{40 * m, 60*m + 12*time.Second}}, 0, 4, 60},
		{"refused from 20 min on", issuer{revoke: 20 * m}, 0, 0, 6},
		{"refused from 20 min on, kept by the server", issuer{revoke: 20 * m, keep: 5 * m}, 0, 0, 22},
		{"clock 6 min behind", issuer{skew: 6 * m}, 0, 0, 5},
		{"clock 6 min ahead", issuer{skew: -6 * m}, 0, 0, 5},
		{"clock 70 min behind", issuer{skew: 70 * m}, 0, 0, 5},
		{"clock 70 min ahead", issuer{skew: -70 * m}, 0, 0, 5},
		{"each 7 min", issuer{}, 7 * m, 0, 5},
		{"each 59 min 50 s", issuer{}, 59*m + 50*time.Second, 0, 5},
		{"each 75 min", issuer{}, 75 * m, 0, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := test.issuer
				i.began = i.now()
				if i.keep > 0 {
					i.kept = i.began.Add(-i.prefill)
				}
				s := &scripted{token: i.token}
				c := Cached(s, CacheOptions{Audience: testAudience})
				step := test.step
				if step == 0 {
					step = 5 * time.Second
				}
				failed := 0
				for range 3 * time.Hour / step {
					if !send(t.Context(), c, &i) {
						failed++
					}
					time.Sleep(step)
				}
				if failed > test.failed {
					t.Errorf("%d failed, want at most %d", failed, test.failed)
				}
				if n := s.calls(); n > test.calls {
					t.Errorf("%d requests of the issuer, want at most %d", n, test.calls)
				}
				t.Logf("%d failed, %d requests of the issuer", failed, s.calls())
			})
		})
	}
}

// send is one request through a Transport.
func send(ctx context.Context, c *CachedSource, i *issuer) bool {
	token, err := c.Token(ctx)
	if err != nil {
		return false
	}
	if i.accepts(token) {
		return true
	}
	c.Invalidate(token)
	again, err := c.Token(ctx)
	return err == nil && i.accepts(again)
}
