package gcpauth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const (
	testAudience = "https://agent-xyz.a.run.app"
	testEmail    = "shop@acme.iam.gserviceaccount.com"
	testSubject  = "104857600000000000001"
)

// canary is in the signature of every token of these tests.
const canary = "CANARYeyJsaWdodHMgb3V0"

type testClaims map[string]any

// rawToken signs with the canary: nobody here checks signatures.
func rawToken(c testClaims) string {
	return rawTokenWith(map[string]any{"alg": "RS256", "typ": "JWT"}, c)
}

func rawTokenWith(header map[string]any, c testClaims) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(header) + "." + part(c) + "." + canary
}

// issue returns what a metadata server would: a token for audience, issued at
// iat.
func issue(audience string, iat time.Time, life time.Duration) string {
	return rawToken(testClaims{
		"iss": "https://accounts.google.com", "aud": audience, "azp": testSubject, "sub": testSubject,
		"email": testEmail, "email_verified": true,
		"iat": iat.Unix(), "exp": iat.Add(life).Unix(),
	})
}

// mint returns a token that has come in now from an issuer with the right time.
func mint(t testing.TB, age, life time.Duration) Token {
	t.Helper()
	now := time.Now()
	token, err := ParseToken(issue(testAudience, now.Add(-age), life), now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// leaks reports whether text has a part of a token.
func leaks(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(text, "eyJ")
}
