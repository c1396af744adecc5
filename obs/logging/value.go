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

// appendAttr adds a to sc as JSON.
func (l *line) appendAttr(sc *scope, a *slog.Attr) {
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
		l.appendGroup(sc, a.Key, v.Group())
		return
	}
	if a.Key == "" && kind == slog.KindAny && v.Any() == nil {
		return // the empty Attr
	}
	start, key, sum := l.appendKey(sc, a.Key)
	if l.secret(sc, a.Key, kind) {
		l.buf = append(l.buf, placeholder...)
	} else {
		l.appendValue(sc, v, kind)
	}
	l.buf = append(l.buf, ',')
	l.add(sc, start, key, sum)
	l.ordinary = true
}

// appendKey returns where the member begins, how long its encoded key is, and
// its hash.
func (l *line) appendKey(sc *scope, key string) (start, size int, sum uint64) {
	start = len(l.buf)
	if sum, ok := sumOf(key); ok && !(sc.root && reserved(key)) {
		b := append(l.buf, '"')
		b = append(b, key...)
		l.buf = append(b, '"', ':')
		return start, len(key) + len(`""`), sum
	}
	l.buf = append(l.buf, '"')
	if sc.root && reserved(key) {
		l.buf = append(l.buf, '_')
	}
	l.buf = appendEscaped(l.buf, key)
	l.buf = append(l.buf, '"', ':')
	size = len(l.buf) - 1 - start
	return start, size, hash(l.buf[start+1 : start+size-1])
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

func (l *line) appendGroup(sc *scope, key string, attrs []slog.Attr) {
	if len(attrs) == 0 {
		return
	}
	if sc.depth == maxDepth {
		if key == "" {
			key = "!ERROR"
		}
		note := slog.String(key, "!ERROR: group too deep")
		l.appendAttr(sc, &note)
		return
	}
	if key == "" { // inline
		sc.depth++
		for i := range attrs {
			l.appendAttr(sc, &attrs[i])
		}
		sc.depth--
		return
	}
	start, size, sum := l.appendKey(sc, key)
	if !l.appendObject(sc, key, attrs) {
		l.buf = l.buf[:start]
		return
	}
	l.buf = append(l.buf, ',')
	l.add(sc, start, size, sum)
}

// appendObject appends attrs as the object of key. It reports false, and what
// it appended is to be dropped, if all of them are empty.
func (l *line) appendObject(sc *scope, key string, attrs []slog.Attr) bool {
	l.buf = append(l.buf, '{')
	open := len(l.buf)
	inner := scope{first: len(l.members), depth: sc.depth + 1, secret: sc.secret || l.red.Key(key)}
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

func (l *line) appendValue(sc *scope, v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		l.appendText(v.String())
	case slog.KindInt64:
		l.buf = appendInt(l.buf, v.Int64())
	case slog.KindUint64:
		l.buf = appendUint(l.buf, v.Uint64())
	case slog.KindFloat64:
		l.buf = appendFloat(l.buf, v.Float64())
	case slog.KindBool:
		l.buf = strconv.AppendBool(l.buf, v.Bool())
	case slog.KindDuration: // nanoseconds, as slog's own and Datadog's
		l.buf = appendInt(l.buf, int64(v.Duration()))
	case slog.KindTime:
		l.buf = appendTime(l.buf, v.Time())
	default:
		l.appendAny(sc, v.Any())
	}
}

// appendText is appendString, quicker for what most texts are.
func (l *line) appendText(s string) {
	if plain(s) != len(s) {
		l.buf = appendString(l.buf, s)
		return
	}
	b := append(l.buf, '"')
	b = append(b, s...)
	l.buf = append(b, '"')
}

func (l *line) appendAny(sc *scope, v any) {
	switch x := v.(type) {
	case nil:
		l.buf = append(l.buf, "null"...)
	case json.Marshaler: // also of errors: it knows best
		l.noteFailure(sc, v)
		l.appendMarshaled(x)
	case error:
		l.noteFailure(sc, v)
		l.buf = appendString(l.buf, l.errorText(x))
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
	l.appendJSON(b)
}
