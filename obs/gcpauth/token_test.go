package gcpauth

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseToken(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	good := func(change testClaims) string {
		c := testClaims{"aud": testAudience, "sub": testSubject, "iat": now.Unix(), "exp": now.Unix() + 3600}
		for k, v := range change {
			c[k] = v
		}
		return rawToken(c)
	}
	for _, test := range []struct {
		name string
		raw  string
		want string // in the error; empty: none
	}{
		{"good", good(nil), ""},
		{"several audiences", good(testClaims{"aud": []string{"a", "b"}}), ""},
		{"fraction of a second", good(testClaims{"exp": 1_800_003_600.5}), ""},
		{"no issued at", good(testClaims{"iat": nil}), ""},
		{"empty", "", "compact form"},
		{"two parts", "eyJh.eyJi", "compact form"},
		{"four parts", good(nil) + ".x", "compact form"},
		{"empty part", "eyJh..c", "compact form"},
		{"no signature", strings.TrimSuffix(good(nil), canary), "compact form"},
		{"newline at the end", good(nil) + "\n", "compact form"},
		{"header injection", good(nil) + "\r\nX-Evil: 1", "compact form"},
		{"HTML", "<html><body>Sign in to the network</body></html>", "compact form"},
		{"padding", "eyJh==.eyJi.c", "compact form"},
		{"2 MiB", strings.Repeat("a", 2<<20), "more than 8192 bytes"},
		{"letters and dots", "a.b.c", "its header names no signature algorithm"},
		{"no algorithm", rawTokenWith(map[string]any{"typ": "JWT"}, testClaims{}), "no signature algorithm"},
		{"algorithm none", rawTokenWith(map[string]any{"alg": "None"}, testClaims{}), "no signature algorithm"},
		{"claims are no object", rawTokenWith(map[string]any{"alg": "RS256"}, nil) + "x", "no audience"},
		{"claims of another type", good(testClaims{"exp": "tomorrow"}), "claims are not the JSON"},
		{"no audience", good(testClaims{"aud": nil}), "no audience"},
		{"empty audience", good(testClaims{"aud": ""}), "no audience"},
		{"audience is a number", good(testClaims{"aud": 7}), "claims are not the JSON"},
		{"no expiry", good(testClaims{"exp": nil}), "no time of expiry"},
		{"negative expiry", good(testClaims{"exp": -1}), "no time of expiry"},
		{"expiry beyond time", good(testClaims{"exp": 1e300}), "no time of expiry"},
		{"expired", good(testClaims{"exp": now.Unix()}), "has expired"},
		{"ten years", good(testClaims{"exp": now.Unix() + 10*365*86400}), "claims a life of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			token, err := ParseToken(test.raw, now)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := token.t.raw(); got != test.raw {
					t.Errorf("kept %q, want %q", got, test.raw)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "gcpauth: ") {
				t.Errorf("got error %v, want %q in it", err, test.want)
			}
			if err != nil && leaks(err.Error()) {
				t.Errorf("the error shows the token: %v", err)
			}
			if token != (Token{}) {
				t.Error("a token beside the error")
			}
		})
	}
}

// TestLife counts a token's life by the issuer's clock, with ours anywhere.
func TestLife(t *testing.T) {
	t.Parallel()
	const life = time.Hour
	issued := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		name        string
		date        time.Time
		left, total time.Duration
	}{
		{"just issued", issued, life, life},
		{"kept by the server", issued.Add(50 * time.Minute), 10 * time.Minute, life},
		{"date before its own beginning", issued.Add(-70 * time.Minute), life, life},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := time.Now()
			token, err := ParseToken(issue(testAudience, issued, life), test.date)
			if err != nil {
				t.Fatal(err)
			}
			if token.t.left != test.left || token.t.total != test.total {
				t.Errorf("left %v of %v, want %v of %v", token.t.left, token.t.total, test.left, test.total)
			}
			if e := token.Expires(); e.Before(before.Add(test.left)) || e.After(time.Now().Add(test.left)) {
				t.Errorf("expires %v, want %v from now", e, test.left)
			}
		})
	}
	if !(Token{}).Expires().IsZero() {
		t.Error("the zero token expires")
	}
}

// TestSuspended moves the two clocks apart: the one that says more counts.
func TestSuspended(t *testing.T) {
	t.Parallel()
	token := mint(t, 0, time.Hour)
	now := time.Now()
	token.t.wall = token.t.wall.Add(-2 * time.Hour) // the monotonic clock stood still
	if left := token.left(now); left > -59*time.Minute {
		t.Errorf("after two hours asleep %v are left", left)
	}
	token = mint(t, 0, time.Hour)
	token.t.wall = token.t.wall.Add(2 * time.Hour) // the wall clock was set back
	if left := token.left(now.Add(30 * time.Minute)); left < 29*time.Minute || left > 31*time.Minute {
		t.Errorf("after half an hour and a clock set back %v are left", left)
	}
}

func TestTokenDoesNotPrint(t *testing.T) {
	t.Parallel()
	token := mint(t, 0, time.Hour)
	type open struct{ Token Token }
	type hidden struct{ token Token }
	values := map[string]any{
		"value": token, "pointer": &token, "zero": Token{},
		"slice": []Token{token}, "map": map[string]Token{"k": token}, "key": map[Token]int{token: 1},
		"field": open{token}, "unexported field": hidden{token}, "pointer to it": &hidden{token},
		"static source": Static(token.t.raw()),
		"cached source": Cached(Static(token.t.raw()), CacheOptions{}),
		"transport":     &Transport{Source: Static(token.t.raw()), Origin: testAudience},
	}
	if c, ok := values["cached source"].(*CachedSource); ok {
		if _, err := c.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.running.Wait() // fmt reads its fields without their lock
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range "vTtbcdoOqxXUeEfFgGspwZ" {
				for _, flags := range []string{"", "+", "#", " ", "-40", ".3", "0"} {
					format := "%" + flags + string(verb)
					if got := fmt.Sprintf(format, v); leaks(got) || leaksHex(got, token) {
						t.Fatalf("%s prints %.200s", format, got)
					}
				}
			}
			for encoder, got := range encodings(v) {
				if leaks(got) {
					t.Errorf("%s writes %.200s", encoder, got)
				}
			}
		})
	}
	if got := fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token); got != strings.TrimSpace(strings.Repeat("[REDACTED] ", 7)) {
		t.Errorf("got %s", got)
	}
}

func leaksHex(s string, t Token) bool {
	return strings.Contains(strings.ToLower(s), fmt.Sprintf("%x", t.t.raw()[:12]))
}

func encodings(v any) map[string]string {
	out := make(map[string]string)
	var b bytes.Buffer
	if j, err := json.Marshal(v); err == nil {
		out["json"] = string(j)
	}
	if x, err := xml.Marshal(v); err == nil {
		out["xml"] = string(x)
	}
	if gob.NewEncoder(&b).Encode(v) == nil {
		out["gob"] = b.String()
	}
	b.Reset()
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "v", v, slog.Group("g", "v", v))
	out["slog"] = b.String()
	return out
}

func TestEncodingsOfToken(t *testing.T) {
	t.Parallel()
	token := mint(t, 0, time.Hour)
	got := encodings(token)
	if got["json"] != `"[REDACTED]"` {
		t.Errorf("json: %s", got["json"])
	}
	if !strings.Contains(got["xml"], "[REDACTED]") {
		t.Errorf("xml: %s", got["xml"])
	}
	if !strings.Contains(got["gob"], "[REDACTED]") {
		t.Errorf("gob: %q", got["gob"])
	}
	if strings.Count(got["slog"], "[REDACTED]") != 4 {
		t.Errorf("slog: %s", got["slog"])
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name, raw, want string
	}{
		{"good", issue(testAudience, now, time.Hour), ""},
		{"expired", issue(testAudience, now.Add(-2*time.Hour), time.Hour), "has expired"},
		{"no token", "ya29.opaque", "malformed ID token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := Static(test.raw)
			token, err := s.Token(t.Context())
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.Invalidate(token)
			if again, err := s.Token(t.Context()); err != nil || again != token {
				t.Errorf("after Invalidate: same %v, error %v", again == token, err)
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(issue(testAudience, now, time.Hour))
	f.Add(rawToken(testClaims{"aud": []any{"a", 1}, "exp": 1e18, "iat": -1}))
	f.Add(rawToken(testClaims{"aud": map[string]any{}, "exp": "1"}))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Add("a.b.c\n")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := ParseToken(raw, now)
		if err != nil {
			if len(raw) > 30 && strings.Contains(err.Error(), raw[:30]) {
				t.Fatalf("the error quotes its input: %v", err)
			}
			return
		}
		if strings.Trim(raw, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || len(raw) > maxTokenBytes {
			t.Fatalf("accepted %q", raw)
		}
		if token.t.left <= 0 || token.t.left > token.t.total || token.t.total > maxLife || len(token.t.audience) == 0 {
			t.Fatalf("accepted a life of %v of %v", token.t.left, token.t.total)
		}
		if age := refreshAge(token.t); age <= 0 || age > token.t.left {
			t.Fatalf("a successor is asked for at %v of %v", age, token.t.left)
		}
	})
}
