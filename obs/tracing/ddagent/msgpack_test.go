package ddagent

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// decode reads one msgpack value, strictly: all bytes are used, and no map has
// a key twice.
func decode(b []byte) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("msgpack: %v", p)
		}
	}()
	d := &decoder{b}
	v = d.value()
	if len(d.b) > 0 {
		return nil, fmt.Errorf("msgpack: %d bytes left", len(d.b))
	}
	return v, nil
}

func mustDecode(t *testing.T, b []byte) any {
	t.Helper()
	v, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type decoder struct{ b []byte }

func (d *decoder) take(n int) []byte {
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uint(n int) uint64 {
	var buf [8]byte
	copy(buf[8-n:], d.take(n))
	return binary.BigEndian.Uint64(buf[:])
}

func (d *decoder) value() any {
	switch c := d.take(1)[0]; {
	case c < 0x80:
		return uint64(c)
	case c < 0x90:
		return d.object(int(c & 0xf))
	case c < 0xa0:
		return d.array(int(c & 0xf))
	case c < 0xc0:
		return string(d.take(int(c & 0x1f)))
	case c == 0xc2, c == 0xc3:
		return c == 0xc3
	case c == 0xc4:
		return fmt.Sprintf("%x", d.take(int(d.uint(1))))
	case c == 0xcb:
		return math.Float64frombits(d.uint(8))
	case c >= 0xcc && c <= 0xcf:
		return d.uint(1 << (c - 0xcc))
	case c >= 0xd0 && c <= 0xd3:
		n := 1 << (c - 0xd0)
		return int64(d.uint(n)<<(64-8*n)) >> (64 - 8*n)
	case c >= 0xd9 && c <= 0xdb:
		return string(d.take(int(d.uint(1 << (c - 0xd9)))))
	case c == 0xdc, c == 0xdd:
		return d.array(int(d.uint(2 << (c - 0xdc))))
	case c == 0xde, c == 0xdf:
		return d.object(int(d.uint(2 << (c - 0xde))))
	case c >= 0xe0:
		return int64(int8(c))
	default:
		panic(fmt.Sprintf("byte %#x", c))
	}
}

func (d *decoder) array(n int) any {
	list := make([]any, 0, min(n, len(d.b)))
	for range n {
		list = append(list, d.value())
	}
	return list
}

func (d *decoder) object(n int) any {
	m := make(map[string]any)
	for range n {
		key := fmt.Sprint(d.value())
		if _, twice := m[key]; twice {
			panic("key twice: " + key)
		}
		m[key] = d.value()
	}
	return m
}
