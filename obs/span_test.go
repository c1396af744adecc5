package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// recording returns a pipeline that keeps its spans, and a context in which
// Start uses it: that of a local root.
func recording(t *testing.T, opts Options) (*tracetest.SpanRecorder, context.Context) {
	t.Helper()
	rec := tracetest.NewSpanRecorder()
	opts.SpanProcessors = []sdktrace.SpanProcessor{rec}
	tel, _ := newTest(t, opts)
	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
	t.Cleanup(func() { root.End() })
	return rec, ctx
}

func attrsOf(kvs []attribute.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

func TestStart(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	ctx = With(ctx, slog.String("user.id", "u7"), slog.String("own", "outer"))
	_, span := Start(ctx, "load", slog.Int("n", 3), slog.String("own", "inner"))
	span.Set(slog.Group("cache", slog.Bool("hit", true)))
	span.End(nil)
	ended := rec.Ended()[0]
	got := attrsOf(ended.Attributes())
	for key, want := range map[string]string{"user.id": "u7", "own": "inner", "n": "3", "cache.hit": "true"} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	if ended.Name() != "load" || ended.Status().Code != codes.Unset || !ended.Parent().Equal(trace.SpanContextFromContext(ctx)) {
		t.Errorf("got %q, status %v, parent %v", ended.Name(), ended.Status(), ended.Parent())
	}
}

// TestSpansKeepSecrets: what the pipeline's keys hide is gone before a
// processor sees the span, also within a struct that prints as JSON.
func TestSpansKeepSecrets(t *testing.T) {
	t.Parallel()
	type order struct{ ID, Voucher string }
	rec, ctx := recording(t, Options{Redact: []string{"voucher"}})
	ctx = With(ctx, slog.Any("outer", order{"7", "hunter2"}))
	_, span := Start(ctx, "load", slog.Any("start", map[string]any{"order": order{"7", "hunter2"}}), slog.String("voucher", "hunter2"))
	span.Set(slog.Any("set", []order{{"7", "hunter2"}}), slog.Group("voucher", slog.String("code", "hunter2")))
	span.End(nil)
	got := attrsOf(rec.Ended()[0].Attributes())
	for key, want := range map[string]string{
		"outer": `{"ID":"7","Voucher":"[REDACTED]"}`, "start": `{"order":{"ID":"7","Voucher":"[REDACTED]"}}`,
		"set": `[{"ID":"7","Voucher":"[REDACTED]"}]`, "voucher": "[REDACTED]", "voucher.code": "[REDACTED]",
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
}

type selfless struct{ error } // an error with an odd Is and values that cannot be compared

func (selfless) Is(error) bool { panic("Is") }

type listError []string

func (e listError) Error() string { return strings.Join(e, ",") }

type boxed struct{ v any } // comparable by type, not by value

func (boxed) Error() string { return "boxed" }

// TestEndRecordsErrors: one exception event, the stack on the innermost span.
func TestEndRecordsErrors(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"plain": errors.New("plain"), "list": listError{"a", "b"}, "Is panics": selfless{errors.New("x")}, "boxed": boxed{[]int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec, ctx := recording(t, Options{})
			got := func() (e error) {
				ctx, outer := Start(ctx, "outer")
				defer outer.End(&e)
				e = func() (e error) {
					_, inner := Start(ctx, "inner")
					defer inner.End(&e)
					return err
				}()
				return fmt.Errorf("outer: %w", e)
			}()
			if got == nil {
				t.Fatal("the error is gone")
			}
			inner, outer := rec.Ended()[0], rec.Ended()[1]
			for _, s := range []sdktrace.ReadOnlySpan{inner, outer} {
				if s.Status().Code != codes.Error || len(s.Events()) != 1 || s.Events()[0].Name != "exception" {
					t.Errorf("%s: got status %v, events %v", s.Name(), s.Status(), s.Events())
				}
			}
			if kind := attrsOf(outer.Events()[0].Attributes)["exception.type"]; kind != fmt.Sprintf("%T", err) {
				t.Errorf("type: got %q, want %T", kind, err)
			}
			if stack := attrsOf(inner.Events()[0].Attributes)["exception.stacktrace"]; !strings.Contains(stack, "TestEndRecordsErrors") {
				t.Errorf("inner: got stack %q, want the test's", stack)
			}
			if _, ok := attrsOf(outer.Events()[0].Attributes)["exception.stacktrace"]; ok && name == "plain" {
				t.Error("the outer span has a stack too")
			}
		})
	}
}

func TestEndPassesPanicsOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value  any
		status codes.Code
		kind   string
	}{
		{"boom", codes.Error, "string"},
		{io.ErrUnexpectedEOF, codes.Error, "*errors.errorString"},
		{http.ErrAbortHandler, codes.Unset, ""},
	} {
		rec, ctx := recording(t, Options{})
		p := func() (p any) {
			defer func() { p = recover() }()
			var err error
			_, span := Start(ctx, "work")
			defer span.End(&err)
			panic(tt.value)
		}()
		if p != tt.value {
			t.Errorf("got panic %v, want %v", p, tt.value)
		}
		s := rec.Ended()[0]
		if s.Status().Code != tt.status {
			t.Errorf("%v: got status %v, want %v", tt.value, s.Status(), tt.status)
		}
		if tt.kind == "" {
			continue
		}
		if len(s.Events()) != 1 || attrsOf(s.Events()[0].Attributes)["exception.type"] != tt.kind {
			t.Errorf("%v: got events %v", tt.value, s.Events())
		}
	}
}

func TestEndOfAbort(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	err := fmt.Errorf("client: %w", http.ErrAbortHandler)
	_, span := Start(ctx, "work")
	span.End(&err)
	span.End(&err) // twice does no harm
	if s := rec.Ended(); len(s) != 1 || s[0].Status().Code != codes.Unset || len(s[0].Events()) != 0 {
		t.Errorf("got %v, want one span without an error", s)
	}
}

// TestStartWithoutPipeline: the code works before Init and in others' tests.
func TestStartWithoutPipeline(t *testing.T) {
	t.Parallel()
	ctx, span := Start(t.Context(), "work")
	span.Set(slog.Int("n", 1))
	span.End(nil)
	Keep(ctx)
	Drop(ctx)
}

// TestEndKeepsSecrets: an error's text quotes URLs whole.
func TestEndKeepsSecrets(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	err := fmt.Errorf("load: %w", &url.Error{Op: "Get", URL: "https://u:planted@a.example/?X-Goog-Signature=planted", Err: io.EOF})
	_, span := Start(ctx, "work")
	span.End(&err)
	func() {
		defer func() { _ = recover() }()
		_, span := Start(ctx, "work")
		defer span.End(nil)
		panic("no answer from https://a.example/?token=planted")
	}()
	for _, s := range rec.Ended() {
		text := s.Status().Description + fmt.Sprint(attrsOf(s.Events()[0].Attributes))
		if strings.Contains(text, "planted") || !strings.Contains(text, "a.example") {
			t.Errorf("got %s", text)
		}
	}
}

// TestPanicsStackOnce: the innermost span alone has it.
func TestPanicsStackOnce(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	func() {
		defer func() { _ = recover() }()
		ctx, outer := Start(ctx, "outer")
		defer outer.End(nil)
		_, inner := Start(ctx, "inner")
		defer inner.End(nil)
		panic("boom")
	}()
	for i, want := range []bool{true, false} {
		s := rec.Ended()[i]
		if _, got := attrsOf(s.Events()[0].Attributes)["exception.stacktrace"]; got != want {
			t.Errorf("%s: has a stack: got %t, want %t", s.Name(), got, want)
		}
	}
}
