package tracing

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A glob is a pattern of Datadog's sampling rules, in which * stands for any
// text, ? for any one character, and case does not count. It is "" where it
// matches everything.
type glob string

func newGlob(s string) glob {
	if strings.Trim(s, "*") == "" {
		return ""
	}
	return glob(s)
}

// match reports whether all of s is as g says. It goes back to the last * alone,
// so its time is bounded by the product of the lengths.
func (g glob) match(s string) bool {
	if g == "" {
		return true
	}
	p := string(g)
	star, from := "", "" // the pattern behind the last *, and where in s it was tried
	for hasStar := false; ; {
		switch {
		case p != "" && p[0] == '*':
			hasStar, star, from = true, p[1:], s
			p = p[1:]
			continue
		case p == "" && s == "":
			return true
		case p != "" && s != "":
			if pn, sn, ok := matchOne(p, s); ok {
				p, s = p[pn:], s[sn:]
				continue
			}
		}
		if !hasStar || from == "" {
			return false
		}
		_, n := utf8.DecodeRuneInString(from)
		from = from[n:]
		p, s = star, from
	}
}

// matchOne compares the first character of p and s, and returns how long each
// is.
func matchOne(p, s string) (pn, sn int, ok bool) {
	a, b := p[0], s[0]
	if a < utf8.RuneSelf && b < utf8.RuneSelf {
		return 1, 1, a == '?' || lower(a) == lower(b)
	}
	r, pn := utf8.DecodeRuneInString(p)
	q, sn := utf8.DecodeRuneInString(s)
	if r == '?' || r == q {
		return pn, sn, true
	}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f == q {
			return pn, sn, true
		}
	}
	return pn, sn, false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
