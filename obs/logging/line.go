package logging

import (
	"bytes"
	"encoding/json"
	"slices"

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
	reader  reader

	// What the members of the root were, for the fields that depend on it.
	failure  error // the first error among them
	ordinary bool  // one is no special field of Cloud Logging
	access   bool  // one is an httpRequest
	labels   int   // so many are labels, which are not listed; one more if they are too many

	// Of the text form, for a record's own attributes.
	record bool         // they are being added
	shown  *HTTPRequest // stands in the message's place
	frames string       // are to follow on lines of their own

	any     encoder
	textOf  func(error) string // errorText
	stack   []byte
	scratch []byte // a copy of buf, to rewrite it
	clock   clock
	days    calendar // of attributes' times
	ids     spanText
}

func (l *line) reset() {
	l.buf = l.buf[:0]
	l.members = l.members[:0]
	l.failure, l.ordinary, l.access, l.labels = nil, false, false, 0
	l.record, l.shown, l.frames = false, nil, ""
	l.reader.shape, l.reader.learning, l.reader.differs = nil, false, false
	if cap(l.scratch) > maxPooled {
		l.scratch = nil
	}
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
	hash       uint64 // of the key as it is encoded, less quotes: two keys that print alike are one
	start, end int
	key        int // length of the encoded key, which stands at start
}

// A scope is an object, or a text line, to which members are added.
type scope struct {
	first  int    // index in line.members of the first that is listed
	seen   bloom  // of all keys' hashes
	unread [2]run // members that stand in the buffer but are not listed yet
	depth  int    // of groups within a value
	root   bool
	secret bool   // lies in a group whose name is a secret's
	prefix string // of keys; text only
}

// A run is a preformatted sequence of members, which begins at base of the
// buffer.
type run struct {
	*table
	base int
}

// A table lists members of a preformatted part of a line, with offsets from
// that part's start.
type table struct {
	members []member
	seen    bloom
}

// A bloom is a filter of hashes, wide enough that the keys of most records,
// 10 to 20, do not meet in it.
type bloom [4]uint64

func (f *bloom) has(hash uint64) bool { return f[hash>>6&3]&(1<<(hash&63)) != 0 }
func (f *bloom) add(hash uint64)      { f[hash>>6&3] |= 1 << (hash & 63) }

func (f *bloom) addAll(o *bloom) {
	for i := range f {
		f[i] |= o[i]
	}
}

// meets reports whether both may have a hash.
func (f *bloom) meets(o *bloom) bool {
	return f[0]&o[0]|f[1]&o[1]|f[2]&o[2]|f[3]&o[3] != 0
}

// adopt makes what t lists, whose part begins at base, members of sc.
func (sc *scope) adopt(i int, t *table, base int) {
	sc.unread[i] = run{t, base}
	sc.seen.addAll(&t.seen)
}

// add lists the member that begins at start, with the key it is hashed by,
// and cuts the one it replaces.
func (l *line) add(sc *scope, start, key int, hash uint64) {
	old := -1
	if !sc.seen.has(hash) {
		sc.seen.add(hash)
	} else {
		old = l.find(sc, hash, l.buf[start:start+key])
	}
	n := len(l.members)
	if n == cap(l.members) {
		l.members = slices.Grow(l.members, 1)
	}
	l.members = l.members[:n+1]
	m := &l.members[n] // in place: a literal is built elsewhere and copied
	m.hash, m.start, m.end, m.key = hash, start, len(l.buf), key
	if old >= 0 {
		l.cut(old)
	}
}

// find returns the index in l.members of sc's member of that encoded key, or
// -1. No scope within sc may be open.
func (l *line) find(sc *scope, hash uint64, key []byte) int {
	if !sc.seen.has(hash) {
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
		if r.table == nil {
			continue
		}
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
func hash[T string | []byte](key T) uint64 {
	n := len(key)
	switch {
	case n >= 8:
		return mix(n, word(key), word(key[n-8:]))
	case n >= 4:
		return mix(n, 0, halves(key))
	case n > 0:
		return mix(n, 0, ends(key))
	}
	return 0
}

func mix(n int, first, last uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	h := (uint64(n) ^ first*odd ^ last) * odd
	return h ^ h>>32
}

// ends is the first, the middle and the last byte of s as one number.
func ends[T string | []byte](s T) uint64 {
	n := len(s)
	return uint64(s[0])<<32 | uint64(s[n/2])<<24 | uint64(s[n-1])<<16
}

// word is the first eight bytes of s as one number.
func word[T string | []byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// halves is the first four and the last four bytes of s as one number.
func halves[T string | []byte](s T) uint64 {
	t := s[len(s)-4:]
	_, _ = s[3], t[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(t[0])<<32 | uint64(t[1])<<40 | uint64(t[2])<<48 | uint64(t[3])<<56
}
