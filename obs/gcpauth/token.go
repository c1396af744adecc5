package gcpauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/internal/redact"
)

const scheme = "Bearer " // RFC 6750

// maxTokenBytes is well above the 1 KB of Google's tokens and at what HTTP
// servers take for one header line.
const maxTokenBytes = 8 << 10

// maxLife is the longest life a token may claim. Google's live one hour.
const maxLife = 24 * time.Hour

// Token is a Google ID token. It prints as [REDACTED] with every verb of fmt
// and through every encoder; [Transport] alone takes the value out. A Token is
// small, immutable, and compares equal to its copies. The zero Token is none.
type Token struct {
	t *token
}

type token struct {
	// bearer is the value of a header. It is a function because fmt reads
	// unexported fields without their methods, through pointers too where a
	// verb does not fit, but cannot look into a function.
	bearer         func() string
	audience       []string
	subject, email string
	expires        time.Time // by the issuer's clock

	// left is what remained of the life total when the token came in, at born
	// by the monotonic clock, which stands still while the machine is
	// suspended, and at wall by the other, which can be set back.
	total, left time.Duration
	born, wall  time.Time
}

var (
	_ slog.LogValuer = Token{}
	_ fmt.Formatter  = Token{}
)

// Expires returns when the token ends, by this machine's clock. It is the zero
// time for the zero Token.
func (t Token) Expires() time.Time {
	if t.t == nil {
		return time.Time{}
	}
	return t.t.wall.Add(t.t.left)
}

// Audience returns whom the token is for, nobody for the zero Token.
func (t Token) Audience() []string {
	if t.t == nil {
		return nil
	}
	return slices.Clone(t.t.audience)
}

// Identity returns whose token it is by its own account: an email address, or
// a unique id if it has none. Nothing here has checked the signature.
func (t Token) Identity() string {
	if t.t == nil {
		return ""
	}
	return t.t.identity()
}

// LogValue returns the placeholder.
func (Token) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// String returns the placeholder.
func (Token) String() string { return redact.Placeholder }

// Format writes the placeholder, whatever the verb and its flags.
func (Token) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Placeholder) } //nolint:errcheck // fmt's own buffer takes every write

// MarshalText returns the placeholder: for JSON, XML and map keys.
func (Token) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

// MarshalBinary returns the placeholder: for gob.
func (Token) MarshalBinary() ([]byte, error) { return []byte(redact.Placeholder), nil }

// raw is the token itself.
func (t *token) raw() string { return t.bearer()[len(scheme):] }

// age is the time since the token came in, by the clock that says more.
func (t *token) age(now time.Time) time.Duration {
	return elapsed(t.born, t.wall, now)
}

func elapsed(mono, wall, now time.Time) time.Duration {
	return max(now.Sub(mono), now.Round(0).Sub(wall))
}

// left is what remains of the token's life, negative if it is over.
func (t Token) left(now time.Time) time.Duration {
	if t.t == nil {
		return 0
	}
	return t.t.left - t.t.age(now)
}

// identity is the token's own account of whose it is.
func (t *token) identity() string {
	if t.email != "" {
		return t.email
	}
	return t.subject
}

// same reports whether both are the same token, or both none.
func (t Token) same(u Token) bool {
	if t.t == nil || u.t == nil {
		return t.t == u.t
	}
	return t.t == u.t || t.t.bearer() == u.t.bearer()
}

// check refuses a token that is none, is over, or is not for audience, if that
// is not empty.
func (t Token) check(audience string, now time.Time) error {
	switch {
	case t.t == nil:
		return errors.New("gcpauth: the source returned no ID token")
	case t.left(now) <= 0:
		return errors.New("gcpauth: the ID token has expired")
	case audience != "" && !slices.Contains(t.t.audience, audience):
		return fmt.Errorf("gcpauth: the ID token is for the audience %.200q, want %q", strings.Join(t.t.audience, " "), audience)
	}
	return nil
}

// ParseToken makes a Token of a JSON Web Token in compact form (RFC 7519): it
// must be signed, though the signature is not checked here, and name an
// audience and when it ends. date is the issuer's time when it sent the token,
// as in its Date header: the token's life is counted from there, so that this
// machine's clock may be wrong. The zero date stands for this machine's time.
//
// The error never quotes raw.
func ParseToken(raw string, date time.Time) (Token, error) {
	if err := checkShape(raw); err != nil {
		return Token{}, err
	}
	now := time.Now()
	if date.IsZero() {
		date = now
	}
	head, rest, _ := strings.Cut(raw, ".")
	body, _, _ := strings.Cut(rest, ".")
	var h header
	if !decode(head, &h) || h.Algorithm == "" || strings.EqualFold(h.Algorithm, "none") {
		return Token{}, errors.New("gcpauth: malformed ID token: its header names no signature algorithm")
	}
	var c claims
	if !decode(body, &c) {
		return Token{}, errors.New("gcpauth: malformed ID token: its claims are not the JSON they should be")
	}
	if len(c.Audience) == 0 {
		return Token{}, errors.New("gcpauth: malformed ID token: no audience")
	}
	t := &token{
		bearer: hide(scheme + raw), audience: c.Audience, subject: c.Subject, email: c.Email,
		born: now, wall: now.Round(0),
	}
	if err := t.setLife(c, date); err != nil {
		return Token{}, err
	}
	return Token{t}, nil
}

func hide(s string) func() string { return func() string { return s } }

// setLife never trusts a life of one hour, nor a date before the token's own
// beginning.
func (t *token) setLife(c claims, date time.Time) error {
	const year9999 = 253402300799
	if !(c.Expires > 0 && c.Expires <= year9999) {
		return errors.New("gcpauth: malformed ID token: no time of expiry")
	}
	t.expires = time.Unix(int64(c.Expires), 0)
	t.left = t.expires.Sub(date)
	t.total = t.left
	if c.IssuedAt > 0 && c.IssuedAt < c.Expires {
		t.total = t.expires.Sub(time.Unix(int64(c.IssuedAt), 0))
		t.left = min(t.left, t.total)
	}
	if t.left <= 0 {
		return errors.New("gcpauth: the ID token has expired")
	}
	if t.total > maxLife {
		return fmt.Errorf("gcpauth: the ID token claims a life of %v, want at most %v", t.total, maxLife)
	}
	return nil
}

// checkShape wants three parts of base64url, none empty: what passes can stand
// in a header.
func checkShape(raw string) error {
	if len(raw) > maxTokenBytes {
		return fmt.Errorf("gcpauth: malformed ID token: more than %d bytes", maxTokenBytes)
	}
	part, parts := 0, 1
	for i := range len(raw) {
		switch c := raw[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			part++
		case c == '.' && part > 0:
			part = 0
			parts++
		default:
			return errors.New("gcpauth: malformed ID token: not a JSON Web Token in compact form")
		}
	}
	if parts != 3 || part == 0 {
		return errors.New("gcpauth: malformed ID token: not a JSON Web Token in compact form")
	}
	return nil
}

type header struct {
	Algorithm string `json:"alg"`
}

// claims are those of RFC 7519 section 4.1, and Google's email.
type claims struct {
	Audience audience `json:"aud"`
	Subject  string   `json:"sub"`
	Email    string   `json:"email"`
	Expires  float64  `json:"exp"`
	IssuedAt float64  `json:"iat"`
}

// audience is one string, or an array of them.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) != nil {
		return json.Unmarshal(b, (*[]string)(a))
	}
	if *a = nil; one != "" {
		*a = audience{one}
	}
	return nil
}

// decode reports success and nothing more: an error of encoding/json may quote
// what it read.
func decode(part string, v any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, v) == nil
}
