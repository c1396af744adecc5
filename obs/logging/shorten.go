package logging

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/kumihimo/kumihimo/internal/jsonscan"
)

const (
	// maxLine is the length a line is cut down to. Cloud Logging refuses an
	// entry above 256 KiB, in which what the agent adds counts too.
	//
	// https://cloud.google.com/logging/quotas
	maxLine = 240 << 10

	// lineRoom leaves place in maxLine for the field that says so.
	lineRoom = maxLine - 64

	// minText is the length under which no text is cut: names, ids and the
	// fields of Cloud Logging stay whole.
	minText = 256

	// cutMark is what a cut costs, at most: …[+123456 bytes]
	cutMark = len("…[+ bytes]") + 10
)

// shorten cuts the line, which is complete, below maxLine: the longest texts
// first, to one length; if that is not enough, then the largest members of the
// root; then the last.
func (l *line) shorten() {
	full := len(l.buf)
	l.cutTexts(full - lineRoom)
	if len(l.buf) > lineRoom {
		l.dropMembers()
	}
	l.buf[len(l.buf)-2] = ','
	l.buf = append(l.buf[:len(l.buf)-1], `"kumihimo.truncated":`...)
	l.buf = strconv.AppendInt(l.buf, int64(full-len(l.buf)), 10)
	l.buf = append(l.buf, "}\n"...)
}

// cutTexts shortens the longest texts among the values by excess bytes in all,
// as far as minText allows.
func (l *line) cutTexts(excess int) {
	l.scratch = append(l.scratch[:0], l.buf...)
	src := l.scratch
	var lengths []int
	eachText(src, func(start, end int) {
		if n := end - start; n > minText+cutMark {
			lengths = append(lengths, n)
		}
	})
	limit := textLimit(lengths, excess)
	l.buf = l.buf[:0]
	done := 0
	eachText(src, func(start, end int) {
		if end-start <= limit+cutMark {
			return
		}
		cut := start + textBoundary(src[start:end], limit)
		l.buf = append(l.buf, src[done:cut]...)
		l.buf = append(l.buf, "…[+"...)
		l.buf = strconv.AppendInt(l.buf, int64(end-cut), 10)
		l.buf = append(l.buf, " bytes]"...)
		done = end
	})
	l.buf = append(l.buf, src[done:]...)
}

// textLimit returns the length to which texts of lengths must be cut so that
// excess bytes go.
func textLimit(lengths []int, excess int) int {
	slices.SortFunc(lengths, func(a, b int) int { return cmp.Compare(b, a) })
	sum := 0
	for i, n := range lengths {
		sum += n - cutMark
		next := minText
		if i+1 < len(lengths) {
			next = max(next, lengths[i+1])
		}
		// With the i+1 longest at next, is it enough?
		if limit := (sum - excess) / (i + 1); limit >= next {
			return limit
		}
	}
	return minText
}

// eachText calls f with where the inside of each text begins and ends, keys
// left out. src is valid and compact JSON.
func eachText(src []byte, f func(start, end int)) {
	for i := 0; i < len(src); {
		if src[i] != '"' {
			i++
			continue
		}
		end := jsonscan.StringEnd(src, i)
		if end < len(src) && src[end] != ':' {
			f(i+1, end-1)
		}
		i = end
	}
}

// textBoundary returns the last offset up to limit, of s the inside of a JSON
// string, that is in no escape, no rune and no pair of surrogates.
func textBoundary(s []byte, limit int) int {
	for i := 0; ; {
		size := 1
		switch {
		case s[i] != '\\':
			if s[i] >= utf8.RuneSelf {
				_, size = utf8.DecodeRune(s[i:])
			}
		case s[i+1] != 'u':
			size = 2
		case (s[i+2] == 'd' || s[i+2] == 'D') && s[i+3] >= '8' && len(s) >= i+12:
			size = 12
		default:
			size = 6
		}
		if i+size > limit {
			return i
		}
		i += size
	}
}

// dropMembers puts a note in place of the largest members of the root, until
// the line fits, and if it still does not leaves out the last.
func (l *line) dropMembers() {
	l.scratch = append(l.scratch[:0], l.buf...)
	var members []pair
	jsonscan.EachMember(l.scratch, func(key, value []byte) { members = append(members, pair{key, value}) })
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	size := func(i int) int { return len(members[i].key) + len(members[i].value) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
	excess := len(l.buf) - lineRoom
	for _, i := range order {
		if excess <= 0 || size(i) <= minText {
			break
		}
		excess -= size(i)
		members[i] = shortMember(members[i])
		excess += size(i)
	}
	for i := len(members) - 1; i > 0 && excess > 0; i-- {
		if m := members[i]; m.key != nil && !reserved(jsonscan.Unquoted(m.key)) {
			excess -= size(i) + len(":,")
			members[i] = pair{}
		}
	}
	l.buf = l.buf[:1]
	for _, m := range members {
		if m.key != nil {
			l.appendMember(m.key, m.value)
		}
	}
	l.endObject()
}

// shortMember is m with a note for its value, or nothing if that were no use.
func shortMember(m pair) pair {
	if key := jsonscan.Unquoted(m.key); len(key) > minText || reserved(key) && key != restKey {
		return pair{} // an agent reads it, and would take no note for it
	}
	note := strconv.AppendInt([]byte(`"!ERROR: too long: `), int64(len(m.value)), 10)
	return pair{m.key, append(note, ` bytes"`...)}
}
