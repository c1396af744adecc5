package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

type (
	stringer    struct{ text string }
	nilPointer  struct{ text string }
	unprintable struct {
		Password string
		Ch       chan int
	}
)

func (s stringer) String() string    { return s.text }
func (e *nilPointer) Error() string  { return e.text }
func parse(raw string) (u *url.URL)  { u, _ = url.Parse(raw); return u }
func upper(b, n []byte) []byte       { return append(append(append(b, '<'), n...), '>') }
func withNumbers(src string) string  { return string(standard.AppendJSON(nil, []byte(src), upper)) }
func withoutNumbers(s string) string { return string(standard.AppendJSON(nil, []byte(s), nil)) }

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ src, want string }{
		{`7`, `<7>`},
		{`"token"`, `"token"`},
		{`{"token":"x","n":[1,-2e9]}`, `{"token":"[REDACTED]","n":[<1>,<-2e9>]}`},
		{`{"a":{"dbPassword":{"deep":["x","}"]}},"b":[{"set-cookie":["x"]}]}`, `{"a":{"dbPassword":"[REDACTED]"},"b":[{"set-cookie":"[REDACTED]"}]}`},
		{`{"tok\u0065n":"x","token":7,"secret":true,"password":null}`, `{"tok\u0065n":"[REDACTED]","token":<7>,"secret":true,"password":null}`},
		{`{"\"token":"x","a\\":"y"}`, `{"\"token":"x","a\\":"y"}`},
	} {
		if got := withNumbers(tt.src); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.src, got, tt.want)
		}
		if got, want := withoutNumbers(tt.src), strings.NewReplacer("<", "", ">", "").Replace(tt.want); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.src, got, want)
		}
	}
}

func TestSprint(t *testing.T) {
	t.Parallel()
	const raw = "https://u:hunter2@shop.example/?token=hunter2&page=2"
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{"struct", struct{ User, Token string }{"ada", "hunter2"}, `{"User":"ada","Token":"[REDACTED]"}`},
		{"map in a slice", []any{map[string]any{"api-key": []string{"hunter2"}}, "<&>"}, `[{"api-key":"[REDACTED]"},"<&>"]`},
		{"pointer", &struct{ Count int }{1 << 60}, `{"Count":1152921504606846976}`},
		{"error", &url.Error{Op: "Get", URL: raw, Err: errors.New("refused")}, `Get "https://REDACTED@shop.example/?token=REDACTED&page=2": refused`},
		{"URL", parse(raw), "https://REDACTED@shop.example/?token=REDACTED&page=2"},
		{"Stringer", stringer{"itself"}, "itself"},
		{"bytes", []byte("text"), "text"},
		{"no JSON", unprintable{Password: "hunter2"}, "!ERROR: json: unsupported type: chan int"},
		{"nil pointer", (*nilPointer)(nil), "!PANIC: runtime error: invalid memory address or nil pointer dereference"},
		{"nil", nil, "null"},
	} {
		if got := standard.Sprint(tt.value); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// FuzzAppendJSON: what comes out is valid, and without secrets what went in.
func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"{\"k\xb7\":\"\xff\"}", `{"token":"x","a":[1,{"b":null}]}`, `"\\\""`, `[]`, `-1.5e-9`, `{"":{"cookie":[[]]}}`} {
		f.Add([]byte(s))
	}
	none := &Redactor{tails: newTails()}
	f.Fuzz(func(t *testing.T, src []byte) {
		var buf bytes.Buffer
		if json.Compact(&buf, src) != nil {
			return
		}
		if got, want := none.AppendJSON(nil, buf.Bytes(), nil), bytes.ToValidUTF8(buf.Bytes(), []byte("\ufffd")); !bytes.Equal(got, want) {
			t.Errorf("no key is secret: got %s of %s", got, &buf)
		}
		if got := standard.AppendJSON(nil, buf.Bytes(), func(b, n []byte) []byte { return append(b, n...) }); !json.Valid(got) || !utf8.Valid(got) {
			t.Errorf("invalid: %s of %s", got, &buf)
		}
	})
}
