package logging

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

type fixedValuer struct{ v slog.Value }

func (v fixedValuer) LogValue() slog.Value { return v.v }

// shapedAttrs are attributes whose records have different shapes, or are told
// apart by more than their keys.
var shapedAttrs = [][]slog.Attr{
	{},
	{slog.Int("k", 1)},
	{slog.Int("k", 2), slog.String("s", "v"), slog.Duration("a rather long key, with a comma", time.Second)},
	{slog.Int("k", 1), slog.Int("k", 2)},
	{slog.Int("k", 2), slog.String("t", "v")},
	{slog.String("s", "v"), slog.Int("k", 3)},
	{slog.String("status", "mine"), slog.Int("k", 4)},
	{slog.String("password", "hunter2"), slog.Int("k", 5)},
	{slog.Int("password", 6), slog.Int("k", 5)},
	{slog.Group("g", slog.Int("k", 7), slog.String("token", "hunter2"), slog.Int("k", 8)), slog.Int("k", 9)},
	{slog.Group("g"), slog.Int("k", 9)},
	{slog.Group("", slog.Int("k", 10), slog.Int("in", 1)), slog.Int("k", 11)},
	{slog.Group("secret", slog.String("k", "hunter2")), slog.Int("k", 9)},
	{slog.Any("v", fixedValuer{slog.IntValue(1)}), slog.Int("k", 12)},
	{slog.Any("v", fixedValuer{slog.GroupValue(slog.Int("k", 1), slog.Int("in", 2))}), slog.Int("k", 12)},
	{slog.Any("v", fixedValuer{slog.GroupValue()}), slog.Int("k", 12)},
	{{}, slog.Int("k", 13)},
	{slog.String("", "v"), slog.Int("k", 13)},
	{slog.Any("httpRequest", HTTPRequest{Method: "GET"}), slog.Int("k", 14)},
	{slog.String("logging.googleapis.com/insertId", "a"), slog.Int("k", 15)},
	{slog.Group("logging.googleapis.com/labels", "a", 1), slog.Int("k", 15)},
	{slog.String("q\"uote\n", "v"), slog.Int("k", 16)},
	{slog.String(strings.Repeat("long", 100), "v"), slog.Int("k", 17)},
	{slog.Any("err", fmt.Errorf("e: %w", fmt.Errorf("cause"))), slog.String("error.message", "mine")},
}

// TestShapes: a record prints alike whatever its call site logged before.
func TestShapes(t *testing.T) {
	t.Parallel()
	derive := []func(slog.Handler) slog.Handler{
		func(h slog.Handler) slog.Handler { return h },
		func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Int("k", 0), slog.Int("b", 0)}) },
		func(h slog.Handler) slog.Handler { return h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("k", 0)}) },
		func(h slog.Handler) slog.Handler { return h.WithGroup("credentials") },
	}
	pc := here()
	line := func(h slog.Handler, buf *bytes.Buffer, message string, level slog.Level, attrs []slog.Attr, pc uintptr) string {
		buf.Reset()
		r := record(level, message, attrs...)
		r.PC = pc
		if err := h.Handle(t.Context(), r); err != nil {
			t.Error(err)
		}
		return buf.String()
	}
	for i, first := range shapedAttrs {
		for j, second := range shapedAttrs {
			for d := range derive {
				var buf bytes.Buffer
				root := NewHandler(&buf, &Options{Service: "shop"})
				for n, message := range []string{"m", "m", "another"} { // learns, knows, and differs
					line(derive[0](root), &buf, message, slog.LevelInfo, first, pc)
					want := line(derive[d](NewHandler(&buf, &Options{Service: "shop"})), &buf, message, slog.LevelInfo, second, 0)
					if got := line(derive[d](root), &buf, message, slog.LevelInfo, second, pc); got != want {
						t.Fatalf("%d after %d, handler %d, time %d:\ngot  %swant %s", j, i, d, n, got, want)
					}
				}
			}
		}
	}
}

// TestShapesBounded: what a call site logs with keys of its own making is not
// kept.
func TestShapesBounded(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	h := NewHandler(&buf, nil).(*jsonHandler)
	pc := here()
	for i := range 100 {
		r := record(slog.LevelInfo, "m", slog.Int(fmt.Sprint("k", i), i))
		r.PC = pc
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if tried := h.sites.get(pc).shapes.tried.Load(); tried != maxShapes {
		t.Errorf("%d shapes, want %d", tried, maxShapes)
	}
	many := make([]slog.Attr, 2*maxShapeKeys)
	for i := range many {
		many[i] = slog.Int(fmt.Sprint("k", i), i)
	}
	for range 3 {
		r := record(slog.LevelInfo, strings.Repeat("m", 2*maxShapeText), many...)
		r.PC = pc + 1
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if s := h.sites.get(pc + 1).shapes.current.Load(); len(s.keys) != maxShapeKeys || s.member != nil {
		t.Errorf("a shape of %d keys and the message %s", len(s.keys), s.member)
	}
}

// TestShapesConcurrent: goroutines that log different things at one place get
// their own lines.
func TestShapesConcurrent(t *testing.T) {
	t.Parallel()
	pc := here()
	h := NewHandler(writerFunc(func(p []byte) (int, error) {
		m := decode(t, p)
		if got := fmt.Sprintf("m%v", m[fmt.Sprint("k", m["i"])]); got != m["message"] {
			t.Errorf("got %s", p)
		}
		return len(p), nil
	}), nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r := record(slog.LevelInfo, fmt.Sprint("m", g), slog.Int(fmt.Sprint("k", i%3), g), slog.Int("i", i%3))
				r.PC = pc
				if err := h.Handle(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
