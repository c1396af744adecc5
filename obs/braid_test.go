package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/chiobs"
)

// braided returns a pipeline that keeps its spans.
func braided(t *testing.T, opts Options) (*Telemetry, *tracetest.SpanRecorder) {
	t.Helper()
	rec := tracetest.NewSpanRecorder()
	opts.SpanProcessors = []sdktrace.SpanProcessor{rec}
	tel, _ := newTest(t, opts)
	return tel, rec
}

// spanOf runs f in a span of kind and returns it, ended.
func spanOf(t *testing.T, tel *Telemetry, rec *tracetest.SpanRecorder, kind trace.SpanKind, f func(context.Context)) sdktrace.ReadOnlySpan {
	t.Helper()
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "outer", trace.WithSpanKind(kind))
	f(ctx)
	span.End()
	ended := rec.Ended()
	return ended[len(ended)-1]
}

func TestLoggedErrorsAreEvents(t *testing.T) {
	t.Parallel()
	failure := errors.New("card declined")
	type want struct{ kind, message string }
	for _, tt := range []struct {
		name string
		opts Options
		log  func(context.Context, *slog.Logger)
		want []want
	}{
		{"an error", Options{}, func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "pay", "error", failure) },
			[]want{{"*errors.errorString", "card declined"}}},
		{"bound", Options{}, func(ctx context.Context, l *slog.Logger) { l.With("error", failure).ErrorContext(ctx, "pay") },
			[]want{{"*errors.errorString", "card declined"}}},
		{"text", Options{LogFormat: "text"}, func(ctx context.Context, l *slog.Logger) {
			l.ErrorContext(ctx, "pay", "error", failure)
			l.With("error", failure).ErrorContext(ctx, "pay")
		}, []want{{"*errors.errorString", "card declined"}}},
		{"no error", Options{}, func(ctx context.Context, l *slog.Logger) {
			l.ErrorContext(ctx, "pay failed")
			l.ErrorContext(ctx, "pay failed")
			l.ErrorContext(ctx, "refund failed")
		}, []want{{"", "pay failed"}, {"", "refund failed"}}},
		{"again, wrapped and unwrapped", Options{}, func(ctx context.Context, l *slog.Logger) {
			wrapped := fmt.Errorf("pay: %w", failure)
			l.ErrorContext(ctx, "pay", "error", wrapped)
			l.ErrorContext(ctx, "pay", "error", failure)
			l.ErrorContext(ctx, "pay", "error", fmt.Errorf("order: %w", wrapped))
		}, []want{{"*errors.errorString", "pay: card declined"}}},
		{"two errors", Options{}, func(ctx context.Context, l *slog.Logger) {
			l.ErrorContext(ctx, "pay", "error", failure)
			l.ErrorContext(ctx, "pay", "error", errors.New("card declined"))
		}, []want{{"*errors.errorString", "card declined"}, {"*errors.errorString", "card declined"}}},
		{"below", Options{}, func(ctx context.Context, l *slog.Logger) { l.WarnContext(ctx, "pay", "error", failure) }, nil},
		{"from WARN", Options{SpanEventLevel: slog.LevelWarn}, func(ctx context.Context, l *slog.Logger) { l.WarnContext(ctx, "pay", "error", failure) },
			[]want{{"*errors.errorString", "card declined"}}},
		{"never", Options{SpanEventLevel: slog.Level(math.MaxInt)}, func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "pay", "error", failure) }, nil},
		{"filtered", Options{LogFilter: "off"}, func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "pay", "error", failure) },
			[]want{{"*errors.errorString", "card declined"}}},
		{"filtered by package", Options{LogFilter: "info,github.com/kumihimo/kumihimo/obs=off"}, func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "pay", "error", failure) },
			[]want{{"*errors.errorString", "card declined"}}},
		{"no span", Options{}, func(_ context.Context, l *slog.Logger) { l.Error("pay", "error", failure) }, nil},
		{"a secret", Options{}, func(ctx context.Context, l *slog.Logger) {
			l.ErrorContext(ctx, "get https://a.example/?token=planted")
		}, []want{{"", "get https://a.example/?token=REDACTED"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, rec := braided(t, tt.opts)
			s := spanOf(t, tel, rec, trace.SpanKindInternal, func(ctx context.Context) { tt.log(ctx, tel.Logger()) })
			var got []want
			for _, e := range s.Events() {
				a := attrsOf(e.Attributes)
				got = append(got, want{a["exception.type"], a["exception.message"]})
				if stack := a["exception.stacktrace"]; !strings.HasPrefix(stack, "goroutine ") || !strings.Contains(stack, "TestLoggedErrorsAreEvents") {
					t.Errorf("stack: got %q", stack)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if s.Status().Code != codes.Unset {
				t.Errorf("status: got %v, want none", s.Status())
			}
		})
	}
}

// TestLoggedAndReturned: logged where it happened, returned through two spans.
func TestLoggedAndReturned(t *testing.T) {
	t.Parallel()
	tel, rec := braided(t, Options{})
	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "request", trace.WithSpanKind(trace.SpanKindServer))
	outer := func(ctx context.Context) (err error) {
		ctx, span := Start(ctx, "outer")
		defer span.End(&err)
		inner := func(ctx context.Context) (err error) {
			ctx, span := Start(ctx, "inner")
			defer span.End(&err)
			err = fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
			tel.Logger().ErrorContext(ctx, "cannot read", "error", err)
			return err
		}
		if err := inner(ctx); err != nil {
			tel.Logger().ErrorContext(ctx, "inner failed", "error", err)
			return fmt.Errorf("outer: %w", err)
		}
		return nil
	}
	err := outer(ctx)
	tel.Logger().ErrorContext(ctx, "request failed", "error", err)
	root.End()
	for i, want := range []struct {
		name, message string
		status        codes.Code
		stack         bool
	}{
		{"inner", "read: unexpected EOF", codes.Error, true},
		{"outer", "read: unexpected EOF", codes.Error, false}, // as it was first seen there
		{"request", "outer: read: unexpected EOF", codes.Unset, false},
	} {
		s := rec.Ended()[i]
		if s.Name() != want.name || len(s.Events()) != 1 || s.Status().Code != want.status {
			t.Fatalf("%s: got %d events, status %v", s.Name(), len(s.Events()), s.Status())
		}
		a := attrsOf(s.Events()[0].Attributes)
		if _, stack := a["exception.stacktrace"]; a["exception.message"] != want.message || stack != want.stack {
			t.Errorf("%s: got %v", s.Name(), a)
		}
	}
}

func TestSpanEventStatus(t *testing.T) {
	t.Parallel()
	for kind, want := range map[trace.SpanKind]codes.Code{
		trace.SpanKindInternal: codes.Error, trace.SpanKindClient: codes.Error, trace.SpanKindServer: codes.Unset,
	} {
		tel, rec := braided(t, Options{SpanEventStatus: true})
		s := spanOf(t, tel, rec, kind, func(ctx context.Context) { tel.Logger().ErrorContext(ctx, "m", "error", io.EOF) })
		if s.Status().Code != want || len(s.Events()) != 1 {
			t.Errorf("%v: got %v with %d events, want %v with one", kind, s.Status(), len(s.Events()), want)
		}
	}
}

// TestPanicOfARequest: the stack is on the innermost span, which the server's
// is where there is no other.
func TestPanicOfARequest(t *testing.T) {
	t.Parallel()
	for _, inner := range []bool{true, false} {
		tel, rec := braided(t, Options{})
		h := chiobs.Config{Provider: tel.TracerProvider()}.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if inner {
				_, span := Start(r.Context(), "inner")
				defer span.End(nil)
			}
			explode()
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		for i, s := range rec.Ended() {
			if len(s.Events()) != 1 || s.Status().Code != codes.Error {
				t.Fatalf("%s: got %d events, %v", s.Name(), len(s.Events()), s.Status())
			}
			if stack := attrsOf(s.Events()[0].Attributes)["exception.stacktrace"]; strings.Contains(stack, "obs.explode(") != (i == 0) {
				t.Errorf("%s: got stack %q", s.Name(), stack)
			}
		}
	}
}

// TestStackOfTheError: the one it brings along is nearer to the fault.
type traced struct{ pcs []uintptr }

func (traced) Error() string          { return "traced" }
func (e traced) Callers() []uintptr   { return e.pcs }
func (e *traced) Is(other error) bool { return other == error(e) }

func TestStackOfTheError(t *testing.T) {
	t.Parallel()
	tel, rec := braided(t, Options{})
	err := error(&traced{callersOfOrigin()})
	s := spanOf(t, tel, rec, trace.SpanKindInternal, func(ctx context.Context) {
		tel.Logger().ErrorContext(ctx, "m", "error", err)
		_, span := Start(ctx, "work")
		span.End(&err)
	})
	if stack := attrsOf(s.Events()[0].Attributes)["exception.stacktrace"]; !strings.Contains(stack, "callersOfOrigin") {
		t.Errorf("got %s", stack)
	}
}
