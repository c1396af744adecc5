package ddagent

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of the agent's normaliser and truncator (pkg/trace/agent), kept
// here so that nothing travels only to be cut there.
const (
	maxName     = 100
	maxService  = 100
	maxType     = 100
	maxResource = 5000
	maxKey      = 200
	maxValue    = 25000
	maxTag      = 200 // characters of a normalised tag value
)

const (
	unnamedOperation = "unnamed_operation"
	unnamedService   = "unnamed-go-service"
)

// clean returns s with invalid UTF-8 replaced and cut to max bytes, at a rune
// boundary.
func clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
		// A rune cut in two leaves at most three bytes behind.
		for i := 0; i < utf8.UTFMax && i < len(s); i++ {
			if c := s[len(s)-1-i]; utf8.RuneStart(c) {
				if !utf8.FullRuneInString(s[len(s)-1-i:]) {
					s = s[:len(s)-1-i]
				}
				break
			}
		}
	}
	if utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) > max { // the replacement is longer than what it replaces
		return clean(s, max)
	}
	return s
}

// cut is clean for what is valid UTF-8.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return clean(s, max)
}

// appendTag appends s as the agent's NormalizeTagValue has it: lower case,
// letters, digits and ":./-", all else one underscore, 200 characters.
func appendTag(b []byte, s string) []byte {
	if plainTag(s) {
		return append(b, s...)
	}
	chars, gap := 0, false
	for i, r := range s {
		width := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, width = utf8.DecodeRuneInString(s[i:])
		}
		if low := unicode.ToLower(r); unicode.IsUpper(r) && utf8.RuneLen(low) == width {
			r = low
		}
		chars++
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(":./-", r) {
			if gap {
				b, gap = append(b, '_'), false
			}
			b = utf8.AppendRune(b, r)
		} else {
			gap = true
		}
		if chars >= maxTag || i+width >= 2*maxTag {
			break
		}
	}
	return b
}

func plainTag(s string) bool {
	if len(s) > maxTag {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(":./-", c) >= 0 {
			continue
		}
		if c != '_' || i+1 == len(s) || s[i+1] == '_' {
			return false
		}
	}
	return true
}

// appendName appends name as the agent's NormalizeName has it: it begins with
// a letter, of what is not letter, digit or "." each run is one underscore,
// and none stands next to a ".".
func appendName(b, name []byte) []byte {
	if len(name) > maxName {
		name = name[:maxName]
	}
	for len(name) > 0 && !isAlpha(name[0]) {
		name = name[1:]
	}
	if len(name) == 0 {
		return append(b, unnamedOperation...)
	}
	if validName(name) {
		return append(b, bytes.TrimSuffix(name, []byte("_"))...)
	}
	start := len(b)
	for _, c := range name {
		last := len(b) - 1
		switch {
		case isAlpha(c) || '0' <= c && c <= '9':
			b = append(b, c)
		case c == '.' && last >= start && b[last] == '_':
			b[last] = '.'
		case c == '.':
			b = append(b, '.')
		case b[last] != '.' && b[last] != '_':
			b = append(b, '_')
		}
	}
	if b[len(b)-1] == '_' {
		b = b[:len(b)-1]
	}
	return b
}

// validName says whether the agent takes name, which begins with a letter, as
// it is. It is more lenient than what appendName makes: "a._b" passes.
func validName(name []byte) bool {
	for i, c := range name[1:] {
		switch {
		case isAlpha(c) || '0' <= c && c <= '9':
		case c != '.' && c != '_' || name[i] == '_':
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// serviceName returns s as the agent's NormalizeService has it.
func serviceName(s string) string {
	s = clean(s, maxService)
	if plainTag(s) && s != "" {
		return s
	}
	if b := appendTag(nil, s); len(b) > 0 {
		return string(b)
	}
	return unnamedService
}
