package logging

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kumihimo/kumihimo/internal/redact"
)

const (
	// A shape has at most maxShapeKeys keys. They and its message have at most
	// maxShapeText bytes each.
	maxShapeKeys = 64
	maxShapeText = 128

	// maxShapes is how many shapes a call site is tried with: one that logs what
	// it is handed has any number of them.
	maxShapes = 4
)

// A shape is what the records of a call site have in common: the message and
// the keys in their order are literals, as a rule. It is immutable, and its
// texts are its own: what a record is of may lie in a buffer that is used again,
// and a key remembered by its address would then stand for another's value.
type shape struct {
	message string
	member  []byte // message, as the member; nil: it is too long
	keys    []key  // those in groups among them
}

// A key is an attribute's.
type key struct {
	name  string
	text  string             // in quotes, and a colon; "" if more is to be known: it is reserved, or a secret's
	short [maxShortText]byte // text, if there is room
	hash  uint64
}

// maxShortText is the length of what is copied in three words.
const maxShortText = 24

func newKey(red *redact.Redactor, name string) key {
	k := key{name: strings.Clone(name)}
	if name != "" && !reserved(name) && !red.Key(name) {
		text, _, hash := appendKey(nil, false, name)
		k.text, k.hash = string(text), hash
		copy(k.short[:], text)
	}
	return k
}

// shapes is the shape of a call site, once it is known.
type shapes struct {
	current atomic.Pointer[shape]
	tried   atomic.Int32
}

// A reader compares a record with the shape of its call site, and makes the
// shape if there is none.
type reader struct {
	shape *shape // nil: there is none, or the record differs from it
	read  int    // of its keys

	differs  bool
	learning bool
	learned  []key
	full     bool
}

// begin is called before the first key.
func (r *reader) begin(s *callSite) {
	r.shape, r.read = s.shapes.current.Load(), 0
	r.differs, r.learning = false, r.shape == nil
}

// next returns the key that the shape has next, if that is name, or nil.
func (r *reader) next(name string) *key {
	if r.read < len(r.shape.keys) {
		if k := &r.shape.keys[r.read]; k.name == name {
			r.read++
			return k
		}
	}
	r.shape, r.differs = nil, true
	return nil
}

// learn adds a key to the shape, if one is being made. What comes after a key
// that is too long, or too many, is not part of it.
func (r *reader) learn(red *redact.Redactor, name string) {
	if !r.learning || r.full {
		return
	}
	if r.full = len(name) > maxShapeText || len(r.learned) == maxShapeKeys; !r.full {
		r.learned = append(r.learned, newKey(red, name))
	}
}

// end is called after the last key, with the member message of the record.
func (r *reader) end(s *callSite, message string, member []byte) {
	switch {
	case r.learning:
		made := &shape{keys: r.learned}
		if len(message) <= maxShapeText {
			made.message, made.member = strings.Clone(message), slices.Clone(member)
		}
		s.shapes.current.Store(made)
		s.shapes.tried.Add(1)
	case r.differs && s.shapes.tried.Load() < maxShapes:
		s.shapes.current.Store(nil) // the next record's may be more usual
	}
	r.shape, r.learning, r.learned, r.full = nil, false, nil, false
}
