package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// crash is the form that Error Reporting parses: message, empty line,
// goroutine, frames of two lines.
var crash = regexp.MustCompile(`^(?s:.*)\n\ngoroutine \d+ \[running\]:\n(?:[^\t\n][^\n]*\n\t[^\n]+:\d+[^\n]*\n)+`)

// TestReport: an error record has what Error Reporting and Datadog group it
// by, and its stack begins with the function that logged.
func TestReport(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := slog.New(NewHandler(&buf, &Options{Service: "shop", Version: "3"})).WithGroup("g").With("bound", 1)
	fail(logger)
	m := decode(t, buf.Bytes())
	stack, _ := m["stack_trace"].(string)
	if !crash.MatchString(stack) || !strings.HasPrefix(stack, "cannot load\n\n") {
		t.Errorf("stack_trace has not the form of a crash:\n%s", stack)
	}
	_, frames, _ := strings.Cut(stack, "[running]:\n")
	if want := "github.com/kumihimo/kumihimo/obs/logging.fail("; !strings.HasPrefix(frames, want) {
		t.Errorf("the stack does not begin with %s:\n%s", want, stack)
	}
	report, _ := m["context"].(map[string]any)["reportLocation"].(map[string]any)
	if report["functionName"] != "github.com/kumihimo/kumihimo/obs/logging.fail" || report["lineNumber"] == json.Number("0") {
		t.Errorf("reportLocation: got %v", report)
	}
	for _, k := range []string{"stack_trace", "context", "time"} {
		delete(m, k)
	}
	want := map[string]any{
		"severity": "ERROR", "message": "cannot load", "dd.service": "shop", "dd.version": "3",
		"g":              map[string]any{"bound": json.Number("1"), "cause": "load: open /x: file does not exist", "second": "no"},
		"@type":          "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent",
		"serviceContext": map[string]any{"service": "shop", "version": "3"},
		"error.message":  "load: open /x: file does not exist",
		"error.kind":     "*fs.PathError",
		"error.causes": []any{
			map[string]any{"kind": "*fs.PathError", "message": "open /x: file does not exist"},
			map[string]any{"kind": "*errors.errorString", "message": "file does not exist"},
		},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

//go:noinline
func fail(logger *slog.Logger) {
	err := fmt.Errorf("load: %w", &os.PathError{Op: "open", Path: "/x", Err: os.ErrNotExist})
	logger.Error("cannot load", "cause", err, "second", errors.New("no"))
}

func TestReportFields(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	request := slog.Any("httpRequest", &HTTPRequest{Method: "GET", Status: 500})
	for _, tt := range []struct {
		name    string
		level   slog.Level
		ctx     context.Context
		with    []slog.Attr
		attrs   []slog.Attr
		want    map[string]any // nil: absent
		noStack bool
	}{
		{name: "warning", level: slog.LevelWarn, attrs: []slog.Attr{slog.Any("err", boom)}, noStack: true,
			want: map[string]any{"err": "boom", "error.message": nil, "error.kind": nil, "@type": nil, "serviceContext": nil, "context": nil}},
		{name: "bound error", level: slog.LevelError, with: []slog.Attr{slog.Any("err", boom)},
			want: map[string]any{"error.message": "boom", "error.kind": "*errors.errorString"}},
		{name: "the call's error comes first", level: slog.LevelError, with: []slog.Attr{slog.Any("err", boom)}, attrs: []slog.Attr{slog.Any("e2", os.ErrExist)},
			want: map[string]any{"error.message": "file already exists"}},
		{name: "no error", level: LevelAlert,
			want: map[string]any{"error.message": nil, "error.kind": nil, "serviceContext": map[string]any{"service": "shop"}}},
		{name: "the user's stand", level: slog.LevelError,
			attrs: []slog.Attr{slog.Any("err", boom), slog.String("error.kind", "mine"), slog.String("error.message", "my own"), slog.String("stack_trace", "there")},
			want:  map[string]any{"error.kind": "mine", "error.message": "my own", "stack_trace": "there"}, noStack: true},
		{name: "the bound ones stand", level: slog.LevelError, with: []slog.Attr{slog.String("error.kind", "mine")}, attrs: []slog.Attr{slog.Any("err", boom)},
			want: map[string]any{"error.kind": "mine", "error.message": "boom"}},
		{name: "the context's stand", level: slog.LevelError, ctx: obsctx.WithFields(context.Background(), []slog.Attr{slog.String("error.kind", "mine")}), attrs: []slog.Attr{slog.Any("err", boom)},
			want: map[string]any{"error.kind": "mine", "error.message": "boom"}},
		{name: "access record", level: slog.LevelError, attrs: []slog.Attr{request}, noStack: true,
			want: map[string]any{"stack_trace": nil, "httpRequest": map[string]any{"requestMethod": "GET", "status": json.Number("500")}}},
		{name: "typed nil", level: slog.LevelError, attrs: []slog.Attr{slog.Any("err", (*pointerError)(nil))},
			want: map[string]any{"error.message": "<nil>", "error.kind": "*logging.pointerError"}},
		{name: "a secret error", level: slog.LevelError, attrs: []slog.Attr{slog.Any("token", boom)},
			want: map[string]any{"token": "[REDACTED]", "error.message": nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			h := NewHandler(&buf, &Options{Service: "shop"}).WithAttrs(tt.with)
			r := record(tt.level, "m", tt.attrs...)
			r.PC = here()
			if err := h.Handle(tt.ctx, r); err != nil {
				t.Fatal(err)
			}
			m := decode(t, buf.Bytes())
			for k, want := range tt.want {
				if got := m[k]; !cmp.Equal(want, got) {
					t.Errorf("%s: got %v, want %v", k, got, want)
				}
			}
			if stack, _ := m["stack_trace"].(string); crash.MatchString(stack) == tt.noStack {
				t.Errorf("stack_trace: %q", stack)
			}
		})
	}
}

// TestStackSize: a deep stack keeps its innermost frames, whole lines of them.
func TestStackSize(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	deep(300, func() {
		slog.New(NewHandler(&buf, nil)).Error(strings.Repeat("é", 2000), "k", 1)
	})
	m := decode(t, buf.Bytes())
	stack := m["stack_trace"].(string)
	if len(stack) > maxStack || len(stack) < maxStack-500 || !strings.HasSuffix(stack, "\n") || !crash.MatchString(stack) {
		t.Errorf("%d bytes:\n%s", len(stack), stack)
	}
	if !strings.Contains(stack, "TestStackSize.func1") {
		t.Errorf("the caller is missing:\n%s", stack)
	}
}

//go:noinline
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

// TestStackOfAnotherGoroutine: the stack at hand is not the caller's.
func TestStackOfAnotherGoroutine(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	r := record(slog.LevelError, "m", slog.Int("k", 1))
	r.PC = here()
	done := make(chan error)
	go func() { done <- NewHandler(&buf, nil).Handle(context.Background(), r) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stack := decode(t, buf.Bytes())["stack_trace"].(string)
	if !crash.MatchString(stack) || strings.Count(stack, "\n\t") != 1 || !strings.Contains(stack, "TestStackOfAnotherGoroutine") {
		t.Errorf("want the caller's frame alone:\n%s", stack)
	}
}
