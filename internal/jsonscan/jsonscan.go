// Package jsonscan finds the parts of JSON that is known to be valid, its
// encoding too, and compact, without decoding it.
package jsonscan

import (
	"bytes"
	"encoding/json"
)

// StringEnd returns the offset after the string that begins at i.
func StringEnd(src []byte, i int) int {
	for i++; src[i] != '"'; i++ {
		if src[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// Unquoted returns what the string s, with its quotes, stands for.
func Unquoted(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s[1 : len(s)-1])
	}
	var text string
	if err := json.Unmarshal(s, &text); err != nil {
		return string(s) // cannot be: s is valid
	}
	return text
}

// TextEnd returns the offset after the string, object or array that begins at
// i; i itself for a number, true, false and null.
func TextEnd(src []byte, i int) int {
	depth := 0
	for j := i; ; {
		switch src[j] {
		case '"':
			j = StringEnd(src, j)
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

// ScalarEnd returns the offset after the number, true, false or null that
// begins at i.
func ScalarEnd(src []byte, i int) int {
	for i < len(src) && src[i] != ',' && src[i] != '}' && src[i] != ']' {
		i++
	}
	return i
}

// ValueEnd returns the offset after the value that begins at i.
func ValueEnd(src []byte, i int) int {
	if end := TextEnd(src, i); end > i {
		return end
	}
	return ScalarEnd(src, i)
}

// EachMember calls f with each member of object, after which something may
// follow. The key has its quotes.
func EachMember(object []byte, f func(key, value []byte)) {
	for i := 1; i < len(object) && object[i] == '"'; {
		colon := StringEnd(object, i)
		end := ValueEnd(object, colon+1)
		f(object[i:colon], object[colon+1:end])
		i = end + 1 // the comma, or the end
	}
}
