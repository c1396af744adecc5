package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestWriteErrors: a record that was lost is an error to who asks, counted by
// OnError, and nothing to the program.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	for _, tt := range []struct {
		name  string
		write writerFunc
		want  string
	}{
		{"fails", func([]byte) (int, error) { return 0, broken }, "logging: write: broken pipe"},
		{"short", func(p []byte) (int, error) { return len(p) - 1, nil }, "logging: write: short write"},
		{"panics", func([]byte) (int, error) { panic("writer") }, "logging: write: panic: writer"},
	} {
		for _, newHandler := range []func(io.Writer, *Options) slog.Handler{NewHandler, NewTextHandler} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				var seen []error
				h := newHandler(tt.write, &Options{OnError: func(err error) { seen = append(seen, err) }})
				for range 2 { // the second must not find the lock held
					if err := h.Handle(context.Background(), record(slog.LevelInfo, "m")); err == nil || err.Error() != tt.want {
						t.Errorf("got %v, want %s", err, tt.want)
					}
				}
				if len(seen) != 2 || seen[0].Error() != tt.want {
					t.Errorf("OnError: got %v", seen)
				}
			})
		}
	}
	h := NewHandler(writerFunc(func([]byte) (int, error) { return 0, broken }), nil)
	if err := h.Handle(context.Background(), record(slog.LevelInfo, "m")); !errors.Is(err, broken) {
		t.Errorf("got %v, which does not wrap the writer's error", err)
	}
}

// TestTornLine: after a line that was written in part the next one begins on
// its own, and is followed by the number of those that were lost.
func TestTornLine(t *testing.T) {
	t.Parallel()
	for name, newHandler := range map[string]func(io.Writer, *Options) slog.Handler{"JSON": NewHandler, "text": NewTextHandler} {
		out := &sink{}
		lost := 0
		logger := slog.New(newHandler(out, &Options{OnError: func(error) { lost++ }}))
		out.set(errors.New("no space"), 0)
		logger.Info("gone, and nothing torn")
		out.set(nil, 0)
		logger.Info("whole")
		out.set(errors.New("no space"), 20)
		logger.Info("torn")
		out.set(errors.New("no space"), 0)
		logger.Info("gone")
		out.set(nil, 0)
		logger.Info("whole")
		logger.Info("whole too")
		text, writes := out.state()
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		want := []string{"whole", "dropped 1", "", "whole", "dropped 2", "whole too"}
		if len(lines) != len(want) || len(lines[2]) != 21 || lost != 3 || writes != 9 {
			t.Fatalf("%s: %d lost, %d writes, of %q", name, lost, writes, lines)
		}
		for i, l := range lines {
			if i == 2 { // the torn one
				continue
			}
			said := strings.NewReplacer(`dropped":`, "dropped ", "dropped=", "dropped ").Replace(l)
			if !strings.Contains(said, want[i]) {
				t.Errorf("%s: line %d: got %s, want %s", name, i, l, want[i])
			}
			if name == "JSON" {
				decode(t, []byte(strings.TrimSuffix(l, "\n")+"\n"))
			}
		}
	}
}

// TestLossReportFails: a report that cannot be written is made again, with
// what was lost since.
func TestLossReportFails(t *testing.T) {
	t.Parallel()
	var kept []string
	fails := map[int]bool{1: true, 3: true, 4: true} // the first record, the report after the second, the third
	n := 0
	w := writerFunc(func(p []byte) (int, error) {
		if n++; fails[n] {
			return 0, errors.New("no space")
		}
		kept = append(kept, string(p))
		return len(p), nil
	})
	logger := slog.New(NewHandler(w, nil))
	for range 5 {
		logger.Info("m")
	}
	if len(kept) != 4 || !strings.Contains(kept[2], `"dropped":2}`) || strings.Contains(kept[3], "dropped") {
		t.Errorf("got %q", kept)
	}
}

// TestSystemErrors: what the kernel says of a pipe without a reader and of a
// full disk reaches who asks, and nobody else. It is not parallel: a process that
// another test starts has, for a moment, the pipe's reader.
func TestSystemErrors(t *testing.T) {
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close() //nolint:errcheck // nothing was written
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[error]*os.File{syscall.EPIPE: pipe}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil { // Linux has it
		defer full.Close() //nolint:errcheck // nothing was written
		files[syscall.ENOSPC] = full
	}
	for want, f := range files {
		for name, w := range map[string]io.Writer{"plain": f, "buffered": &BufferedWriter{W: f}} {
			var seen []error
			see := func(err error) { seen = append(seen, err) }
			opts := &Options{OnError: see}
			if b, ok := w.(*BufferedWriter); ok {
				b.OnError, opts.OnError = see, nil
			}
			slog.New(NewHandler(w, opts)).Error("m")
			if len(seen) != 1 || !errors.Is(seen[0], want) {
				t.Errorf("%v, %s: got %v", want, name, seen)
			}
		}
	}
}

// TestConcurrent: each line is one Write, whole, whoever else logs.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	filter, err := ParseFilter("error," + thisPackage + "=info")
	if err != nil {
		t.Fatal(err)
	}
	var writes [][]byte // the handler's lock keeps Writes apart
	logger := slog.New(NewHandler(writerFunc(func(p []byte) (int, error) {
		writes = append(writes, bytes.Clone(p))
		return len(p), nil
	}), &Options{AddSource: true, Filter: filter}))
	ctx := obsctx.WithFields(spanCtx(), []slog.Attr{slog.String("tenant", "acme")})
	const goroutines, records = 8, 50
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			l := logger.With("g", g).WithGroup("in")
			for i := range records {
				l.ErrorContext(ctx, "m", "i", i, "any", map[string]int{"g": g}, "err", fmt.Errorf("%d", i))
			}
		})
	}
	wg.Wait()
	if len(writes) != goroutines*records {
		t.Fatalf("%d writes, want %d", len(writes), goroutines*records)
	}
	for _, w := range writes {
		m := decode(t, w)
		in := m["in"].(map[string]any)
		if m["tenant"] != "acme" || m["g"] != in["any"].(map[string]any)["g"] || m["error.message"] != fmt.Sprint(in["i"]) {
			t.Fatalf("mixed up: %s", w)
		}
	}
}

// TestFieldsEncodedOnce: the values of a context's fields are asked once a
// handler, and each handler has its own form.
func TestFieldsEncodedOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	count := valuerFunc(func() slog.Value { asked++; return slog.StringValue("v") })
	ctx := obsctx.WithFields(context.Background(), []slog.Attr{slog.Any("k", count)})
	inner := obsctx.WithFields(ctx, []slog.Attr{slog.Int("n", 1)})
	var json, text strings.Builder
	handlers := []slog.Handler{NewHandler(&json, nil), NewTextHandler(&text, nil)}
	for _, h := range handlers {
		for range 3 {
			for _, c := range []context.Context{inner, ctx} {
				if err := h.WithGroup("g").Handle(c, record(slog.LevelInfo, "m")); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if asked != len(handlers) {
		t.Errorf("asked %d times, want %d", asked, len(handlers))
	}
	if strings.Count(json.String(), `"k":"v","n":1`) != 3 || strings.Count(text.String(), "k=v n=1") != 3 {
		t.Errorf("got\n%s%s", &json, &text)
	}
}

type valuerFunc func() slog.Value

func (f valuerFunc) LogValue() slog.Value { return f() }

// TestWriteEndsItsGoroutine: as t.Fatal in a test's Writer does. Others go on
// to log; with the lock still held this test would wait for ever.
func TestWriteEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	fatal := true
	h := NewHandler(writerFunc(func(p []byte) (int, error) {
		if fatal {
			fatal = false
			runtime.Goexit()
		}
		return out.Write(p)
	}), nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Handle(context.Background(), record(slog.LevelInfo, "first")) //nolint:errcheck // does not return
	}()
	<-ended
	if err := h.Handle(context.Background(), record(slog.LevelInfo, "second")); err != nil || !strings.Contains(out.String(), "second") {
		t.Errorf("got %v, %q", err, &out)
	}
}
