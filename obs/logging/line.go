package logging

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// A line is a record, or a part of one, on its way to bytes. It grows at the
// end; a member whose key appears again is cut out.
//
// In both forms a member ends in a separator (a comma, a blank), so that it
// can be cut without regard to its neighbours; who closes the object or the
// line replaces the last.
type line struct {
	red     *redact.Redactor
	buf     []byte
	members []member // of the open scopes, innermost last

	// What the members of the root were, for the fields that depend on it.
	failure  error // the first error among them
	ordinary bool  // one is no special field of Cloud Logging
	access   bool  // one is an httpRequest

	any   encoder
	stack []byte
}

func (l *line) reset() {
	l.buf = l.buf[:0]
	l.members = l.members[:0]
	l.failure, l.ordinary, l.access = nil, false, false
	if l.any.buf.Cap() > maxPooled {
		l.any = encoder{}
	}
}

// An encoder is encoding/json's, which serves for what has no kind of slog's.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder // to buf, does not escape HTML
}

// encode returns v as compact JSON, valid until the next call.
func (e *encoder) encode(v any) ([]byte, error) {
	if e.json == nil {
		e.json = json.NewEncoder(&e.buf)
		e.json.SetEscapeHTML(false)
	}
	e.buf.Reset()
	if err := marshal(v, func() error { return e.json.Encode(v) }); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(e.buf.Bytes(), []byte("\n")), nil
}

// A member is a key and its value in a line's buffer.
type member struct {
	hash       uint64 // of the key as it is encoded: two keys that print alike are one
	start, end int
	key        int // length of the encoded key, which stands at start
}

// A scope is an object, or a text line, to which members are added.
type scope struct {
	first  int    // index in line.members of the first that is listed
	seen   uint64 // a Bloom filter of all keys' hashes
	unread [2]run // members that stand in the buffer but are not listed yet
	depth  int    // of groups within a value
	root   bool
	secret bool   // lies in a group whose name is a secret's
	prefix string // of keys; text only
}

// A run is a preformatted sequence of members, which begins at base of the
// buffer.
type run struct {
	table
	base int
}

// A table lists members of a preformatted part of a line, with offsets from
// that part's start.
type table struct {
	members []member
	seen    uint64
}

// adopt makes what t lists, whose part begins at base, members of sc.
func (sc *scope) adopt(i int, t table, base int) {
	sc.unread[i] = run{t, base}
	sc.seen |= t.seen
}

// add lists the member that begins at start, and cuts the one it replaces.
func (l *line) add(sc *scope, start, key int) {
	m := member{hash: hash(l.buf[start : start+key]), start: start, end: len(l.buf), key: key}
	bit := uint64(1) << (m.hash & 63)
	if sc.seen&bit == 0 {
		sc.seen |= bit
		l.members = append(l.members, m)
		return
	}
	old := l.find(sc, m.hash, l.buf[start:start+key])
	l.members = append(l.members, m)
	if old >= 0 {
		l.cut(old)
	}
}

// find returns the index in l.members of sc's member of that encoded key, or
// -1. No scope within sc may be open.
func (l *line) find(sc *scope, hash uint64, key []byte) int {
	if sc.seen&(1<<(hash&63)) == 0 {
		return -1
	}
	l.list(sc)
	for i := sc.first; i < len(l.members); i++ {
		m := &l.members[i]
		if m.hash == hash && bytes.Equal(l.buf[m.start:m.start+m.key], key) {
			return i
		}
	}
	return -1
}

// list lists what sc adopted. It is put off until a key is met that may be
// among it, which most records never do.
func (l *line) list(sc *scope) {
	for i := range sc.unread {
		r := &sc.unread[i]
		for _, m := range r.members {
			m.start += r.base
			m.end += r.base
			l.members = append(l.members, m)
		}
		*r = run{}
	}
}

// cut removes the i-th listed member from the buffer.
func (l *line) cut(i int) {
	gone := l.members[i]
	n := gone.end - gone.start
	l.buf = append(l.buf[:gone.start], l.buf[gone.end:]...)
	l.members = append(l.members[:i], l.members[i+1:]...)
	for j := range l.members {
		m := &l.members[j]
		if m.start > gone.start {
			m.start -= n
			m.end -= n
		}
	}
}

// hash mixes the length of key with its first and last bytes. Keys that agree
// in these, a rarity, are compared.
func hash(key []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	n := len(key)
	h := uint64(n)
	switch {
	case n >= 8:
		h ^= binary.LittleEndian.Uint64(key)*odd ^ binary.LittleEndian.Uint64(key[n-8:])
	case n >= 4:
		h ^= uint64(binary.LittleEndian.Uint32(key))<<32 | uint64(binary.LittleEndian.Uint32(key[n-4:]))
	case n > 0:
		h ^= uint64(key[0])<<32 | uint64(key[n/2])<<24 | uint64(key[n-1])<<16
	}
	h *= odd
	return h ^ h>>32
}
