package ddagent

import (
	"hash/maphash"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// stringTable numbers the strings of one v1.0 payload: a string goes out in
// full where it first stands, afterwards as its number. The agent counts along
// and takes a string it has seen for the one it has, so every string must be
// remembered, however rare. It is a hash table of its own making because a
// span looks up some 30 strings: 8 ns each here, 20 in a Go map, and no
// allocation from one payload to the next.
type stringTable struct {
	seed  maphash.Seed
	slots []slot   // open addressing; the length is a power of two
	strs  []string // by number; 0 is ""
}

// slot is free if its number is 0.
type slot struct{ hash, number uint32 }

const (
	minSlots = 1 << 10
	maxSlots = 1 << 16 // of which what is kept between payloads: 512 KiB, and 1 MiB of strs
)

// reset forgets all strings, and with them the memory they lie in.
func (t *stringTable) reset() {
	if len(t.slots) == 0 || len(t.slots) > maxSlots {
		t.seed, t.slots, t.strs = maphash.MakeSeed(), make([]slot, minSlots), nil
	}
	clear(t.slots)
	clear(t.strs)
	t.strs = append(t.strs[:0], "")
}

// append appends s or its number.
func (t *stringTable) append(b []byte, s string) []byte {
	b, _ = t.put(b, s)
	return b
}

// put is append, and returns the number that s has from now on.
func (t *stringTable) put(b []byte, s string) (out []byte, number uint32) {
	if s == "" {
		return append(b, 0), 0
	}
	h := uint32(maphash.String(t.seed, s))
	for i := h; ; i++ {
		at := &t.slots[i&uint32(len(t.slots)-1)]
		if at.number == 0 {
			return msgpack.AppendString(b, s), t.add(at, h, s)
		}
		if at.hash == h && t.strs[at.number] == s {
			return msgpack.AppendUint(b, uint64(at.number)), at.number
		}
	}
}

// memo remembers the string that last stood in one place of a payload, a field
// or the value of a key, and its number: what stands there next is mostly the
// same, and to compare it costs a fifth of looking it up.
type memo struct {
	s      string
	number uint32 // 0: none yet
}

// again is append for the place that m is of.
func (t *stringTable) again(b []byte, m *memo, s string) []byte {
	if m.number != 0 && m.s == s {
		return msgpack.AppendUint(b, uint64(m.number))
	}
	m.s = s
	b, m.number = t.put(b, s)
	return b
}

// keyUse is how a payload has an attribute's key.
type keyUse struct {
	number uint32 // in the string table; 0: not yet
	value  memo
}

// The places whose strings hardly change from span to span.
const (
	placeChunkKey = iota
	placeChunkService
	placeService
	placeName
	placeResource
	placeType
	placePid
	placeTopLevel
	places // how many there are
)

// appendBytes is append for a string that lies in a buffer.
func (t *stringTable) appendBytes(b, s []byte) []byte {
	h := uint32(maphash.Bytes(t.seed, s))
	for i := h; len(s) > 0; i++ {
		at := &t.slots[i&uint32(len(t.slots)-1)]
		if at.number == 0 {
			break
		}
		if at.hash == h && t.strs[at.number] == string(s) {
			return msgpack.AppendUint(b, uint64(at.number))
		}
	}
	return t.append(b, string(s))
}

func (t *stringTable) add(at *slot, h uint32, s string) (number uint32) {
	number = uint32(len(t.strs))
	*at = slot{h, number}
	t.strs = append(t.strs, s)
	if len(t.strs)*2 > len(t.slots) {
		t.grow()
	}
	return number
}

func (t *stringTable) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		i := s.hash
		for t.slots[i&uint32(len(t.slots)-1)].number != 0 {
			i++
		}
		t.slots[i&uint32(len(t.slots)-1)] = s
	}
}
