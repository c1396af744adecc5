package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"unicode/utf8"

	"github.com/kumihimo/kumihimo/internal/jsonscan"
)

const quotedPlaceholder = `"` + Placeholder + `"`

// AppendJSON appends src, which is valid and compact JSON, with the values of
// secret keys replaced at any depth: texts, objects and arrays, for what counts
// or switches is no secret. Numbers are appended by number, unless it is nil.
// Invalid UTF-8, which a json.RawMessage can bring along, becomes U+FFFD.
func (r *Redactor) AppendJSON(b, src []byte, number func(b, n []byte) []byte) []byte {
	if !utf8.Valid(src) {
		src = bytes.ToValidUTF8(src, []byte("\ufffd"))
	}
	for i := 0; i < len(src); {
		end := i + 1
		switch c := src[i]; {
		case c == '"':
			end = jsonscan.StringEnd(src, i)
			b = append(b, src[i:end]...)
			if end == len(src) || src[end] != ':' { // only a key has a colon after it
				break
			}
			b = append(b, ':')
			key := src[i:end]
			end++
			if hidden := jsonscan.TextEnd(src, end); hidden > end && r.Key(jsonscan.Unquoted(key)) {
				b = append(b, quotedPlaceholder...)
				end = hidden
			}
		case number != nil && (c == '-' || '0' <= c && c <= '9'):
			end = jsonscan.ScalarEnd(src, i)
			b = number(b, src[i:end])
		default:
			b = append(b, c)
		}
		i = end
	}
	return b
}

// Sprint prints a value that is none of slog's own kinds as a text without
// secrets: errors and Stringers print themselves, the rest prints as JSON. It
// does not panic; what cannot be printed is said in the value's place.
func (r *Redactor) Sprint(x any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	switch x := x.(type) {
	case error:
		return r.Text(x.Error())
	case *url.URL:
		return r.URL(x.String())
	case fmt.Stringer:
		return x.String()
	case []byte:
		return string(x)
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(x); err != nil {
		return "!ERROR: " + err.Error() // with %+v it would print, its secrets too
	}
	return string(r.AppendJSON(nil, bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil))
}
