package obs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/chiobs"
)

func callersOfOrigin() []uintptr {
	pcs := make([]uintptr, 8)
	return pcs[:runtime.Callers(1, pcs)]
}

// messages are the texts of log lines, of those that start with a word of
// the test's.
func messages(log string) (list []string) {
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, `"message":"`); ok && !strings.Contains(line, `"logger":"kumihimo"`) {
			m, _, _ := strings.Cut(rest, `"`)
			list = append(list, m)
		}
	}
	return list
}

func TestFlightRecorder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, filter string
		handler      func(context.Context, *slog.Logger, http.ResponseWriter)
		want         string
	}{
		{"well", "", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			l.DebugContext(ctx, "a")
			l.InfoContext(ctx, "b")
		},
			"b|GET 200"},
		{"an error is logged", "", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			l.DebugContext(ctx, "a")
			l.ErrorContext(ctx, "b")
			l.DebugContext(ctx, "c")
		}, "a|b|GET 200|c"},
		{"500", "", func(ctx context.Context, l *slog.Logger, w http.ResponseWriter) {
			l.DebugContext(ctx, "a")
			w.WriteHeader(500)
		}, "a|GET 500"},
		{"500 and no record of it", "off", func(ctx context.Context, l *slog.Logger, w http.ResponseWriter) {
			l.WarnContext(ctx, "a")
			w.WriteHeader(500)
		}, "a|GET 500"},
		{"a panic", "", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			l.DebugContext(ctx, "a")
			panic("boom")
		}, "a|panic: boom|GET 500"},
		{"kept", "", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			l.DebugContext(ctx, "a")
			Keep(ctx)
			l.InfoContext(ctx, "b")
		}, "a|b|GET 200"},
		{"by package", "info,github.com/kumihimo/kumihimo/obs=error", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			l.InfoContext(ctx, "a")
			l.ErrorContext(ctx, "b")
		}, "a|b|GET 200"},
		{"below the recorder's level", "", func(ctx context.Context, l *slog.Logger, w http.ResponseWriter) {
			l.Log(ctx, slog.LevelDebug-1, "a")
			if l.Enabled(ctx, slog.LevelDebug-1) || !l.Enabled(ctx, slog.LevelDebug) || l.Enabled(context.Background(), slog.LevelDebug) {
				panic("Enabled")
			}
			w.WriteHeader(500)
		}, "GET 500"},
		{"inner spans", "", func(ctx context.Context, l *slog.Logger, _ http.ResponseWriter) {
			err := errors.New("x")
			inner, span := Start(ctx, "work")
			l.DebugContext(inner, "a")
			span.End(&err) // the request has not failed by that
			l.DebugContext(ctx, "b")
		}, "GET 200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, out := newTest(t, Options{LogFormat: "json", LogFilter: tt.filter, FlightRecorder: &FlightRecorder{}})
			h := chiobs.Config{Provider: tel.TracerProvider()}.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tt.handler(r.Context(), tel.Logger(), w)
			}))
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			if got := strings.Join(messages(out.String()), "|"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestFlightRecorderOfJobs: what the outermost Start times is a request.
func TestFlightRecorderOfJobs(t *testing.T) {
	t.Parallel()
	tel, out := newTest(t, Options{LogFormat: "json", FlightRecorder: &FlightRecorder{Slow: time.Nanosecond, PerSecond: 3}})
	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
	defer root.End()
	work := func(err error) {
		ctx, span := Start(ctx, "message", Kind(trace.SpanKindConsumer))
		defer span.End(&err)
		tel.Logger().DebugContext(ctx, "a")
		_, inner := Start(ctx, "inner")
		inner.End(&err)
		tel.Logger().DebugContext(ctx, "b")
	}
	work(errors.New("x"))
	work(nil) // is slow
	if got := strings.Join(messages(out.String()), "|"); got != "a|b|a|b" {
		t.Errorf("got %s", got)
	}
	if got, want := tel.Stats().FlightRecorder, (FlightStats{Written: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestFlightKeepsTimeAndTrace: a kept record is as if it had been written at
// once; of those that were dropped a note has the count, under the same trace.
func TestFlightKeepsTimeAndTrace(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		tel, out := newTest(t, Options{LogFormat: format, FlightRecorder: &FlightRecorder{Records: 4}})
		ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
		ctx, span := Start(ctx, "work")
		h := tel.Logger().Handler()
		at := time.Date(2026, 3, 1, 12, 30, 0, 123e6, time.UTC)
		for i := range 6 {
			r := slog.NewRecord(at.Add(time.Duration(i)*time.Millisecond), slog.LevelDebug, "kept", 0)
			r.AddAttrs(slog.Int("i", i), slog.String("password", "planted"))
			if err := h.Handle(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		Keep(ctx)
		span.End(nil)
		root.End()
		log := out.String()
		id := trace.SpanContextFromContext(ctx).TraceID().String()
		if format == "text" {
			id = id[len(id)-8:]
		}
		for _, want := range []string{"12:30:00.125", "12:30:00.128", "dropped"} {
			if !strings.Contains(log, want) {
				t.Errorf("%s: the log lacks %q:\n%s", format, want, log)
			}
		}
		if got := strings.Count(log, id); got < 5 || strings.Contains(log, "12:30:00.124") || strings.Contains(log, "planted") {
			t.Errorf("%s: got\n%s", format, log)
		}
	}
}

// TestFlightRecorderWithoutWriter: a recorder that could write nowhere is a
// mistake, and is said to be one.
func TestFlightRecorderWithoutWriter(t *testing.T) {
	t.Parallel()
	opts := Options{FlightRecorder: &FlightRecorder{}, LoggerProvider: &logs{}}
	_, err := build(t.Context(), opts, world())
	if err == nil || !strings.Contains(err.Error(), "Options.FlightRecorder: needs a LogWriter") {
		t.Errorf("got %v", err)
	}
	opts.LogWriter = io.Discard
	tel, err := build(t.Context(), opts, world())
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err == nil {
		t.Error("the provider's error was skipped") // see logs.Shutdown
	}
}
