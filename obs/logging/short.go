package logging

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// Most of what a record is made of is short: keys, words, counts. The
// functions of this file make such bytes in registers and store them eight at
// a time, where append would call memmove for each piece. That and the calendar
// make Handle a fifth quicker with ten attributes.

// extend returns b longer by n bytes, which hold anything.
func extend(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = slices.Grow(b, n)
	}
	return b[:len(b)+n]
}

// maxShort is the longest text that two words hold.
const maxShort = 16

// appendShort appends s, which is not longer than maxShort, in quotes. It
// reports false, and has appended nothing, if s needs an escape.
func appendShort(b []byte, s string) (with []byte, ok bool) {
	n, at := len(s), len(b)
	b = extend(b, n+len(`""`))
	p := b[at:]
	switch {
	case n >= 8:
		first, last := word(s), word(s[n-8:])
		if unplain(first)|unplain(last) != 0 {
			return b[:at], false
		}
		binary.LittleEndian.PutUint64(p[1:], first)
		binary.LittleEndian.PutUint64(p[n-7:], last)
	case n >= 4:
		w := halves(s)
		if unplain(w) != 0 {
			return b[:at], false
		}
		binary.LittleEndian.PutUint32(p[1:], uint32(w))
		binary.LittleEndian.PutUint32(p[n-3:], uint32(w>>32))
	case n > 0:
		const blanks = 0x2020200000002020 // where ends puts nothing
		if unplain(ends(s)|blanks) != 0 {
			return b[:at], false
		}
		p[1], p[1+n/2], p[n] = s[0], s[n/2], s[n-1]
	}
	p[0], p[n+1] = '"', '"'
	return b, true
}

// appendText is appendString, quicker for what most texts are.
func appendText(b []byte, s string) []byte {
	n, at := len(s), len(b)
	if n <= maxShort {
		if b, ok := appendShort(b, s); ok {
			return b
		}
		return appendString(b, s)
	}
	b = extend(b, n+len(`""`))
	p := b[at:]
	for i := 0; i < n; {
		w := word(s[i:])
		if unplain(w) != 0 {
			p[0] = '"'
			return append(appendEscaped(b[:at+1+i], s[i:]), '"')
		}
		binary.LittleEndian.PutUint64(p[i+1:], w)
		if i += 8; i > n-8 && i < n { // the last eight, some for the second time
			i = n - 8
		}
	}
	p[0], p[n+1] = '"', '"'
	return b
}

// maxDigits8 is the first number that digits8 cannot do.
const maxDigits8 = 1e8

// powers are those of ten.
var powers = [...]uint64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// appendDigits8 appends n, which is below maxDigits8. How many digits there are
// is not read off them: what comes next in the buffer would wait for that.
func appendDigits8(b []byte, n uint64) []byte {
	if n < 10 { // as most counts are
		return append(b, byte('0'+n))
	}
	count := bits.Len64(n) * 1233 >> 12 // the logarithm, to base 10
	if n >= powers[count] {
		count++
	}
	at := len(b)
	b = extend(b, 8)
	binary.LittleEndian.PutUint64(b[at:], digits8(n)>>(8*(8-count)))
	return b[:at+count]
}

// A calendar remembers the last day it wrote: most times in records are of
// one, and the date costs more than the rest.
type calendar struct {
	day  int64 // since 1970
	date [len(`"2006-01-02T`)]byte
}

const daySeconds = 24 * 60 * 60

// inUTC reports whether t's zone is UTC, or looks like it at that time.
func inUTC(t time.Time) bool {
	if t.Location() == time.UTC { // spares the look-up, half the cost of a time
		return true
	}
	_, offset := t.Zone()
	return offset == 0
}

// append appends t as RFC 3339 in its own zone. Years beyond 9999, which
// RFC 3339 has not, are written in full.
func (c *calendar) append(b []byte, t time.Time) []byte {
	const (
		minUnix = -62167219200 // year 0
		maxUnix = 253402300799 // year 9999
	)
	unix := t.Unix()
	if !inUTC(t) || unix < minUnix || unix > maxUnix {
		b = append(b, '"')
		b = t.AppendFormat(b, time.RFC3339Nano)
		return append(b, '"')
	}
	day := (unix-minUnix)/daySeconds + minUnix/daySeconds
	if c.day != day || c.date[0] == 0 {
		c.day = day
		t.UTC().AppendFormat(c.date[:0], `"2006-01-02T`)
	}
	at := len(b)
	b = extend(b, len(`"2006-01-02T15:04:05.999999999Z"`))
	p := b[at:]
	copy(p, c.date[:])
	second := uint64(unix - day*daySeconds)
	x := digits8(second/3600*10000 + second/60%60*100 + second%60)
	p[12], p[13] = byte(x>>16), byte(x>>24)
	p[14], p[15], p[16] = ':', byte(x>>32), byte(x>>40)
	p[17], p[18], p[19] = ':', byte(x>>48), byte(x>>56)
	end := 20
	if n := uint64(t.Nanosecond()); n != 0 {
		p[20] = '.'
		binary.LittleEndian.PutUint64(p[21:], digits8(n/10))
		p[29] = byte('0' + n%10)
		for end = 30; p[end-1] == '0'; end-- {
		}
	}
	p[end], p[end+1] = 'Z', '"'
	return b[:at+end+2]
}
