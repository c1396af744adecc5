package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// quietError wraps without quoting what it wraps.
type quietError struct {
	text  string
	cause error
}

func (e *quietError) Error() string { return e.text }
func (e *quietError) Unwrap() error { return e.cause }

// twice wraps an error twice. Its own text stays short, where errors.Join's
// would double.
type twice struct{ cause error }

func (twice) Error() string     { return "twice" }
func (e twice) Unwrap() []error { return []error{e.cause, e.cause} }

func TestErrorChain(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a"), errors.New("b")
	loop := &quietError{text: "loop"}
	loop.cause = loop
	wide := a
	for range 40 { // 2^40 paths
		wide = twice{wide}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{a, "a"},
		{fmt.Errorf("load: %w", a), "load: a"},
		{errors.Join(a, b), "[a; b]"},
		{errors.Join(a), "a"},
		{fmt.Errorf("save: %w", errors.Join(a, b)), "save: [a; b]"},
		{&quietError{"cannot save", errors.New("disk full")}, "cannot save ← disk full"},
		{fmt.Errorf("order 7: %w", &quietError{"cannot save", errors.Join(a, b)}), "order 7: cannot save ← [a; b]"},
		{errors.Join(&quietError{"x", a}, b), "[x ← a; b]"},
		{fmt.Errorf("%w and %w", a, b), "a and b"},
		{&quietError{"no cause", nil}, "no cause"},
		{panicError{}, "!PANIC: Error blew up"},
	} {
		if got := new(line).errorChain(tt.err); got != tt.want {
			t.Errorf("%q: got %q, want %q", errorText(tt.err), got, tt.want)
		}
	}
	for _, endless := range []error{loop, wide} {
		got := new(line).errorChain(endless)
		if !strings.HasPrefix(got, errorText(endless)) || len(got) > errorBudget*len(" ← twice") {
			t.Errorf("%d bytes: %.100q", len(got), got)
		}
	}
}

func TestTextValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attr slog.Attr
		want string
	}{
		{slog.String("k", "plain"), "k=plain"},
		{slog.String("k", "日本"), "k=日本"},
		{slog.String("k", "two words"), `k="two words"`},
		{slog.String("k", "日本 x"), `k="日本 x"`},
		{slog.String("k", ""), `k=""`},
		{slog.String("k", "a=b"), `k="a=b"`},
		{slog.String("two words", "v"), `"two words"=v`},
		{slog.Group("a b", slog.Int("c", 1)), `"a b.c"=1`},
		{slog.Group("a", slog.Group("b", slog.Int("c", 1)), slog.Int("d", 2)), "a.b.c=1 a.d=2"},
		{slog.Duration("k", 0), "k=0s"},
		{slog.Duration("k", 999), "k=999ns"},
		{slog.Duration("k", 12_345_678), "k=12.3ms"},
		{slog.Duration("k", -12_345_678), "k=-12.3ms"},
		{slog.Duration("k", 1534*time.Microsecond), "k=1.53ms"},
		{slog.Duration("k", 12_345*time.Millisecond), "k=12.3s"},
		{slog.Duration("k", 90*time.Minute+1234*time.Millisecond), "k=1h30m1s"},
		{slog.Any("k", time.March), "k=March"},
		{slog.Any("k", []int{1, 2}), "k=[1,2]"},
		{slog.Any("k", map[string]int{"a": 1}), `k={"a":1}`},
		{slog.Any("r", &HTTPRequest{Method: "GET", URL: "https://a.b/c?d=e", Status: 404, Latency: time.Millisecond}), `r="GET /c?d=e 404 1ms"`},
		{slog.Any("httpRequest", HTTPRequest{Method: "G\x1bT", URL: "/\n"}), `G\x1bT /\n`},
		{slog.Any("httpRequest", HTTPRequest{Method: "GET", URL: "https://a.b"}), `GET https://a.b`},
	} {
		var buf bytes.Buffer
		if err := NewTextHandler(&buf, nil).Handle(context.Background(), record(slog.LevelInfo, "m", tt.attr)); err != nil {
			t.Error(err)
		}
		_, got, _ := strings.Cut(strings.TrimSpace(buf.String()), "INFO  m")
		if got = strings.TrimSpace(got); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// TestTextDuplicates: as in JSON, the last one wins, once.
func TestTextDuplicates(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := slog.New(NewTextHandler(&buf, nil)).With("a", 1, "b", 1, "a", 2).WithGroup("g").With("c", 1)
	logger.Info("m", "c", 2, "d", 1, "d", 2)
	if want := "b=1 a=2 g.c=2 g.d=2\n"; !strings.HasSuffix(buf.String(), "  "+want) {
		t.Errorf("got %swant %s", &buf, want)
	}
}

func TestTextSource(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slog.New(NewTextHandler(&buf, &Options{AddSource: true})).InfoContext(spanCtx(), "m", "k", 1)
	if !strings.Contains(buf.String(), " k=1 trace=01020304 source=") || !strings.Contains(buf.String(), "obs/logging/text_test.go:") {
		t.Errorf("got %s", &buf)
	}
}

// TestColor: colours are for terminals, unless asked for.
func TestColor(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only its kind matters
	for _, tt := range []struct {
		name  string
		color Color
		want  bool
	}{{"auto", ColorAuto, false}, {"never", ColorNever, false}, {"always", ColorAlways, true}} {
		if got := newStyle(file, tt.color).color; got != tt.want {
			t.Errorf("%s to a file: got %t", tt.name, got)
		}
		if got := newStyle(&bytes.Buffer{}, tt.color).color; got != tt.want {
			t.Errorf("%s to a buffer: got %t", tt.name, got)
		}
	}
	if terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil { // where there are such
		defer terminal.Close() //nolint:errcheck // nothing is written to it
		for _, w := range []io.Writer{terminal, &BufferedWriter{W: terminal}} {
			if !newStyle(w, ColorAuto).color || newStyle(w, ColorNever).color {
				t.Errorf("%T: want colours on a terminal, unless there are to be none", w)
			}
		}
	}
	closed := os.NewFile(^uintptr(0), "nothing")
	if newStyle(closed, ColorAuto).color {
		t.Error("colours for a closed file")
	}
}
