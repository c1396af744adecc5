package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

type (
	panicValuer      struct{}
	endlessValuer    struct{}
	nestingValuer    struct{}
	groupValuer      struct{}
	emptyValuer      struct{}
	panicError       struct{}
	panicStringer    struct{}
	panicMarshal     struct{}
	panicMarshalText string
	brokenMarshal    struct{}
	rubbish          struct{}
	pointerError     struct{ s string }
	nilUnwrap        struct{}
	cycle            struct {
		Self *cycle
		Name string
	}
	worstPanic struct{}
)

func (panicValuer) LogValue() slog.Value   { panic("LogValue blew up") }
func (endlessValuer) LogValue() slog.Value { return slog.AnyValue(endlessValuer{}) }
func (nestingValuer) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("in", nestingValuer{}), slog.Any("", nestingValuer{}))
}
func (groupValuer) LogValue() slog.Value              { return slog.GroupValue(slog.Int("a", 1)) }
func (emptyValuer) LogValue() slog.Value              { return slog.GroupValue() }
func (panicError) Error() string                      { panic(errors.New("Error blew up")) }
func (panicStringer) String() string                  { panic("String blew up") }
func (panicMarshal) MarshalJSON() ([]byte, error)     { panic("MarshalJSON blew up") }
func (panicMarshalText) MarshalText() ([]byte, error) { panic(map[string]any{"what": "a map"}) }
func (brokenMarshal) MarshalJSON() ([]byte, error)    { return nil, errors.New("no\nJSON") }
func (rubbish) MarshalJSON() ([]byte, error)          { return []byte(`{"a":`), nil }
func (e *pointerError) Error() string                 { return e.s }
func (nilUnwrap) Error() string                       { return "unwraps to nothing" }
func (nilUnwrap) Unwrap() []error                     { return []error{nil, nil} }
func (worstPanic) String() string                     { panic(worstPanic{}) }

func newCycle() *cycle {
	c := &cycle{Name: "c"}
	c.Self = c
	return c
}

// edges are the values that break handlers, with what stands in the line. A
// want of nil means that only the line's being valid is checked.
var edges = []struct {
	name string
	attr slog.Attr
	json any
	text string // the value after k=; "" is not checked
}{
	{"nil", slog.Any("k", nil), nil, "<nil>"},
	{"NaN", slog.Float64("k", math.NaN()), "NaN", "NaN"},
	{"infinity", slog.Float64("k", math.Inf(1)), "+Inf", "+Inf"},
	{"negative infinity", slog.Float64("k", math.Inf(-1)), "-Inf", "-Inf"},
	{"NaN in a struct", slog.Any("k", struct{ F float64 }{math.NaN()}), "!ERROR: json: unsupported value: NaN", ""},
	{"negative zero", slog.Float64("k", math.Copysign(0, -1)), json.Number("-0"), "-0"},
	{"tiny float", slog.Float64("k", 5e-324), json.Number("5e-324"), "5e-324"},
	{"2^53", slog.Int64("k", 1<<53), json.Number("9007199254740992"), "9007199254740992"},
	{"2^53+1", slog.Int64("k", 1<<53+1), "9007199254740993", "9007199254740993"},
	{"-2^53", slog.Int64("k", -1<<53), json.Number("-9007199254740992"), ""},
	{"-2^53-1", slog.Int64("k", -1<<53-1), "-9007199254740993", ""},
	{"min int64", slog.Int64("k", math.MinInt64), "-9223372036854775808", ""},
	{"max uint64", slog.Uint64("k", math.MaxUint64), "18446744073709551615", "18446744073709551615"},
	{"long duration", slog.Duration("k", math.MaxInt64), "9223372036854775807", "2562047h47m16.854775807s"},
	{"shortest duration", slog.Duration("k", math.MinInt64), "-9223372036854775808", "-2562047h47m16.854775808s"},
	{"big integers in a map", slog.Any("k", map[string]any{"id": int64(1<<53 + 1), "n": 7, "f": 1.5, "l": []uint64{1 << 60}}),
		map[string]any{"id": "9007199254740993", "n": json.Number("7"), "f": json.Number("1.5"), "l": []any{"1152921504606846976"}}, ""},
	{"invalid UTF-8", slog.String("k", "a\xffb"), "a\ufffdb", `"a\xffb"`},
	{"invalid UTF-8 in a key", slog.Group("g", slog.Int("a\xff", 1), slog.Int("a\xfe", 2)), nil, ""},
	{"quotes in keys", slog.Group(`g"{`, slog.Int("k\n\"", 1)), nil, ""},
	{"controls", slog.String("k", "\x00\x1b[31m\x7f\u0085\u202e"), "\x00\x1b[31m\x7f\u0085\u202e", `"\x00\x1b[31m\x7f\u0085\u202e"`},
	{"line separators", slog.String("k", "\u2028\u2029"), "\u2028\u2029", ""},
	{"year 10000", slog.Time("k", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "10000-01-01T00:00:00Z", ""},
	{"year -1", slog.Time("k", time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)), "-0001-01-01T00:00:00Z", ""},
	{"zone", slog.Time("k", time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))), "2026-01-02T03:04:05.000000006+01:00", "2026-01-02T03:04:05.000+01:00"},
	{"year 10000 in a struct", slog.Any("k", struct{ T time.Time }{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}), nil, ""},
	{"typed nil error", slog.Any("k", (*pointerError)(nil)), "<nil>", "<nil>"},
	{"typed nil URL", slog.Any("k", (*url.URL)(nil)), "<nil>", "<nil>"},
	{"typed nil request", slog.Any("k", (*HTTPRequest)(nil)), "<nil>", "<nil>"},
	{"panicking LogValue", slog.Any("k", panicValuer{}), "!PANIC: LogValue blew up", `"!PANIC: LogValue blew up"`},
	{"endless LogValue", slog.Any("k", endlessValuer{}), "!ERROR: LogValue of logging.endlessValuer returns ever more LogValuers", ""},
	{"LogValue to groups without end", slog.Any("k", nestingValuer{}), nil, ""},
	{"LogValue to a group", slog.Any("k", groupValuer{}), map[string]any{"a": json.Number("1")}, ""},
	{"LogValue to an empty group", slog.Any("gone", emptyValuer{}), nil, ""},
	{"a group that turns out empty", slog.Group("gone", slog.Any("x", emptyValuer{})), nil, ""},
	{"a group that is empty within", slog.Group("k", slog.Group("gone", slog.Any("x", emptyValuer{})), slog.Int("a", 1)), map[string]any{"a": json.Number("1")}, ""},
	{"all escapes", slog.String("k", "\b\f\r\t\n\\\"\x01"), "\b\f\r\t\n\\\"\x01", `"\b\f\r\t\n\\\"\x01"`},
	{"an escaped key in JSON", slog.Any("k", map[string]string{"a\"b": "c"}), map[string]any{"a\"b": "c"}, ""},
	{"panicking Error", slog.Any("k", panicError{}), "!PANIC: Error blew up", `"!PANIC: Error blew up"`},
	{"panicking String", slog.Any("k", panicStringer{}), map[string]any{}, `"!PANIC: String blew up"`},
	{"panicking MarshalJSON", slog.Any("k", panicMarshal{}), "!PANIC: MarshalJSON blew up", ""},
	{"panicking MarshalText", slog.Any("k", panicMarshalText("x")), "!PANIC: map[string]interface {}", `"!PANIC: map[string]interface {}"`},
	{"panic whose value panics", slog.Any("k", worstPanic{}), nil, ""},
	{"failing MarshalJSON", slog.Any("k", brokenMarshal{}), "!ERROR: json: error calling MarshalJSON for type logging.brokenMarshal: no\nJSON", ""},
	{"invalid MarshalJSON", slog.Any("k", rubbish{}), nil, ""},
	{"invalid RawMessage", slog.Any("k", json.RawMessage("{\n")), nil, ""},
	{"RawMessage on lines", slog.Any("k", json.RawMessage("{\n\"a\" :\n1 }")), map[string]any{"a": json.Number("1")}, `{"a":1}`},
	{"RawMessage with invalid UTF-8", slog.Any("k", json.RawMessage("{\"a\xb7\":\"\xff\"}")), map[string]any{"a\ufffd": "\ufffd"}, ""},
	{"channel", slog.Any("k", make(chan int)), "!ERROR: json: unsupported type: chan int", ""},
	{"func", slog.Any("k", func() {}), "!ERROR: json: unsupported type: func()", ""},
	{"complex", slog.Any("k", 1i), "!ERROR: json: unsupported type: complex128", ""},
	{"cycle", slog.Any("k", newCycle()), nil, ""},
	{"bytes", slog.Any("k", []byte("hi")), "aGk=", "hi"},
	{"text marshaler", slog.Any("k", netip.MustParseAddr("10.0.0.1")), "10.0.0.1", "10.0.0.1"},
	{"URL", slog.Any("k", &url.URL{Scheme: "https", Host: "a.b", User: url.UserPassword("u", "hunter2"), RawQuery: "q=1&sig=hunter2"}),
		"https://REDACTED@a.b?q=1&sig=REDACTED", `"https://REDACTED@a.b?q=1&sig=REDACTED"`},
	{"HTML", slog.String("k", "<a>&"), "<a>&", "<a>&"},
	{"HTML in a struct", slog.Any("k", struct{ S string }{"<a>&"}), map[string]any{"S": "<a>&"}, `{"S":"<a>&"}`},
	{"terminal codes in a struct", slog.Any("k", struct{ S string }{"\u009b2J\x7f"}), map[string]any{"S": "\u009b2J\x7f"}, `{"S":"\u009b2J\x7f"}`},
	{"empty key", slog.String("", "v"), nil, ""},
	{"long", slog.String("k", strings.Repeat("x", 300_000)), nil, ""},
	{"unwraps to nothing", slog.Any("k", nilUnwrap{}), "unwraps to nothing", `"unwraps to nothing"`},
}

// TestEdgeValues: whatever the value, and whichever way it comes, there is one
// line, it is valid, and it has the message.
func TestEdgeValues(t *testing.T) {
	t.Parallel()
	for _, tt := range edges {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelError} {
			t.Run(fmt.Sprint(tt.name, "/", level), func(t *testing.T) {
				t.Parallel()
				for way, line := range ways(t, NewHandler, level, tt.attr) {
					if !utf8.Valid(line) {
						t.Errorf("%s: invalid UTF-8 in %q", way, line)
					}
					m := decode(t, line)
					if m["message"] != "m" {
						t.Errorf("%s: message is %v", way, m["message"])
					}
					if got, ok := m["k"]; tt.json != nil && (!ok || !cmp.Equal(tt.json, got)) {
						t.Errorf("%s: got %#v, want %#v", way, got, tt.json)
					}
				}
				for way, line := range ways(t, NewTextHandler, level, tt.attr) {
					text := string(line)
					if i := strings.IndexFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return !printable(r, 3) && r != '\ufffd' }); i >= 0 {
						t.Errorf("%s: unprintable at %d of %q", way, i, text)
					}
					if want := "k=" + tt.text; tt.text != "" && !strings.Contains(text, " "+want+" ") && !strings.HasSuffix(text, " "+want+"\n") {
						t.Errorf("%s: want %s in %s", way, want, text)
					}
				}
			})
		}
	}
}

// ways logs attr at the call, bound, and from the context.
func ways(t *testing.T, newHandler func(io.Writer, *Options) slog.Handler, level slog.Level, attr slog.Attr) map[string][]byte {
	t.Helper()
	lines := make(map[string][]byte)
	log := func(way string, f func(h slog.Handler) error) {
		var buf bytes.Buffer
		if err := f(newHandler(&buf, nil)); err != nil {
			t.Error(err)
		}
		lines[way] = buf.Bytes()
	}
	ctx := context.Background()
	log("call", func(h slog.Handler) error { return h.Handle(ctx, record(level, "m", attr)) })
	log("With", func(h slog.Handler) error { return h.WithAttrs([]slog.Attr{attr}).Handle(ctx, record(level, "m")) })
	log("context", func(h slog.Handler) error {
		return h.Handle(obsctx.WithFields(ctx, []slog.Attr{attr}), record(level, "m"))
	})
	log("nil context", func(h slog.Handler) error { return h.Handle(nil, record(level, "m", attr)) }) //nolint:staticcheck // callers do
	return lines
}

// TestEdgeMessages: a message is no safer than a value.
func TestEdgeMessages(t *testing.T) {
	t.Parallel()
	for _, msg := range []string{"", "a\xffb", "two\nlines", "\x1b[2J", "\"quoted\"", "\u2028", strings.Repeat("é", 1000)} {
		var buf bytes.Buffer
		if err := NewHandler(&buf, nil).Handle(spanCtx(), record(slog.LevelError, msg)); err != nil {
			t.Error(err)
		}
		if got, want := decode(t, buf.Bytes())["message"], strings.ToValidUTF8(msg, "\ufffd"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		buf.Reset()
		if err := NewTextHandler(&buf, nil).Handle(spanCtx(), record(slog.LevelError, msg)); err != nil {
			t.Error(err)
		}
		if n := bytes.Count(buf.Bytes(), []byte("\n")); n != 1 || bytes.IndexByte(buf.Bytes(), 0x1b) >= 0 {
			t.Errorf("%q as text: %q", msg, buf.Bytes())
		}
	}
}

// TestEdgeTimes: the record's own time.
func TestEdgeTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		time time.Time
		want any
	}{
		{time.Time{}, nil},
		{time.Unix(0, 0), "1970-01-01T00:00:00.000000000Z"},
		{time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", -3600)), "2026-01-02T04:04:05.000000006Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), "9999-12-31T23:59:59.999999999Z"},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "10000-01-01T00:00:00Z"},
		{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), "-0005-01-01T00:00:00Z"},
	} {
		var buf bytes.Buffer
		r := slog.NewRecord(tt.time, slog.LevelInfo, "m", 0)
		if err := NewHandler(&buf, nil).Handle(context.Background(), r); err != nil {
			t.Error(err)
		}
		if got := decode(t, buf.Bytes())["time"]; got != tt.want {
			t.Errorf("got %v, want %v", got, tt.want)
		}
	}
}

// TestReentrance: a value's method may log to the same handler.
func TestReentrance(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := slog.New(NewHandler(&buf, nil))
	logger.Info("outer", "v", loggingValue{logger}, "after", 1)
	lines := bytes.SplitAfter(buf.Bytes(), []byte("\n"))
	if inner := decode(t, lines[0]); inner["message"] != "inner" {
		t.Errorf("got %v", inner)
	}
	if outer := decode(t, lines[1]); outer["v"] != "done" || outer["after"] != json.Number("1") {
		t.Errorf("got %v", outer)
	}
}

type loggingValue struct{ logger *slog.Logger }

func (v loggingValue) MarshalJSON() ([]byte, error) {
	v.logger.Info("inner", "x", struct{ A int }{1})
	return []byte(`"done"`), nil
}

// FuzzJSON compares with encoding/json: strings, numbers and times come back
// as it would have written them.
func FuzzJSON(f *testing.F) {
	f.Add("key", "value", 1.5, int64(7), int64(1))
	f.Add("", "a\xff\u2028\"\\\x00<>&", -1e-7, int64(-1<<60), int64(-1))
	f.Add("password", strings.Repeat("é日本", 9), 1e21, int64(1<<53), int64(1<<40))
	f.Add("dd.span_id", "12345678\n", 123456789.125, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, key, value string, number float64, integer, nanos int64) {
		var buf bytes.Buffer
		when := time.Unix(nanos>>20, nanos&0xfffff).UTC()
		attrs := []slog.Attr{
			slog.Group("g", slog.String("s"+key, value), slog.Float64("f", number), slog.Int64("i", integer), slog.Time("t", when)),
			slog.Any("any", map[string]any{"x" + key + "x": value, "f": []float64{0.5}}),
		}
		if err := NewHandler(&buf, nil).Handle(context.Background(), record(slog.LevelInfo, value, attrs...)); err != nil {
			t.Fatal(err)
		}
		got := decode(t, buf.Bytes())
		if want := viaJSON(t, value); got["message"] != want {
			t.Errorf("message: got %q, want %q", got["message"], want)
		}
		group := got["g"].(map[string]any)
		if name := viaJSON(t, "s"+key).(string); group[name] != viaJSON(t, value) && group[name] != "[REDACTED]" {
			t.Errorf("%q: got %q, want %q", key, group[name], value)
		}
		if _, number := group["i"].(json.Number); number != (integer <= 1<<53 && integer >= -1<<53) {
			t.Errorf("%d became %T", integer, group["i"])
		}
		if !math.IsNaN(number) && !math.IsInf(number, 0) && !cmp.Equal(group["f"], viaJSON(t, number)) {
			t.Errorf("got %v, want %v", group["f"], viaJSON(t, number))
		}
		if y := when.Year(); y >= 0 && y <= 9999 && group["t"] != viaJSON(t, when) {
			t.Errorf("got %v, want %v", group["t"], viaJSON(t, when))
		}
		buf.Reset()
		if err := NewTextHandler(&buf, nil).Handle(context.Background(), record(slog.LevelInfo, value, attrs...)); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(buf.Bytes(), []byte("\n")); n != 1 || bytes.IndexByte(buf.Bytes(), 0x1b) >= 0 {
			t.Errorf("text: %q", buf.Bytes())
		}
	})
}

func viaJSON(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDifferential: for plain records the fields are those of
// slog.JSONHandler.
func TestDifferential(t *testing.T) {
	t.Parallel()
	type inner struct {
		A int               `json:"a,omitempty"`
		B map[string]string `json:"b"`
		C *float32
	}
	attrs := []slog.Attr{
		slog.String("s", "with \t\"escapes\" \\ and é\u2028"), slog.Int("i", -3), slog.Uint64("u", 3), slog.Bool("b", false),
		slog.Float64("f1", 1e-7), slog.Float64("f2", 1e21), slog.Float64("f3", 123456.789), slog.Float64("f4", 1e-100),
		slog.Duration("d", 1534*time.Microsecond), slog.Time("t", recordTime), slog.Any("err", errors.New("e")),
		slog.Any("struct", inner{A: 1, B: map[string]string{"x": "<y>"}}), slog.Any("nil", nil), slog.Any("list", []any{1, "a", nil, true}),
		slog.Any("ip", netip.MustParseAddr("::1")), slog.Any("level", slog.LevelWarn), slog.Any("bytes", []byte{0, 255}),
		slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.Int("b", 2))), slog.Any("lv", groupValuer{}),
		slog.Group("", slog.Int("inlined", 1)),
	}
	run := func(newHandler func(w io.Writer) slog.Handler, own ...string) map[string]any {
		var buf bytes.Buffer
		h := newHandler(&buf).WithAttrs(attrs[:4]).WithGroup("open").WithAttrs(attrs[4:8])
		if err := h.Handle(context.Background(), record(slog.LevelInfo, "m", attrs[8:]...)); err != nil {
			t.Fatal(err)
		}
		m := decode(t, buf.Bytes())
		for _, k := range own {
			delete(m, k)
		}
		return m
	}
	want := run(func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }, slog.TimeKey, slog.LevelKey, slog.MessageKey)
	got := run(func(w io.Writer) slog.Handler { return NewHandler(w, nil) }, "time", "severity", "message")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
