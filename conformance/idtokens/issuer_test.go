package idtokens

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const life = time.Hour

// A scenario is what goes wrong in three hours.
type scenario struct {
	name    string
	skew    time.Duration    // of the issuer's clock against the client's
	keep    time.Duration    // a token is handed out again until so much of its life is left; 0: never
	prefill time.Duration    // the age of the token kept at the beginning
	down    [2]time.Duration // the metadata server answers 503
	revoke  time.Duration    // when tokens made before are refused; 0: never
	asleep  [2]time.Duration // nothing runs

	atMost int // our exports that may fail
}

// issuer is a metadata server and the front end that checks its tokens. The
// server runs outside of the bubble and is told the time.
type issuer struct {
	scenario

	mu       sync.Mutex // guards the fields below
	told     time.Time  // the client's
	began    time.Time  // by the issuer's clock
	made     time.Time  // the token that is kept
	requests int
}

func (i *issuer) start(now time.Time) {
	i.tell(now)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.began = now.Add(i.skew)
	if i.keep > 0 {
		i.made = i.began.Add(-i.prefill)
	}
}

func (i *issuer) tell(now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.told = now
}

// ServeHTTP is the metadata server.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.told.Add(i.skew)
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	if !strings.HasSuffix(r.URL.Path, "/identity") {
		http.NotFound(w, r)
		return
	}
	i.requests++
	since := now.Sub(i.began)
	if i.down[0] <= since && since < i.down[1] {
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
		return
	}
	revoked := i.revoke > 0 && since >= i.revoke && i.made.Before(i.began.Add(i.revoke))
	if i.keep == 0 || revoked || i.made.Add(life-i.keep).Before(now) {
		i.made = now
	}
	io.WriteString(w, token(r.URL.Query().Get("audience"), i.made)) //nolint:errcheck // the client sees it
}

// RoundTrip is the front end, which lives in the bubble.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Body != nil {
		r.Body.Close()
	}
	status := http.StatusUnauthorized
	if made, err := madeAt(r.Header.Get("Authorization")); err == nil {
		now := time.Now().Add(i.skew)
		revoked := i.revoke > 0 && now.Sub(i.began) >= i.revoke && made.Before(i.began.Add(i.revoke).Truncate(time.Second))
		if now.Before(made.Add(life)) && !revoked {
			status = http.StatusOK
		}
	}
	return &http.Response{
		StatusCode: status, Request: r, Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// token has no true signature: nobody here looks at it.
func token(audience string, made time.Time) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers always encode
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + part(claims{
		Issuer: "https://accounts.google.com", Audience: audience, Subject: "1",
		IssuedAt: made.Unix(), Expires: made.Add(life).Unix(),
	}) + ".c2lnbmF0dXJl"
}

func madeAt(header string) (time.Time, error) {
	raw, ok := strings.CutPrefix(header, "Bearer ")
	parts := strings.Split(raw, ".")
	if !ok || len(parts) != 3 {
		return time.Time{}, fmt.Errorf("not a token: %.20q", header)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, err
	}
	var c claims
	if err := json.Unmarshal(b, &c); err != nil {
		return time.Time{}, err
	}
	return time.Unix(c.IssuedAt, 0), nil
}

func TestFrontEndRefuses(t *testing.T) {
	i := &issuer{scenario: scenario{revoke: time.Minute}}
	now := time.Now()
	i.start(now.Add(-2 * time.Minute))
	for _, test := range []struct {
		name, header string
		want         int
	}{
		{"fresh", "Bearer " + token("a", now), http.StatusOK},
		{"revoked", "Bearer " + token("a", now.Add(-90*time.Second)), http.StatusUnauthorized},
		{"expired", "Bearer " + token("a", now.Add(-life-time.Second)), http.StatusUnauthorized},
		{"none", "", http.StatusUnauthorized},
		{"an error page", "Bearer <html>", http.StatusUnauthorized},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://agent", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", test.header)
		if resp, err := i.RoundTrip(r); err != nil || resp.StatusCode != test.want {
			t.Errorf("%s: got %v, %v; want %d", test.name, resp, err, test.want)
		}
	}
}
