package logging

import (
	"log/slog"
	"slices"
)

// bound is what Logger.With and WithGroup made of a handler: bytes that every
// record repeats, and what is needed to let a record's attribute replace one
// of them. It is immutable, and a derived one shares no memory that either
// could write to.
type bound struct {
	buf   []byte // members, and the openings of groups that have some
	depth int    // groups open at the end of buf

	root  table // the members at the root, an open group among them
	inner table // those of the innermost group open; root's if there is none

	opening []byte // of groups without a member so far
	pending int    // their number
	key     int    // the length of the encoded name of the first
	hash    uint64 // of that name

	secret           bool // a group's name is a secret's
	ordinary, access bool // as in line
	failure          error
	labels           int
}

func (b *bound) nested() bool { return b.depth+b.pending > 0 }

// group returns b with one more group.
func (b bound) group(c *core, name string) bound {
	l := c.line()
	defer c.release(l)
	l.buf = append(l.buf, b.opening...)
	buf, key, sum := appendKey(l.buf, !b.nested(), name)
	l.buf = append(buf, '{')
	if b.pending == 0 {
		b.key, b.hash = key, sum
	}
	b.opening = slices.Clone(l.buf)
	b.pending++
	b.secret = b.secret || l.red.Key(name)
	return b
}

// with returns b with attrs in the innermost group.
func (b bound) with(c *core, attrs []slog.Attr) bound {
	l := c.line()
	defer c.release(l)
	l.buf = append(l.buf, b.buf...)
	start := len(l.buf)
	l.buf = append(l.buf, b.opening...)
	sc := scope{root: !b.nested(), secret: b.secret}
	if b.pending == 0 {
		sc.adopt(0, &b.inner, 0)
	}
	for i := range attrs {
		l.appendAttr(&sc, &attrs[i])
	}
	if b.pending > 0 {
		if len(l.buf) == start+len(b.opening) {
			return b
		}
		outer := scope{first: len(l.members)}
		if b.depth == 0 {
			outer.adopt(0, &b.root, 0)
			l.claim(&b, &outer, start, 0)
			l.list(&outer)
			b.root = table{slices.Clone(l.members[outer.first:]), outer.seen}
			l.members = l.members[:outer.first]
		} else {
			l.claim(&b, &outer, start, 0)
		}
	}
	b.buf, b.inner = l.keep(&sc)
	b.depth += b.pending
	b.opening, b.pending, b.key, b.hash = nil, 0, 0, 0
	if b.depth == 0 {
		b.root = b.inner
	}
	b.ordinary = b.ordinary || l.ordinary
	b.access = b.access || l.access
	b.labels += l.labels
	if l.failure != nil {
		b.failure = l.failure
	}
	return b
}

// keep returns copies of the line and of the table of sc, its only open scope.
func (l *line) keep(sc *scope) ([]byte, table) {
	l.list(sc)
	return slices.Clone(l.buf), table{slices.Clone(l.members[sc.first:]), sc.seen}
}

// override appends the preformatted buf, with t for its members, and cuts
// those members of sc that it replaces. It returns where buf begins.
func (l *line) override(sc *scope, t *table, buf []byte) (base int) {
	base = len(l.buf)
	if len(buf) == 0 {
		return base
	}
	l.buf = append(l.buf, buf...)
	if sc.seen.meets(&t.seen) {
		for _, m := range t.members {
			if i := l.find(sc, m.hash, l.buf[base+m.start:base+m.start+m.key]); i >= 0 {
				gone := l.members[i]
				l.cut(i)
				base -= gone.end - gone.start
			}
		}
	}
	sc.adopt(1, t, base)
	return base
}

// claim lists the first group of b.opening, which begins at start and turned
// out to have members, in the scope that it lies in: root, or the innermost
// group of b.buf, which begins at base. A member of its name is cut.
func (l *line) claim(b *bound, root *scope, start, base int) {
	if b.depth == 0 {
		l.add(root, start, b.key, b.hash)
		return
	}
	outer := scope{first: len(l.members)}
	outer.adopt(0, &b.inner, base)
	l.add(&outer, start, b.key, b.hash)
	l.members = l.members[:outer.first]
}
