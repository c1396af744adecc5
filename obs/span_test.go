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

type shelf struct{}

func (*shelf) Load(ctx context.Context) string {
	_, span := Start(ctx, "")
	defer span.End(nil)
	s, _ := span.span.(sdktrace.ReadOnlySpan)
	return s.Name()
}

func generic[T any](ctx context.Context, _ T) string {
	return (&shelf{}).Load(ctx) + nameOf(generic[T])
}

func TestStartNames(t *testing.T) {
	t.Parallel()
	_, ctx := recording(t, Options{})
	for got, want := range map[string]string{
		(&shelf{}).Load(ctx):    "obs.shelf.Load",
		generic(ctx, 7):         "obs.shelf.Loadobs.generic.func1",
		nameOf((&shelf{}).Load): "obs.shelf.Load",
		nameOf(nil):             "unknown",
		functionName("gopkg.in/yaml%2ev3.(*Decoder[go.shape.struct { a/b.C }]).Decode.func1"): "yaml.v3.Decoder.Decode.func1",
		functionName("main.main"): "main.main",
		functionName(""):          "unknown",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKindAndLinks(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	message := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	_, span := Start(ctx, "work", Kind(trace.SpanKindConsumer), slog.Int("n", 1), Link(message, slog.String("message.id", "m7")))
	span.Set(Link(message), Kind(trace.SpanKindServer), slog.Int("m", 2))
	span.End(nil)
	s := rec.Ended()[0]
	if s.SpanKind() != trace.SpanKindConsumer || len(s.Links()) != 2 || !s.Links()[0].SpanContext.Equal(message) || attrsOf(s.Links()[0].Attributes)["message.id"] != "m7" {
		t.Errorf("got %v, links %v", s.SpanKind(), s.Links())
	}
	if a := attrsOf(s.Attributes()); a["n"] != "1" || a["m"] != "2" || len(a) != 2 {
		t.Errorf("got %v", a)
	}
}

// TestMisuse: nil contexts and spans, an End too many, one too late.
func TestMisuse(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	var none *Span
	none.Set(slog.Int("n", 1))
	none.End(nil)
	new(Span).Set()
	new(Span).End(nil)
	empty, span := Start(nil, "work") //nolint:staticcheck // on purpose
	span.End(nil)
	if empty == nil || With(nil, slog.Int("n", 1)) == nil || With(nil) == nil { //nolint:staticcheck // on purpose
		t.Error("got a nil context")
	}
	Keep(nil) //nolint:staticcheck // on purpose
	Drop(nil) //nolint:staticcheck // on purpose

	_, span = Start(ctx, "elsewhere")
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := errors.New("x")
		span.End(&err)
	}()
	<-done
	err := errors.New("late")
	span.End(&err)
	span.Set(slog.Int("late", 1))
	if s := rec.Ended(); len(s) != 1 || s[0].Status().Description != "x" || len(s[0].Events()) != 1 || len(s[0].Attributes()) != 0 {
		t.Errorf("got %v", s)
	}
	var fine error
	_, span = Start(ctx, "fine")
	span.End(&fine)
	if s := rec.Ended()[1]; s.Status().Code != codes.Unset {
		t.Errorf("got %v", s.Status())
	}
}

// TestCausesAndStack: the chain beneath the error, and a stack that begins at
// the function which failed.
func TestCausesAndStack(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	load := func() (err error) {
		_, span := Start(ctx, "load")
		defer span.End(&err)
		return fmt.Errorf("load: %w", errors.Join(io.EOF, fmt.Errorf("close: %w", listError{"a"})))
	}
	if load() == nil {
		t.Fatal("no error")
	}
	a := attrsOf(rec.Ended()[0].Events()[0].Attributes)
	if got, want := a["error.causes"], `["*errors.errorString: EOF","obs.listError: a"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if lines := strings.SplitN(a["exception.stacktrace"], "\n", 3); !strings.Contains(lines[1], "obs.TestCausesAndStack.func1(") {
		t.Errorf("got %s", a["exception.stacktrace"])
	}
}

// TestPanicStack begins where the panic happened, however many spans it passed.
func TestPanicStack(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	var m map[string]int
	for name, f := range map[string]func(){"boom": explode, "runtime error": func() { m["x"] = 1 }, "nil": func() { _ = *(*int)(nil) }} {
		before := len(rec.Ended())
		func() {
			defer func() { _ = recover() }()
			ctx, outer := Start(ctx, "outer")
			defer outer.End(nil)
			_, inner := Start(ctx, "inner")
			defer inner.End(nil)
			f()
		}()
		a := attrsOf(rec.Ended()[before].Events()[0].Attributes)
		first := strings.SplitN(a["exception.stacktrace"], "\n", 3)[1]
		if !strings.Contains(first, "obs.explode(") && !strings.Contains(first, "obs.TestPanicStack.func") {
			t.Errorf("%s: got %s", name, a["exception.stacktrace"])
		}
	}
}
