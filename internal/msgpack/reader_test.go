package msgpack

import (
	"bytes"
	"math"
	"runtime"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, v := range []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, math.MaxUint64} {
		r := NewReader(AppendUint(nil, v))
		if got := r.Uint(); got != v || r.Err() != nil || r.More() {
			t.Errorf("Uint: got %d, want %d; %v", got, v, r.Err())
		}
	}
	for _, v := range []int64{0, -1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1, math.MinInt64, 5, 300, math.MaxInt64} {
		r := NewReader(AppendInt(nil, v))
		if got := r.Int(); got != v || r.Err() != nil || r.More() {
			t.Errorf("Int: got %d, want %d; %v", got, v, r.Err())
		}
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		text := strings.Repeat("x", n)
		b := AppendBytes(AppendString(nil, text), []byte(text))
		r := NewReader(AppendString(b, text))
		if got := r.Text(); got != text {
			t.Errorf("Text: got %d bytes, want %d", len(got), n)
		}
		if got := r.Bytes(); string(got) != text {
			t.Errorf("Bytes: got %d bytes, want %d", len(got), n)
		}
		if r.skipString(); r.Err() != nil || r.More() {
			t.Errorf("%d bytes: %v", n, r.Err())
		}
		array := append(AppendArrayHeader(nil, n), make([]byte, n)...)
		if got := NewReader(array).ArrayHeader(); got != n {
			t.Errorf("ArrayHeader: got %d, want %d", got, n)
		}
		pairs := append(AppendMapHeader(nil, n), make([]byte, 2*n)...)
		if got := NewReader(pairs).MapHeader(); got != n {
			t.Errorf("MapHeader: got %d, want %d", got, n)
		}
		for _, whole := range [][]byte{array, pairs} {
			if r := NewReader(whole); !skipsAll(r) {
				t.Errorf("Skip of %d elements: %v", n, r.Err())
			}
		}
	}
	for _, v := range []float64{0, -1.5, math.Inf(1), math.MaxFloat64} {
		if got := NewReader(AppendFloat64(nil, v)).Float(); got != v {
			t.Errorf("Float: got %v, want %v", got, v)
		}
	}
	r := NewReader(AppendBool(AppendBool(nil, true), false))
	if a, b := r.Bool(), r.Bool(); !a || b || r.Err() != nil {
		t.Errorf("Bool: got %t, %t; %v", a, b, r.Err())
	}
}

func skipsAll(r *Reader) bool {
	r.Skip()
	return r.Err() == nil && !r.More()
}

// TestForms reads what append.go does not write.
func TestForms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		read func(*Reader) bool
	}{
		{"unsigned from a signed form", "\xd0\x05", func(r *Reader) bool { return r.Uint() == 5 }},
		{"signed from a long unsigned form", "\xcf\x00\x00\x00\x00\x00\x00\x00\x05", func(r *Reader) bool { return r.Int() == 5 }},
		{"float of 32 bits", "\xca\x3f\xc0\x00\x00", func(r *Reader) bool { return r.Float() == 1.5 }},
		{"string in a bin", "\xc4\x01a", func(r *Reader) bool { return r.Text() == "a" }},
		{"nil", "\xc0", func(r *Reader) bool { return r.Nil() }},
		{"no nil", "\x01", func(r *Reader) bool { return !r.Nil() && r.Uint() == 1 }},
		{"fixed extension", "\xd6\x01abcd", skipsAll},
		{"extension", "\xc7\x03\x01abc", skipsAll},
		{"long extension", "\xc9\x00\x00\x00\x01\x01a", skipsAll},
		{"nested", "\x82\xa1a\x92\xc0\xc3\xa1b\x81\x01\xcb\x00\x00\x00\x00\x00\x00\x00\x00", skipsAll},
	}
	for _, tt := range tests {
		r := NewReader([]byte(tt.in))
		if !tt.read(r) || r.Err() != nil || r.More() {
			t.Errorf("%s: not read: %v", tt.name, r.Err())
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Kind{
		"": Invalid, "\xc1": Invalid, "\xc0": Nil, "\xc2": Bool, "\x00": Uint, "\x7f": Uint, "\xcf": Uint, "\xe0": Int, "\xff": Int,
		"\xd3": Int, "\xca": Float, "\xa0": String, "\xdb": String, "\xc6": Bytes, "\x90": Array, "\xdd": Array,
		"\x80": Map, "\xdf": Map, "\xc7": Extension, "\xd8": Extension,
	} {
		if got := NewReader([]byte(in)).Kind(); got != want {
			t.Errorf("%x: got %d, want %d", in, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		read func(*Reader)
		want string
	}{
		{"nothing", "", func(r *Reader) { r.Uint() }, "at byte 0 of 0: the end, want an integer"},
		{"another kind", "\xa1a", func(r *Reader) { r.Uint() }, "at byte 0 of 2: 0xa1, want an integer"},
		{"the second value", "\x01\xc3", func(r *Reader) { r.Uint(); r.Text() }, "at byte 1 of 2: 0xc3, want a string"},
		{"cut number", "\xcf\x00", func(r *Reader) { r.Uint() }, "8 bytes announced, 1 left"},
		{"cut string", "\xdb\xff\xff\xff\xffabc", func(r *Reader) { r.Text() }, "4294967295 bytes announced, 3 left"},
		{"cut length", "\xdb\xff", func(r *Reader) { r.Text() }, "4 bytes announced, 1 left"},
		{"too many elements", "\xdd\xff\xff\xff\xff\x00", func(r *Reader) { r.ArrayHeader() }, "4294967295 elements announced, 1 bytes left"},
		{"too many pairs", "\x82\x00\x00\x00", func(r *Reader) { r.MapHeader() }, "2 elements announced, 3 bytes left"},
		{"negative", "\xff", func(r *Reader) { r.Uint() }, "negative"},
		{"too great", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", func(r *Reader) { r.Int() }, "64 signed bits"},
		{"unused code", "\xc1", (*Reader).Skip, "unused code"},
		{"cut array", "\x92\x01", (*Reader).Skip, "2 elements announced"},
		{"cut extension", "\xc9\xff\xff\xff\xff\x01", (*Reader).Skip, "4294967296 bytes announced"},
		{"deep", strings.Repeat("\x91", 1000) + "\xc0", (*Reader).Skip, "more than 64 values"},
		{"a decoder's own", "\x01", func(r *Reader) { r.Fail("odd"); r.Fail("even") }, "at byte 0 of 1: odd"},
	}
	for _, tt := range tests {
		r := NewReader([]byte(tt.in))
		tt.read(r)
		if r.Err() == nil || !strings.Contains(r.Err().Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, r.Err(), tt.want)
		}
		first := r.Err()
		if r.More() || r.Kind() != Invalid || r.MapHeader()+r.ArrayHeader() != 0 || r.Text() != "" || r.Bytes() != nil ||
			r.Uint() != 0 || r.Int() != 0 || r.Float() != 0 || r.Bool() || r.Nil() {
			t.Errorf("%s: something was read after the error", tt.name)
		}
		if r.Skip(); r.Err() != first { //nolint:errorlint // the same error, not one like it
			t.Errorf("%s: the error changed to %v", tt.name, r.Err())
		}
	}
}

// TestClaimsCostNothing reads inputs that announce 4 GiB. It is not parallel:
// it counts the process's memory.
func TestClaimsCostNothing(t *testing.T) {
	for _, in := range []string{"\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		NewReader([]byte(in)).Skip()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%x: %d bytes allocated", in, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x82\xa1a\x92\xc0\xc3\xa1b\x81\x01\xcb\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\xd6\x01abcd\xdf\xff\xff\xff\xff"))
	f.Add([]byte("\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xca\x3f\xc0\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		skipped, copied := NewReader(in), NewReader(in)
		for skipped.More() {
			skipped.Skip()
		}
		var out []byte
		for copied.More() {
			out = appendValue(out, copied, maxDepth)
		}
		if (skipped.Err() == nil) != (copied.Err() == nil) {
			t.Fatalf("Skip: %v, reading: %v", skipped.Err(), copied.Err())
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the input was written to")
		}
		if copied.Err() != nil {
			return
		}
		// What was written again is in the shortest form and reads the same.
		r := NewReader(out)
		var again []byte
		for r.More() {
			again = appendValue(again, r, maxDepth)
		}
		if r.Err() != nil || !bytes.Equal(out, again) {
			t.Fatalf("%x became %x; %v", out, again, r.Err())
		}
	})
}

// appendValue copies one value; extensions become nil.
func appendValue(b []byte, r *Reader, depth int) []byte {
	if depth == 0 {
		r.Fail("too deep")
		return b
	}
	switch r.Kind() {
	case Bool:
		return AppendBool(b, r.Bool())
	case Uint:
		return AppendUint(b, r.Uint())
	case Int:
		return AppendInt(b, r.Int())
	case Float:
		return AppendFloat64(b, r.Float())
	case String:
		return AppendString(b, r.Text())
	case Bytes:
		return AppendBytes(b, r.Bytes())
	case Array:
		n := r.ArrayHeader()
		b = AppendArrayHeader(b, n)
		for ; n > 0 && r.Err() == nil; n-- {
			b = appendValue(b, r, depth-1)
		}
		return b
	case Map:
		n := r.MapHeader()
		b = AppendMapHeader(b, n)
		for n *= 2; n > 0 && r.Err() == nil; n-- {
			b = appendValue(b, r, depth-1)
		}
		return b
	}
	r.Skip()
	return append(b, 0xc0)
}
