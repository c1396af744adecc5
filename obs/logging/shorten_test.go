package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// bigMap has n members of the root's or of a group's.
func bigAttrs(n int, value any) (attrs []slog.Attr) {
	for i := range n {
		attrs = append(attrs, slog.Any(fmt.Sprintf("key%06d", i), value))
	}
	return attrs
}

// TestShorten: a line too long for Cloud Logging is cut to one that is not,
// and keeps what is short.
func TestShorten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine+60_000)
	labels := make(map[string]string) // of which 64 are labels
	for i := range 5000 {
		labels[fmt.Sprintf("label%d", i)] = strings.Repeat("v", 100)
	}
	for _, tt := range []struct {
		name    string
		message string
		opts    Options
		level   slog.Level
		attrs   []slog.Attr
		whole   []string // keys whose values are not cut
		cut     []string // keys whose values are cut, to a text that ends in the mark
		noted   []string // keys whose value is a note
		gone    []string
	}{
		{name: "message", message: long, cut: []string{"message"}, whole: []string{"short"}},
		{name: "value", attrs: []slog.Attr{slog.String("long", long)}, cut: []string{"long"}, whole: []string{"short"}},
		{name: "the longest first", attrs: []slog.Attr{slog.String("a", strings.Repeat("a", 200_000)), slog.String("b", strings.Repeat("b", 90_000))},
			cut: []string{"a"}, whole: []string{"b", "short"}},
		{name: "to one length", attrs: []slog.Attr{slog.String("a", long), slog.String("b", long), slog.String("c", strings.Repeat("c", 70_000))},
			cut: []string{"a", "b"}, whole: []string{"c", "short"}},
		{name: "an error's", level: slog.LevelError, attrs: []slog.Attr{slog.Any("err", errors.New(long))}, cut: []string{"err", "error.message"}, whole: []string{"short", "stack_trace", "error.kind"}},
		{name: "many texts", attrs: bigAttrs(500, strings.Repeat("y", 1000)), cut: []string{"key000000", "key000499"}, whole: []string{"short"}},
		{name: "texts too many to cut", attrs: bigAttrs(2000, strings.Repeat("y", 290)), noted: []string{"key000000"}, whole: []string{"short"}},
		{name: "a long list", attrs: []slog.Attr{slog.Any("list", make([]int, maxLine))}, noted: []string{"list"}, whole: []string{"short"}},
		{name: "a large group", attrs: []slog.Attr{{Key: "g", Value: slog.GroupValue(bigAttrs(20_000, 1)...)}}, noted: []string{"g"}, whole: []string{"short"}},
		{name: "many members", attrs: bigAttrs(20_000, true), whole: []string{"key000000", "severity"}, gone: []string{"key019999"}},
		{name: "a long key", attrs: []slog.Attr{slog.Int(long, 1)}, gone: []string{long}, whole: []string{"short"}},
		{name: "labels", opts: Options{Labels: labels}, noted: []string{restKey}, whole: []string{"short", labelsKey}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			tt.opts.ProjectID, tt.opts.Service = "acme", "shop"
			attrs := append([]slog.Attr{slog.String("short", "kept")}, tt.attrs...)
			r := record(tt.level, tt.message, attrs...)
			r.PC = here()
			if err := NewHandler(&buf, &tt.opts).Handle(spanCtx(), r); err != nil {
				t.Fatal(err)
			}
			m := decode(t, buf.Bytes())
			if n := buf.Len(); n > maxLine || n < maxLine/2 && tt.noted == nil && len(tt.gone) == 0 {
				t.Errorf("%d bytes", n)
			}
			if n, err := m["kumihimo.truncated"].(json.Number).Int64(); err != nil || n < 1000 {
				t.Errorf("kumihimo.truncated: %v", m["kumihimo.truncated"])
			}
			for _, k := range append(tt.whole, "severity", "time", googlePrefix+"trace", googlePrefix+"spanId", "dd.trace_id", "dd.service") {
				if text := fmt.Sprint(m[k]); m[k] == nil || strings.HasSuffix(text, " bytes]") || strings.HasPrefix(text, "!ERROR") {
					t.Errorf("%s: got %.60s", k, text)
				}
			}
			for _, k := range tt.cut {
				if text, _ := m[k].(string); !strings.HasSuffix(text, " bytes]") || !strings.Contains(text, "…[+") || len(text) < minText {
					t.Errorf("%s is not cut: %.60s", k, text)
				}
			}
			for _, k := range tt.noted {
				if text, _ := m[k].(string); !strings.HasPrefix(text, "!ERROR: too long: ") {
					t.Errorf("%s: got %.60s", k, text)
				}
			}
			for _, k := range tt.gone {
				if m[k] != nil {
					t.Errorf("%.20s is there", k)
				}
			}
		})
	}
}

// TestShortenLimit: a line of maxLine is left alone, one byte more is cut.
func TestShortenLimit(t *testing.T) {
	t.Parallel()
	line := func(n int) []byte {
		var buf bytes.Buffer
		if err := NewHandler(&buf, nil).Handle(context.Background(), record(slog.LevelInfo, "m", slog.String("k", strings.Repeat("x", n)))); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	room := maxLine - len(line(0))
	if got := line(room); len(got) != maxLine || decode(t, got)["kumihimo.truncated"] != nil {
		t.Errorf("at the limit: %d bytes, want %d", len(got), maxLine)
	}
	got := decode(t, line(room+1))
	kept, _, _ := strings.Cut(got["k"].(string), "…[+")
	if want := fmt.Sprintf("…[+%d bytes]", room+1-len(kept)); !strings.HasSuffix(got["k"].(string), want) || len(kept) < room-200 {
		t.Errorf("above it: %d bytes of %d are kept, want the end %s", len(kept), room, want)
	}
}

// TestTextBoundary: no cut goes through an escape, a rune or a pair of
// surrogates.
func TestTextBoundary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		s     string
		whole []int // the boundaries
	}{
		{`abc`, []int{0, 1, 2, 3}},
		{`a\"b`, []int{0, 1, 3, 4}},
		{`\\\\`, []int{0, 2, 4}},
		{`\u001bx`, []int{0, 6, 7}},
		{"é日x", []int{0, 2, 5, 6}},
		{`\ud83d\ude00x`, []int{0, 12, 13}},
		{`\uD83D\uDE00x`, []int{0, 12, 13}},
		{`\ud7ff\u0061x`, []int{0, 6, 12, 13}},
	} {
		for limit := range len(tt.s) {
			i, ok := slices.BinarySearch(tt.whole, limit)
			if !ok {
				i--
			}
			if got := textBoundary([]byte(tt.s), limit); got != tt.whole[i] {
				t.Errorf("%s at %d: got %d, want %d", tt.s, limit, got, tt.whole[i])
			}
		}
	}
}

// FuzzShorten: whatever is too long, the line is valid, fits, and keeps the
// keys of what it does not drop.
func FuzzShorten(f *testing.F) {
	f.Add("a\"\\é\x00\xff", uint16(5), uint16(60_000), true)
	f.Add("\u2028😀", uint16(3000), uint16(20), false)
	f.Add("key", uint16(1), uint16(1), true)
	f.Fuzz(func(t *testing.T, text string, n, repeat uint16, group bool) {
		value := strings.Repeat(text, min(int(repeat), 1<<19/(len(text)+1)))
		attrs := bigAttrs(min(int(n), 4000, 1<<19/(len(value)+1)), value)
		attrs = append(attrs, slog.Any("list", bytes.Repeat([]byte{1}, int(repeat))))
		if group {
			attrs = []slog.Attr{{Key: "g", Value: slog.GroupValue(attrs...)}}
		}
		var buf bytes.Buffer
		if err := NewHandler(&buf, &Options{Service: "s"}).Handle(spanCtx(), record(slog.LevelError, value, attrs...)); err != nil {
			t.Fatal(err)
		}
		if buf.Len() > maxLine || !utf8.Valid(buf.Bytes()) {
			t.Errorf("%d bytes", buf.Len())
		}
		m := decode(t, buf.Bytes())
		for _, k := range []string{"severity", "time", "message", "dd.trace_id", "serviceContext"} {
			if m[k] == nil {
				t.Errorf("%s is gone from %v", k, slices.Sorted(maps.Keys(m)))
			}
		}
	})
}
