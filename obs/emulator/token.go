package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

const (
	issuer      = "https://accounts.google.com"
	algorithm   = "RS256" // RFC 7518, section 3.3
	keyBits     = 2048    // as Google's
	clockSkew   = 5 * time.Minute
	maxJSONPart = 16 << 10
)

// signingKey is a key and its name.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

func newSigningKey() (*signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	sum := sha256.Sum256(private.N.Bytes())
	return &signingKey{id: hex.EncodeToString(sum[:20]), private: private}, nil // Google's ids have 40 digits
}

// jwks is the public key as a JSON Web Key Set (RFC 7517).
func (k *signingKey) jwks() []byte {
	b, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": algorithm, "kid": k.id,
		"n": encodePart(k.private.N.Bytes()),
		"e": encodePart(big.NewInt(int64(k.private.E)).Bytes()),
	}}})
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}

// claims are those of Google's ID tokens for service accounts. See
// https://cloud.google.com/compute/docs/instances/verifying-instance-identity#token_format.
type claims struct {
	Issuer        string         `json:"iss"`
	Audience      audience       `json:"aud"`
	Subject       string         `json:"sub"`
	Party         string         `json:"azp"`
	Email         string         `json:"email"`
	EmailVerified bool           `json:"email_verified"`
	IssuedAt      int64          `json:"iat"`
	Expires       int64          `json:"exp"`
	Google        map[string]any `json:"google,omitempty"` // with format=full
}

// audience is one string, or an array of them.
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) != nil {
		return json.Unmarshal(b, (*[]string)(a))
	}
	*a = audience{one}
	return nil
}

type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// sign makes a JSON Web Token in compact form (RFC 7515, section 7.1).
func (k *signingKey) sign(h tokenHeader, c claims) (string, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	signed := encodePart(head) + "." + encodePart(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	return signed + "." + encodePart(signature), nil
}

// verify returns the claims of a token that k has signed for aud and that is
// valid at now, or says what is wrong with it.
func (k *signingKey) verify(token, aud string, now time.Time) (claims, error) {
	var h tokenHeader
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 || !decodePart(parts[0], &h) || !decodePart(parts[1], &c) {
		return c, errors.New("not a JSON Web Token")
	}
	if h.Algorithm != algorithm {
		return c, fmt.Errorf("the algorithm is %.20q, want %s", h.Algorithm, algorithm)
	}
	if h.KeyID != k.id {
		return c, errors.New("unknown key")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return c, errors.New("the signature is not base64url")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&k.private.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return c, errors.New("the signature is not the key's")
	}
	return c, c.check(aud, now)
}

func (c *claims) check(aud string, now time.Time) error {
	switch {
	case c.Issuer != issuer:
		return fmt.Errorf("the issuer is %.100q, want %q", c.Issuer, issuer)
	case !slices.Contains(c.Audience, aud):
		return fmt.Errorf("the audience is %.200q, want %q", []string(c.Audience), aud)
	case now.Unix() >= c.Expires:
		return errors.New("the token has expired")
	case now.Add(clockSkew).Unix() < c.IssuedAt:
		return errors.New("the token is from the future")
	}
	return nil
}

func encodePart(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decodePart(part string, v any) bool {
	if len(part) > maxJSONPart {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
