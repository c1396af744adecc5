package logging

import (
	"encoding"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// textValueTime is how a time among the attributes is shown.
const textValueTime = "2006-01-02T15:04:05.000Z07:00"

// appendAttr adds a to sc as key=value and a blank. Groups become prefixes.
func (h *textHandler) appendAttr(l *line, sc *scope, a slog.Attr) {
	v, kind := a.Value, a.Value.Kind()
	var request *HTTPRequest
	if kind == slog.KindLogValuer {
		if request = requestOf(v); request == nil {
			v = resolve(v)
			kind = v.Kind()
		}
	}
	if kind == slog.KindGroup {
		h.appendGroup(l, sc, a.Key, v.Group())
		return
	}
	if a.Key == "" && kind == slog.KindAny && v.Any() == nil {
		return // the empty Attr
	}
	if request != nil && sc.root && a.Key == requestKey {
		if l.shown == nil {
			l.appendRequestText(request)
			l.buf = append(l.buf, ' ')
		}
		return
	}
	if l.record && sc.root && a.Key == "stack_trace" && kind == slog.KindString && strings.Contains(v.String(), "\n") {
		l.frames = v.String()
		return
	}
	start := len(l.buf)
	l.buf = h.begin(l.buf, faint)
	l.buf = appendTextKey(l.buf, sc.prefix, a.Key)
	l.buf = append(l.buf, '=')
	l.buf = h.end(l.buf)
	key := len(l.buf) - start
	switch {
	case request != nil:
		l.buf = append(l.buf, '"')
		l.appendRequestText(request)
		l.buf = append(l.buf, '"')
	case l.secret(sc, a.Key, kind):
		l.buf = append(l.buf, redact.Placeholder...)
	default:
		l.appendTextValue(sc, v, kind)
	}
	l.buf = append(l.buf, ' ')
	l.add(sc, start, key, hash(l.buf[start:start+key]))
}

func (h *textHandler) appendGroup(l *line, sc *scope, key string, attrs []slog.Attr) {
	if len(attrs) == 0 {
		return
	}
	if sc.depth == maxDepth {
		h.appendAttr(l, sc, slog.String(key, "!ERROR: group too deep"))
		return
	}
	prefix, secret, root := sc.prefix, sc.secret, sc.root
	if key != "" {
		sc.prefix += key + "."
		sc.secret = secret || l.red.Key(key)
		sc.root = false
	}
	sc.depth++
	for i := range attrs {
		h.appendAttr(l, sc, attrs[i])
	}
	sc.depth--
	sc.prefix, sc.secret, sc.root = prefix, secret, root
}

func appendTextKey(b []byte, prefix, key string) []byte {
	if prefix == "" && needsQuotes(key) || prefix != "" && (needsQuotes(prefix) || key != "" && needsQuotes(key)) {
		return strconv.AppendQuote(b, prefix+key)
	}
	b = append(b, prefix...)
	return append(b, key...)
}

func (l *line) appendTextValue(sc *scope, v slog.Value, kind slog.Kind) {
	switch kind {
	case slog.KindString:
		l.buf = appendQuotable(l.buf, v.String())
	case slog.KindInt64:
		l.buf = strconv.AppendInt(l.buf, v.Int64(), 10)
	case slog.KindUint64:
		l.buf = strconv.AppendUint(l.buf, v.Uint64(), 10)
	case slog.KindFloat64:
		l.buf = strconv.AppendFloat(l.buf, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		l.buf = strconv.AppendBool(l.buf, v.Bool())
	case slog.KindDuration:
		l.buf = appendDuration(l.buf, v.Duration())
	case slog.KindTime:
		l.buf = v.Time().AppendFormat(l.buf, textValueTime)
	default:
		l.appendTextAny(sc, v.Any())
	}
}

func (l *line) appendTextAny(sc *scope, v any) {
	switch x := v.(type) {
	case nil:
		l.buf = append(l.buf, "<nil>"...)
	case error:
		l.noteFailure(sc, v)
		l.buf = appendQuotable(l.buf, l.errorChain(x))
	case *url.URL:
		l.buf = appendQuotable(l.buf, l.urlText(x))
	case encoding.TextMarshaler:
		var b []byte
		err := marshal(x, func() (err error) {
			b, err = x.MarshalText()
			return err
		})
		if err != nil {
			b = []byte(failureText(err))
		}
		l.buf = appendQuotable(l.buf, string(b))
	case fmt.Stringer:
		l.buf = appendQuotable(l.buf, stringText(x))
	case []byte:
		l.buf = appendQuotable(l.buf, string(x))
	default:
		l.appendTextJSON(v)
	}
}

// appendTextJSON appends v as encoding/json has it, without quotes around it:
// braces hold it together.
func (l *line) appendTextJSON(v any) {
	b, err := l.any.encode(v)
	if err != nil {
		l.buf = appendQuotable(l.buf, failureText(err))
		return
	}
	start := len(l.buf)
	l.buf = l.red.AppendJSON(l.buf, b, appendNumber)
	if text := l.buf[start:]; text[0] != '"' && !isPrintable(string(text)) {
		// JSON leaves some that move a terminal's cursor.
		clean := appendPrintable(nil, string(text))
		l.buf = append(l.buf[:start], clean...)
	}
}

// appendQuotable appends s, in quotes if it would not be read as one value.
func appendQuotable(b []byte, s string) []byte {
	if needsQuotes(s) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}

func needsQuotes(s string) bool {
	if s == "" {
		return true
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '"' || c == '=' || c == 0x7f {
			return true
		} else if c >= utf8.RuneSelf {
			return !isPrintable(s) || strings.ContainsAny(s, " \"=")
		}
	}
	return false
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !printable(r, size) {
			return false
		}
		i += size
	}
	return true
}

// printable reports whether r shows itself and nothing else: no controls, no
// line ends, nothing that turns the direction of writing.
func printable(r rune, size int) bool {
	return strconv.IsPrint(r) && (r != utf8.RuneError || size > 1)
}

// appendPrintable appends s with all that is not printable escaped as Go
// does, and without quotes.
func appendPrintable(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !printable(r, size) {
			b = append(b, s[start:i]...)
			n := len(b)
			b = strconv.AppendQuote(b, s[i:i+size])
			b = append(b[:n], b[n+1:len(b)-1]...) // less its quotes
			start = i + size
		}
		i += size
	}
	return append(b, s[start:]...)
}
