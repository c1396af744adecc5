package logging

import "bytes"

// appendNumber appends n, a number as JSON has it; an integer that a float64
// cannot hold in quotes.
func appendNumber(b, n []byte) []byte {
	if !inexact(n) {
		return append(b, n...)
	}
	b = append(b, '"')
	b = append(b, n...)
	return append(b, '"')
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
