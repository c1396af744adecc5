package logging

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// maxExact is the last integer below which all are float64s: Cloud Logging
// keeps every number as one.
const maxExact = 1 << 53

const (
	lowerHex    = "0123456789abcdef"
	placeholder = `"` + redact.Placeholder + `"`
)

func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}

// appendEscaped appends s as the inside of a JSON string, as encoding/json
// does without HTML's escapes. Invalid UTF-8 becomes U+FFFD.
func appendEscaped[T string | []byte](b []byte, s T) []byte {
	for i := 0; i < len(s); {
		if i <= len(s)-8 {
			w := word(s[i:])
			good := bits.TrailingZeros64(unplain(w)) / 8 // 8, if all are
			b = binary.LittleEndian.AppendUint64(b, w)[:len(b)+good]
			if i += good; good == 8 {
				continue
			}
		}
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			b, i = appendRunes(b, s, i)
			continue
		case c < ' ' || c == '"' || c == '\\':
			b = appendEscape(b, c)
		default:
			b = append(b, c)
		}
		i++
	}
	return b
}

// appendRunes appends what stands from i on until an ASCII character, and
// returns where that is.
func appendRunes[T string | []byte](b []byte, s T, i int) (with []byte, end int) {
	start := i
	for i < len(s) && s[i] >= utf8.RuneSelf {
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[start:i]...)
			b = append(b, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029': // line ends, to JavaScript
			b = append(b, s[start:i]...)
			b = append(b, `\u202`...)
			b = append(b, lowerHex[r&0xf])
			start = i + size
		}
		i += size
	}
	return append(b, s[start:i]...), i
}

// plain returns how many bytes at the start of s are ASCII that needs no
// escape.
func plain[T string | []byte](s T) int {
	n := len(s)
	if n < 8 {
		if n >= 4 && unplain(halves(s)) == 0 {
			return n
		}
		for i := range n {
			if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
				return i
			}
		}
		return n
	}
	for i := 0; ; {
		if m := unplain(word(s[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		switch i += 8; {
		case i == n:
			return n
		case i > n-8: // the last eight, some for the second time
			i = n - 8
		}
	}
}

// unplain sets the high bit of the first of eight bytes that is not plain; of
// those after it perhaps too.
func unplain(w uint64) uint64 {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	quote := w ^ low*'"'
	slash := w ^ low*'\\'
	// A byte's high bit is set by its own, or by a borrow of a byte that is
	// below ' ' or equal to '"' or '\\'.
	return (w | (w - low*' ') | (quote - low) | (slash - low)) & high
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	}
	return append(b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&0xf])
}

func appendInt(b []byte, n int64) []byte {
	if uint64(n) < maxDigits8 {
		return appendDigits8(b, uint64(n))
	}
	if n > maxExact || n < -maxExact {
		b = append(b, '"')
		b = strconv.AppendInt(b, n, 10)
		return append(b, '"')
	}
	return strconv.AppendInt(b, n, 10)
}

func appendUint(b []byte, n uint64) []byte {
	if n < maxDigits8 {
		return appendDigits8(b, n)
	}
	if n > maxExact {
		b = append(b, '"')
		b = strconv.AppendUint(b, n, 10)
		return append(b, '"')
	}
	return strconv.AppendUint(b, n, 10)
}

// appendFloat appends f as encoding/json does, and what JSON has no number for
// as a string.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		b = append(b, '"')
		b = strconv.AppendFloat(b, f, 'g', -1, 64)
		return append(b, '"')
	}
	if abs := math.Abs(f); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' { // e-09 is e-9
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

// timeHead is how a record's time begins, and timeLayout its text up to the
// second.
const (
	timeHead   = `"time":"`
	timeLayout = "2006-01-02T15:04:05."
)

// A clock remembers the last second it wrote: records come many to a second,
// and the calendar costs more than the rest of a timestamp.
type clock struct {
	second int64
	text   [len(timeHead) + len(timeLayout)]byte // of second, in UTC; empty at first
}

// append appends t as the member time, RFC 3339 in UTC with all nine decimals,
// so that times sort as texts.
func (c *clock) append(b []byte, t time.Time) []byte {
	if second := t.Unix(); second != c.second || c.text[0] == 0 {
		u := t.UTC()
		if year := u.Year(); year < 0 || year > 9999 {
			b = append(b, timeHead...)
			b = u.AppendFormat(b, time.RFC3339Nano)
			return append(b, `",`...)
		}
		u.AppendFormat(append(c.text[:0], timeHead...), timeLayout)
		c.second = second
	}
	b = append(b, c.text[:]...)
	n := uint64(t.Nanosecond())
	b = binary.LittleEndian.AppendUint64(b, digits8(n/10))
	return append(b, byte('0'+n%10), 'Z', '"', ',')
}

// zeros8 is "00000000".
const zeros8 = 0x3030303030303030

// digits8 returns the eight decimal digits of n, the first in the lowest byte:
// halved three times, all lanes at once.
func digits8(n uint64) uint64 {
	x := n/10000 | n%10000<<32
	q := x * 10486 >> 20 & 0x0000007f0000007f // over 100, right below 10,000
	x = q | (x-100*q)<<16
	q = x * 103 >> 10 & 0x000f000f000f000f // over 10, right below 100
	x = q | (x-10*q)<<8
	return x + zeros8
}

// appendDigits appends n with leading zeros to width digits, at most 9.
func appendDigits(b []byte, n, width int) []byte {
	const zeros = "000000000"
	b = append(b, zeros[:width]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendHex appends id, whose length is a multiple of four.
func appendHex(b, id []byte) []byte {
	for ; len(id) >= 4; id = id[4:] {
		b = binary.BigEndian.AppendUint64(b, hex8(binary.BigEndian.Uint32(id)))
	}
	return b
}

// hex8 returns the eight hex digits of v, the first in the highest byte.
func hex8(v uint32) uint64 {
	const ones = 0x0101010101010101
	x := uint64(v) // spread its nibbles, one a byte
	x = (x<<16 | x) & 0x0000ffff0000ffff
	x = (x<<8 | x) & 0x00ff00ff00ff00ff
	x = (x<<4 | x) & 0x0f0f0f0f0f0f0f0f
	letters := (x + 6*ones) >> 4 & ones // 1 where the nibble is above 9
	return x + '0'*ones + letters*('a'-'0'-10)
}
