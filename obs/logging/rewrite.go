package logging

import (
	"bytes"
	"encoding/json"
)

// appendJSON appends src, which is valid and compact JSON, with the values of
// secret keys replaced and with integers that a float64 cannot hold quoted.
func (l *line) appendJSON(src []byte) {
	for i := 0; i < len(src); {
		end := i + 1
		switch c := src[i]; {
		case c == '"':
			end = stringEnd(src, i)
			l.buf = append(l.buf, src[i:end]...)
			if end == len(src) || src[end] != ':' { // only a key has a colon after it
				break
			}
			l.buf = append(l.buf, ':')
			key := src[i:end]
			end++
			if hidden := valueEnd(src, end); hidden > end && l.red.Key(unquoted(key)) {
				l.buf = append(l.buf, placeholder...)
				end = hidden
			}
		case c == '-' || '0' <= c && c <= '9':
			end = numberEnd(src, i)
			l.appendNumber(src[i:end])
		default:
			l.buf = append(l.buf, c)
		}
		i = end
	}
}

// stringEnd returns the offset after the string that begins at i.
func stringEnd(src []byte, i int) int {
	for i++; src[i] != '"'; i++ {
		if src[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func unquoted(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s[1 : len(s)-1])
	}
	var key string
	if err := json.Unmarshal(s, &key); err != nil {
		return string(s) // cannot be: s is valid
	}
	return key
}

// valueEnd returns the offset after the string, object or array that begins at
// i; i itself for what counts or switches, which is no secret.
func valueEnd(src []byte, i int) int {
	depth := 0
	for j := i; ; {
		switch src[j] {
		case '"':
			j = stringEnd(src, j)
		case '{', '[':
			depth++
			j++
		case '}', ']':
			depth--
			j++
		default:
			if depth == 0 {
				return i
			}
			j++
		}
		if depth == 0 {
			return j
		}
	}
}

func numberEnd(src []byte, i int) int {
	for i < len(src) && src[i] != ',' && src[i] != '}' && src[i] != ']' {
		i++
	}
	return i
}

func (l *line) appendNumber(n []byte) {
	if !inexact(n) {
		l.buf = append(l.buf, n...)
		return
	}
	l.buf = append(l.buf, '"')
	l.buf = append(l.buf, n...)
	l.buf = append(l.buf, '"')
}

// inexact reports whether n is written as an integer beyond 2^53. It may have
// been a float64; the digits are then as true in quotes.
func inexact(n []byte) bool {
	const limit = "9007199254740992"
	n = bytes.TrimPrefix(n, []byte("-"))
	switch {
	case len(n) < len(limit) || bytes.ContainsAny(n, ".eE"):
		return false
	case len(n) > len(limit):
		return true
	}
	return string(n) > limit
}
