package msgpack

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Reader reads values from a slice. Its first error sticks: from then on
// every method returns a zero value and reads nothing, so a decoder may look
// at Err once in a while. No count it returns is greater than what the rest of
// the input can hold, and its strings and bytes are no longer than the input.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader returns a Reader of b, which must not change while it is read.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Kind is the type of a value.
type Kind uint8

// The kinds, of which Invalid is also what comes after the end and an error.
const (
	Invalid Kind = iota
	Nil
	Bool
	Uint
	Int
	Float
	String
	Bytes
	Array
	Map
	Extension
)

// Err returns the first error, which says where in the input it happened.
func (r *Reader) Err() error { return r.err }

// More reports whether anything is left to read.
func (r *Reader) More() bool { return r.err == nil && r.off < len(r.b) }

// Fail makes reason the error, unless there is one already: for decoders that
// refuse what is well-formed.
func (r *Reader) Fail(reason string) {
	if r.err == nil {
		r.err = fmt.Errorf("msgpack: at byte %d of %d: %s", r.off, len(r.b), reason)
	}
}

// Kind returns the kind of the next value and leaves it where it is.
func (r *Reader) Kind() Kind {
	if !r.More() {
		return Invalid
	}
	switch c := r.b[r.off]; {
	case c < 0x80, 0xcc <= c && c <= 0xcf:
		return Uint
	case c < 0x90, c == 0xde, c == 0xdf:
		return Map
	case c < 0xa0, c == 0xdc, c == 0xdd:
		return Array
	case c < 0xc0, 0xd9 <= c && c <= 0xdb:
		return String
	case c == 0xc0:
		return Nil
	case c == 0xc2, c == 0xc3:
		return Bool
	case 0xc4 <= c && c <= 0xc6:
		return Bytes
	case c == 0xca, c == 0xcb:
		return Float
	case 0xd0 <= c && c <= 0xd3, c >= 0xe0:
		return Int
	case c == 0xc1:
		return Invalid // never used, says the specification
	}
	return Extension
}

// want reads the first byte of a value of the given kind.
func (r *Reader) want(k Kind, name string) (byte, bool) {
	if r.err != nil {
		return 0, false
	}
	if r.off >= len(r.b) {
		r.Fail("the end, want " + name)
		return 0, false
	}
	if r.Kind() != k {
		r.Fail(fmt.Sprintf("0x%02x, want %s", r.b[r.off], name))
		return 0, false
	}
	r.off++
	return r.b[r.off-1], true
}

// take reads n bytes.
func (r *Reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.off) {
		r.Fail(fmt.Sprintf("%d bytes announced, %d left", n, len(r.b)-r.off))
		return nil
	}
	p := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return p
}

// number reads a big-endian number of width bytes.
func (r *Reader) number(width int) uint64 {
	p := r.take(uint64(width))
	switch len(p) {
	case 1:
		return uint64(p[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(p))
	case 4:
		return uint64(binary.BigEndian.Uint32(p))
	case 8:
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// count reads a number of elements of at least size bytes each.
func (r *Reader) count(n uint64, size int) int {
	if r.err == nil && n > uint64((len(r.b)-r.off)/size) {
		r.Fail(fmt.Sprintf("%d elements announced, %d bytes left", n, len(r.b)-r.off))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// MapHeader returns the number of pairs that follow.
func (r *Reader) MapHeader() int {
	c, ok := r.want(Map, "a map")
	switch {
	case !ok:
		return 0
	case c == 0xde:
		return r.count(r.number(2), 2)
	case c == 0xdf:
		return r.count(r.number(4), 2)
	}
	return r.count(uint64(c&0x0f), 2)
}

// ArrayHeader returns the number of elements that follow.
func (r *Reader) ArrayHeader() int {
	c, ok := r.want(Array, "an array")
	switch {
	case !ok:
		return 0
	case c == 0xdc:
		return r.count(r.number(2), 1)
	case c == 0xdd:
		return r.count(r.number(4), 1)
	}
	return r.count(uint64(c&0x0f), 1)
}

// Text reads a str, or a bin, which writers of the old specification use for
// the same. Its bytes need not be UTF-8.
func (r *Reader) Text() string {
	if r.Kind() == Bytes {
		return string(r.Bytes())
	}
	c, ok := r.want(String, "a string")
	switch {
	case !ok:
		return ""
	case c >= 0xd9 && c <= 0xdb:
		return string(r.take(r.number(1 << (c - 0xd9))))
	}
	return string(r.take(uint64(c & 0x1f)))
}

// Bytes reads a bin. The slice is the input's own.
func (r *Reader) Bytes() []byte {
	c, ok := r.want(Bytes, "bytes")
	if !ok {
		return nil
	}
	return r.take(r.number(1 << (c - 0xc4)))
}

// Uint reads an integer that is not negative, of any width and form.
func (r *Reader) Uint() uint64 {
	if r.Kind() == Int {
		v := r.Int()
		if v < 0 {
			r.Fail("a negative number before this, want none")
			return 0
		}
		return uint64(v)
	}
	c, ok := r.want(Uint, "an integer")
	switch {
	case !ok:
		return 0
	case c >= 0xcc:
		return r.number(1 << (c - 0xcc))
	}
	return uint64(c)
}

// Int reads an integer of any width and form.
func (r *Reader) Int() int64 {
	if r.Kind() == Uint {
		v := r.Uint()
		if v > math.MaxInt64 {
			r.Fail("a number beyond 64 signed bits before this")
			return 0
		}
		return int64(v)
	}
	c, ok := r.want(Int, "an integer")
	if !ok {
		return 0
	}
	switch c {
	case 0xd0:
		return int64(int8(r.number(1)))
	case 0xd1:
		return int64(int16(r.number(2)))
	case 0xd2:
		return int64(int32(r.number(4)))
	case 0xd3:
		return int64(r.number(8))
	}
	return int64(int8(c))
}

// Float reads a float of 32 or 64 bits.
func (r *Reader) Float() float64 {
	c, ok := r.want(Float, "a float")
	switch {
	case !ok:
		return 0
	case c == 0xca:
		return float64(math.Float32frombits(uint32(r.number(4))))
	}
	return math.Float64frombits(r.number(8))
}

// Bool reads a boolean.
func (r *Reader) Bool() bool {
	c, ok := r.want(Bool, "a boolean")
	return ok && c == 0xc3
}

// Nil reads a nil if one is next, and reports whether it was.
func (r *Reader) Nil() bool {
	if r.Kind() != Nil {
		return false
	}
	r.off++
	return true
}

// maxDepth is the number of maps and arrays within each other that Skip goes
// down: far beyond any protocol's, and little stack.
const maxDepth = 64

// Skip reads one value of any kind, with all that it holds.
func (r *Reader) Skip() { r.skip(maxDepth) }

func (r *Reader) skip(depth int) {
	if depth == 0 {
		r.Fail(fmt.Sprintf("more than %d values within each other", maxDepth))
	}
	if r.err != nil {
		return
	}
	switch r.Kind() {
	case Nil:
		r.Nil()
	case Bool:
		r.Bool()
	case Uint:
		r.Uint()
	case Int:
		r.Int()
	case Float:
		r.Float()
	case String:
		r.skipString()
	case Bytes:
		r.Bytes()
	case Array:
		for n := r.ArrayHeader(); n > 0 && r.err == nil; n-- {
			r.skip(depth - 1)
		}
	case Map:
		for n := 2 * r.MapHeader(); n > 0 && r.err == nil; n-- {
			r.skip(depth - 1)
		}
	case Extension:
		r.skipExtension()
	default:
		r.Fail("the end or an unused code, want a value")
	}
}

// skipString spares Text's copy.
func (r *Reader) skipString() {
	c := r.b[r.off]
	r.off++
	if c >= 0xd9 && c <= 0xdb {
		r.take(r.number(1 << (c - 0xd9)))
		return
	}
	r.take(uint64(c & 0x1f))
}

// skipExtension reads a type and the data, whose length is in the code for 1,
// 2, 4, 8 and 16 bytes.
func (r *Reader) skipExtension() {
	c := r.b[r.off]
	r.off++
	if c >= 0xd4 {
		r.take(1 + 1<<(c-0xd4))
		return
	}
	n := r.number(1 << (c - 0xc7))
	r.take(n + 1)
}
