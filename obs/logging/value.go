package logging

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"strconv"
)

// maxDepth bounds groups within groups, which a LogValuer can make without
// end.
const maxDepth = 16

// appendAttr adds a to sc as JSON. This is the way of what the shape of the
// call site foresees; all else goes by appendNew.
func (l *line) appendAttr(sc *scope, a *slog.Attr) {
	if l.reader.shape == nil {
		l.reader.learn(l.red, a.Key)
		l.appendNew(sc, a)
		return
	}
	k := l.reader.next(a.Key)
	kind := a.Value.Kind()
	switch {
	case k == nil || k.text == "" || kind == slog.KindLogValuer || sc.secret:
		l.appendNew(sc, a)
		return
	case kind == slog.KindGroup:
		l.appendGroup(sc, a.Key, k, a.Value.Group())
		return
	}
	// One store to l.buf a member: it is on the heap, and while the collector
	// runs each costs as much as a short value.
	start := len(l.buf)
	b := l.buf
	if len(k.text) <= maxShortText {
		b = extend(b, maxShortText)
		*(*[maxShortText]byte)(b[start:]) = k.short
		b = b[:start+len(k.text)]
	} else {
		b = append(b, k.text...)
	}
	switch kind {
	case slog.KindInt64:
		b = appendInt(b, a.Value.Int64())
	case slog.KindString:
		b = appendText(b, a.Value.String())
	case slog.KindDuration:
		b = appendInt(b, int64(a.Value.Duration()))
	case slog.KindTime:
		b = l.days.append(b, a.Value.Time())
	case slog.KindAny:
		l.buf = b
		l.appendAny(sc, a.Value.Any())
		b = l.buf
	default:
		b = l.appendScalar(b, a.Value, kind)
	}
	l.buf = append(b, ',')
	l.add(sc, start, len(k.text)-len(`:`), k.hash)
	l.ordinary = true
}

// appendNew is appendAttr for an attribute of which nothing is known.
func (l *line) appendNew(sc *scope, a *slog.Attr) {
	v, kind := a.Value, a.Value.Kind()
	if kind == slog.KindLogValuer {
		if r := requestOf(v); r != nil {
			l.appendRequest(sc, a.Key, r)
			return
		}
		v = resolve(v)
		kind = v.Kind()
	}
	if sc.root && len(a.Key) > len(googlePrefix) && a.Key[0] == googlePrefix[0] && l.appendSpecial(sc, a.Key, v, kind) {
		return
	}
	if kind == slog.KindGroup {
		l.appendGroup(sc, a.Key, nil, v.Group())
		return
	}
	if a.Key == "" && kind == slog.KindAny && v.Any() == nil {
		return // the empty Attr
	}
	start := len(l.buf)
	b, key, sum := appendKey(l.buf, sc.root, a.Key)
	switch {
	case l.secret(sc, a.Key, kind):
		b = append(b, placeholder...)
	case kind == slog.KindString:
		b = appendText(b, v.String())
	case kind == slog.KindAny:
		l.buf = b
		l.appendAny(sc, v.Any())
		b = l.buf
	default:
		b = l.appendScalar(b, v, kind)
	}
	l.buf = append(b, ',')
	l.add(sc, start, key, sum)
	l.ordinary = true
}

// appendKey returns b with the key, how long that is without the colon, and
// its hash.
func appendKey(b []byte, root bool, key string) (with []byte, size int, sum uint64) {
	if !root || !reserved(key) {
		if plain(key) == len(key) {
			b = append(b, '"')
			b = append(b, key...)
			return append(b, '"', ':'), len(key) + len(`""`), hash(key)
		}
	}
	start := len(b)
	b = append(b, '"')
	if root && reserved(key) {
		b = append(b, '_')
	}
	b = appendEscaped(b, key)
	b = append(b, '"', ':')
	size = len(b) - 1 - start
	return b, size, hash(b[start+1 : start+size-1])
}

// secret reports whether a value must not be shown. What counts or switches
// is none.
func (l *line) secret(sc *scope, key string, kind slog.Kind) bool {
	switch kind {
	case slog.KindString, slog.KindAny:
		return sc.secret || l.red.Key(key)
	}
	return false
}

// appendGroup adds a group. Its key is known, or nil.
func (l *line) appendGroup(sc *scope, name string, known *key, attrs []slog.Attr) {
	if len(attrs) == 0 {
		return
	}
	if sc.depth == maxDepth {
		if name == "" {
			name = "!ERROR"
		}
		note := slog.String(name, "!ERROR: group too deep")
		l.appendNew(sc, &note)
		return
	}
	if name == "" { // inline
		sc.depth++
		for i := range attrs {
			l.appendAttr(sc, &attrs[i])
		}
		sc.depth--
		return
	}
	start := len(l.buf)
	var size int
	var sum uint64
	secret := false
	if known != nil {
		l.buf = append(l.buf, known.text...)
		size, sum = len(known.text)-len(`:`), known.hash
	} else {
		l.buf, size, sum = appendKey(l.buf, sc.root, name)
		secret = l.red.Key(name)
	}
	if !l.appendObject(sc, secret, attrs) {
		l.buf = l.buf[:start]
		return
	}
	l.buf = append(l.buf, ',')
	l.add(sc, start, size, sum)
}

// appendObject appends attrs as the object of a key, a secret's or not. It
// reports false, and what it appended is to be dropped, if all of them are
// empty.
func (l *line) appendObject(sc *scope, secret bool, attrs []slog.Attr) bool {
	l.buf = append(l.buf, '{')
	open := len(l.buf)
	inner := scope{first: len(l.members), depth: sc.depth + 1, secret: sc.secret || secret}
	for i := range attrs {
		l.appendAttr(&inner, &attrs[i])
	}
	l.members = l.members[:inner.first]
	if len(l.buf) == open {
		l.buf = append(l.buf, '}')
		return false
	}
	l.buf[len(l.buf)-1] = '}'
	return true
}

// appendScalar appends a value that is neither a group nor an Any.
func (l *line) appendScalar(b []byte, v slog.Value, kind slog.Kind) []byte {
	switch kind {
	case slog.KindString:
		return appendText(b, v.String())
	case slog.KindInt64:
		return appendInt(b, v.Int64())
	case slog.KindUint64:
		return appendUint(b, v.Uint64())
	case slog.KindFloat64:
		return appendFloat(b, v.Float64())
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration: // nanoseconds, as slog's own and Datadog's
		return appendInt(b, int64(v.Duration()))
	default:
		return l.days.append(b, v.Time())
	}
}

func (l *line) appendAny(sc *scope, v any) {
	switch x := v.(type) {
	case nil:
		l.buf = append(l.buf, "null"...)
	case json.Marshaler: // also of errors: it knows best
		l.noteFailure(sc, v)
		l.appendMarshaled(x)
	case error:
		if l.failure == nil && sc.depth == 0 {
			l.failure = x
		}
		l.buf = appendText(l.buf, l.errorText(x))
	case *url.URL:
		l.buf = appendString(l.buf, l.urlText(x))
	default:
		l.appendMarshaled(x)
	}
}

func (l *line) noteFailure(sc *scope, v any) {
	if err, ok := v.(error); ok && l.failure == nil && sc.depth == 0 {
		l.failure = err
	}
}

// urlText prints u without its secrets.
func (l *line) urlText(u *url.URL) string {
	if u == nil {
		return "<nil>"
	}
	return l.red.URL(u.String())
}

// appendMarshaled appends v as encoding/json has it, less the secrets.
func (l *line) appendMarshaled(v any) {
	b, err := l.any.encode(v)
	if err != nil {
		l.buf = appendString(l.buf, failureText(err))
		return
	}
	l.buf = l.red.AppendJSON(l.buf, b, appendNumber)
}
