// Package redact decides which values never leave the program in clear: the
// values of keys that name a secret, and the secret parts of URLs. There is one
// Redactor a pipeline; every sink asks it at the moment an attribute becomes
// bytes.
package redact

import (
	"math"
	"net/url"
	"strings"
)

// Placeholder stands where a secret was.
const Placeholder = "[REDACTED]"

// defaultKeys are compared as suffixes at a word boundary: access_token and
// db_password match, token_count does not.
var defaultKeys = []string{
	"authorization", "proxy_authorization", "cookie", "set_cookie",
	"password", "passwd", "passphrase", "secret", "token", "jwt",
	"api_key", "access_key", "private_key", "signature", "credential", "credentials",
}

// signs reports whether the value of a query parameter is a credential though
// its name does not end in one of the default keys; case-sensitive, from
// OpenTelemetry's semantic conventions (url.query).
func signs(name string) bool {
	switch name {
	case "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token",
		"AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature":
		return true
	}
	return false
}

// Redactor knows the secret keys. A nil *Redactor uses the default list. It is
// immutable and safe for concurrent use.
type Redactor struct {
	keys  []string // canonical: lower case, no separators
	tails tails    // of keys
}

// tails says of which last two letters keys are, for nearly every key that is
// logged ends in others: one bit for each class of the last but one, in the
// word for that of the last.
type tails [32]uint32

// classes are those of bytes: a letter's are its lowest five bits, in which
// other bytes may agree with it. Separators have one that is no letter's.
var classes = func() (c [256]uint8) {
	for i := range c {
		c[i] = uint8(i) & 31
		switch {
		case separator(byte(i)):
			c[i] = separators
		case c[i] == separators:
			c[i] = 0
		}
	}
	return c
}()

const separators = 31

func newTails() (t tails) {
	// A key that ends in separators may be any.
	for i := range t {
		t[i] = 1 << separators
	}
	t[separators] = math.MaxUint32
	return t
}

// add adds a canonical key.
func (t *tails) add(key string) {
	n := len(key)
	last := &t[classes[key[n-1]]]
	if n == 1 {
		*last = math.MaxUint32
		return
	}
	*last |= 1 << (classes[key[n-2]] & 31)
}

// may reports whether a key that ends as the list's may be on it.
func (t *tails) may(key string) bool {
	n := len(key)
	if n < 2 {
		return n > 0
	}
	return t[classes[key[n-1]]&31]>>(classes[key[n-2]]&31)&1 != 0
}

var standard = New(nil)

// New returns a Redactor for the default keys and extra, which are compared
// as the defaults are: ignoring case and the separators "-", "_" and ".",
// either whole or as the last words of the key.
func New(extra []string) *Redactor {
	r := &Redactor{tails: newTails()}
	for _, list := range [][]string{defaultKeys, extra} {
		for _, k := range list {
			if c := canonical(k); c != "" {
				r.keys = append(r.keys, c)
				r.tails.add(c)
			}
		}
	}
	return r
}

func canonical(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := lower(key[i]); !separator(c) {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func separator(c byte) bool { return c == '-' || c == '_' || c == '.' }

// Key reports whether the value of key is a secret. It does not allocate.
func (r *Redactor) Key(key string) bool {
	if r == nil {
		r = standard
	}
	return r.tails.may(key) && r.listed(key)
}

func (r *Redactor) listed(key string) bool {
	for _, k := range r.keys {
		if endsIn(key, k) {
			return true
		}
	}
	return false
}

// endsIn compares from the end, skipping separators in key. What is left of
// key after a match must end at a word boundary: nothing, a separator, or a
// change from lower to upper case (accessToken).
func endsIn(key, k string) bool {
	i := len(key)
	for j := len(k) - 1; j >= 0; j-- {
		i--
		for i >= 0 && separator(key[i]) {
			i--
		}
		if i < 0 || lower(key[i]) != k[j] {
			return false
		}
	}
	if i == 0 || separator(key[i-1]) {
		return true
	}
	return 'A' <= key[i] && key[i] <= 'Z' && 'a' <= key[i-1] && key[i-1] <= 'z'
}

// Query returns a raw query string with the values of secret parameters
// replaced. Other parameters keep their bytes.
func (r *Redactor) Query(raw string) string {
	var b strings.Builder
	done := 0 // how much of raw is in b; 0 while nothing was secret
	for start := 0; start < len(raw); {
		end := len(raw)
		if i := strings.IndexByte(raw[start:], '&'); i >= 0 {
			end = start + i
		}
		if name, _, ok := strings.Cut(raw[start:end], "="); ok && r.secretParam(name) {
			b.WriteString(raw[done:start])
			b.WriteString(name)
			b.WriteString("=REDACTED")
			done = end
		}
		start = end + 1
	}
	if done == 0 {
		return raw
	}
	b.WriteString(raw[done:])
	return b.String()
}

func (r *Redactor) secretParam(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	return signs(name) || r.Key(name)
}

// URL returns raw with its userinfo and the values of secret query parameters
// replaced. What does not parse as a URL comes back as Placeholder if it could
// hide a userinfo or a query, and unchanged otherwise.
func (r *Redactor) URL(raw string) string {
	if !strings.ContainsAny(raw, "@?") {
		return raw
	}
	if r.harmless(raw) {
		return raw // nearly all are, and to parse one costs as much as the rest of a record
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" { // user:password@host is opaque
		return Placeholder
	}
	if u.User != nil {
		u.User = url.User("REDACTED")
	}
	u.RawQuery = r.Query(u.RawQuery)
	return u.String()
}

// harmless reports whether raw has no userinfo and no secret parameter,
// however it may be parsed.
func (r *Redactor) harmless(raw string) bool {
	if strings.IndexByte(raw, '@') >= 0 {
		return false
	}
	rest, _, _ := strings.Cut(raw, "#")
	_, query, _ := strings.Cut(rest, "?")
	return r.Query(query) == query
}

// Text returns s with the URLs in it treated as URL treats them: errors quote
// them whole. Text without a URL comes back as it is.
func (r *Redactor) Text(s string) string {
	const mark = "://"
	i := strings.Index(s, mark)
	if i < 0 {
		return s
	}
	var b strings.Builder
	for i >= 0 {
		start := i
		for start > 0 && isScheme(s[start-1]) {
			start--
		}
		end := i + len(mark)
		for end < len(s) && !endsURL(s[end]) {
			end++
		}
		b.WriteString(s[:start])
		b.WriteString(r.URL(s[start:end]))
		s = s[end:]
		i = strings.Index(s, mark)
	}
	b.WriteString(s)
	return b.String()
}

func isScheme(c byte) bool {
	c = lower(c)
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'
}

// endsURL reports whether c can stand in no URL, or ends one in a text.
func endsURL(c byte) bool {
	return c <= ' ' || c == '"' || c == '\'' || c == '`' || c == '<' || c == '>' || c == '\\' || c == 0x7f
}
