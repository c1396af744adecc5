package logging

import (
	"bytes"
	"log/slog"
	"strings"

	"github.com/kumihimo/kumihimo/internal/jsonscan"
)

const (
	googlePrefix = "logging.googleapis.com/"
	labelsKey    = googlePrefix + "labels"

	// restKey is where the labels stand that an entry must not have.
	restKey = "kumihimo.labels"
)

// What Cloud Logging takes of labels. It would cut a longer value.
//
// https://cloud.google.com/logging/quotas
const (
	maxLabels     = 64
	maxLabelKey   = 512      // bytes
	maxLabelValue = 64 << 10 // bytes
)

// fitsLabel reports whether a label's key and value, of these lengths as JSON
// strings, are within the limits.
func fitsLabel(key, value int) bool {
	return key <= maxLabelKey+len(`""`) && value <= maxLabelValue+len(`""`)
}

// appendSpecial adds a field of the log entry itself that the program may
// give, if v is of the form that the agents take; else it reports false, and
// the attribute is one like any other under a reserved key.
//
// https://cloud.google.com/logging/docs/agent/logging/configuration#special-fields
func (l *line) appendSpecial(sc *scope, key string, v slog.Value, kind slog.Kind) bool {
	name, ok := strings.CutPrefix(key, googlePrefix)
	switch {
	case !ok:
		return false
	case name == "insertId":
		// An entry with one that is no text, or empty, is refused.
		if kind != slog.KindString || v.String() == "" {
			return false
		}
	case name == "operation":
		if kind != slog.KindGroup || !isOperation(v.Group()) {
			return false
		}
	case name == "labels":
		if kind == slog.KindGroup {
			l.appendLabels(v.Group())
			return true
		}
		return false
	default:
		return false
	}
	start := len(l.buf)
	l.buf = appendString(l.buf, key)
	l.buf = append(l.buf, ':')
	size := len(l.buf) - 1 - start
	if kind == slog.KindString {
		l.buf = appendString(l.buf, v.String())
	} else {
		l.appendObject(sc, false, v.Group())
	}
	l.buf = append(l.buf, ',')
	l.add(sc, start, size, hash(key))
	return true
}

// isOperation reports whether attrs are a LogEntryOperation, of which the
// agents drop what is of another type.
func isOperation(attrs []slog.Attr) bool {
	for _, a := range attrs {
		want := slog.KindString
		switch a.Key {
		case "id", "producer":
		case "first", "last":
			want = slog.KindBool
		default:
			return false
		}
		if a.Value.Kind() != want {
			return false
		}
	}
	return len(attrs) > 0
}

// appendLabels adds labels of this entry. There may be several such members,
// and one of Options.Labels, or labels beyond the limits: who ends the line
// sees to both. Values are all made strings, for one that is none costs the
// entry its labels.
func (l *line) appendLabels(attrs []slog.Attr) {
	start := len(l.buf)
	l.buf = append(l.buf, `"`+labelsKey+`":{`...)
	open := len(l.buf)
	inner := scope{first: len(l.members), depth: 1}
	fit := l.appendLabelsTo(&inner, attrs)
	fit = fit && len(l.members)-inner.first <= maxLabels
	l.members = l.members[:inner.first]
	if len(l.buf) == open {
		l.buf = l.buf[:start]
		return
	}
	l.buf[len(l.buf)-1] = '}'
	l.buf = append(l.buf, ',')
	l.labels++
	if !fit {
		l.labels++ // to have it merged, alone though it be
	}
}

// appendLabelsTo reports whether all are short enough.
func (l *line) appendLabelsTo(sc *scope, attrs []slog.Attr) (fit bool) {
	fit = true
	for _, a := range attrs {
		v := a.Value
		if v.Kind() == slog.KindLogValuer {
			v = resolve(v)
		}
		kind := v.Kind()
		switch {
		case kind == slog.KindGroup && a.Key == "" && sc.depth < maxDepth:
			sc.depth++
			fit = l.appendLabelsTo(sc, v.Group()) && fit
			sc.depth--
			continue
		case kind == slog.KindGroup && len(v.Group()) == 0:
			continue
		}
		start := len(l.buf)
		b, size, sum := appendKey(l.buf, false, a.Key)
		l.buf = b
		value := len(l.buf)
		switch {
		case l.secret(sc, a.Key, kind):
			l.buf = append(l.buf, placeholder...)
		case kind == slog.KindGroup:
			l.appendObject(sc, l.red.Key(a.Key), v.Group())
		case kind == slog.KindAny:
			l.appendAny(sc, v.Any())
		default:
			l.buf = l.appendScalar(l.buf, v, kind)
		}
		if l.buf[value] != '"' {
			text := string(l.buf[value:])
			l.buf = appendString(l.buf[:value], text)
		}
		fit = fit && fitsLabel(size, len(l.buf)-value)
		l.buf = append(l.buf, ',')
		l.add(sc, start, size, sum)
	}
	return fit
}

// A pair is a member of an object in JSON.
type pair struct{ key, value []byte }

// mergeLabels makes one of the several labels members of the line, which is
// complete, with those beyond the limits beside it. Of labels with one name the
// last is kept.
func (l *line) mergeLabels() {
	var room [16]pair
	labels := room[:0]
	l.scratch = append(l.scratch[:0], l.buf...)
	l.buf = l.buf[:1]
	at := -1
	jsonscan.EachMember(l.scratch, func(key, value []byte) {
		if k := string(key); k != `"`+labelsKey+`"` && k != `"`+restKey+`"` {
			l.appendMember(key, value)
			return
		}
		if at < 0 {
			at = len(l.buf)
		}
		jsonscan.EachMember(value, func(key, value []byte) {
			for i := range labels {
				if bytes.Equal(labels[i].key, key) {
					labels[i].value = value
					return
				}
			}
			labels = append(labels, pair{key, value})
		})
	})
	rest := len(l.buf)
	l.buf = appendLabelMembers(l.buf, labels)
	l.rotate(at, rest)
	l.endObject()
}

// appendLabelMembers appends labels as the entry's, and those that Cloud
// Logging would refuse, the last, under a key of ours.
func appendLabelMembers(b []byte, labels []pair) []byte {
	b = appendLabelMember(b, labelsKey, labels, true)
	return appendLabelMember(b, restKey, labels, false)
}

func appendLabelMember(b []byte, name string, labels []pair, fitting bool) []byte {
	start := len(b)
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":{`...)
	open, taken := len(b), 0
	for _, p := range labels {
		fits := taken < maxLabels && fitsLabel(len(p.key), len(p.value))
		if fits {
			taken++
		}
		if fits == fitting {
			b = appendMember(b, p.key, p.value)
		}
	}
	if len(b) == open {
		return b[:start]
	}
	b[len(b)-1] = '}'
	return append(b, ',')
}

// rotate moves what stands from rest on to at.
func (l *line) rotate(at, rest int) {
	n := len(l.buf) - rest
	l.buf = append(l.buf, l.buf[at:rest]...)
	copy(l.buf[at:], l.buf[rest:rest+n])
	copy(l.buf[at+n:], l.buf[rest+n:])
	l.buf = l.buf[:rest+n]
}

func (l *line) appendMember(key, value []byte) { l.buf = appendMember(l.buf, key, value) }

func appendMember(b, key, value []byte) []byte {
	b = append(b, key...)
	b = append(b, ':')
	b = append(b, value...)
	return append(b, ',')
}

// endObject closes the object of the root, which has a member.
func (l *line) endObject() {
	l.buf[len(l.buf)-1] = '}'
	l.buf = append(l.buf, '\n')
}
