package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/embedded"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// logs is a log.LoggerProvider that keeps what it gets.
type logs struct {
	embedded.LoggerProvider
	mu              sync.Mutex
	lines           []string
	flushes, closes int
	panics          bool
	res             *resource.Resource
	reports         *slog.Logger
}

type logsLogger struct {
	embedded.Logger
	*logs
}

func (l *logs) Logger(string, ...log.LoggerOption) log.Logger { return logsLogger{logs: l} }

func (l logsLogger) Enabled(context.Context, log.EnabledParameters) bool { return true }

func (l logsLogger) Emit(_ context.Context, r log.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panics {
		panic("provider")
	}
	line := fmt.Sprint(r.Severity(), " ", r.Body().AsString())
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		line += fmt.Sprint(" ", kv.Key, "=", kv.Value)
		return true
	})
	l.lines = append(l.lines, line)
}

func (l *logs) WithResource(r *resource.Resource) log.LoggerProvider { l.res = r; return l }
func (l *logs) ReportTo(r *slog.Logger)                              { l.reports = r }
func (l *logs) ForceFlush(context.Context) error                     { l.flushes++; return nil }
func (l *logs) Shutdown(context.Context) error                       { l.closes++; return errors.New("not all is out") }

type typedNil struct{}

func (*typedNil) Error() string { panic("nil") }

func TestLoggerProvider(t *testing.T) {
	t.Parallel()
	p := &logs{}
	out := &lockedBuffer{}
	tel, err := New(t.Context(), Options{Service: "shop", AgentAuth: "none", LogWriter: out, LoggerProvider: p, LogFilter: "info,payments=debug"})
	if err != nil {
		t.Fatal(err)
	}
	began := len(p.lines)
	ctx := With(t.Context(), slog.String("order.id", "o7"), slog.String("db.password", "planted"))
	logger := tel.Logger()
	logger.DebugContext(ctx, "withheld")
	logger.With("logger", "payments").DebugContext(ctx, "let through")
	logger.WithGroup("g").ErrorContext(ctx, "failed", "error", fmt.Errorf("pay: %w", errors.New("Get https://u:planted@h/: no")), "token", "planted")
	logger.Log(ctx, slog.Level(100), "very bad", "err", (*typedNil)(nil))
	logger.Log(ctx, slog.Level(-4), "g", slog.Group("h", slog.Group("secret", slog.String("a", "planted"))))
	want := []string{
		"DEBUG let through order.id=o7 db.password=[REDACTED] logger=payments",
		"ERROR failed order.id=o7 db.password=[REDACTED] g=" +
			`{"error":"pay: Get https://REDACTED@h/: no","exception.message":"pay: Get https://REDACTED@h/: no","exception.type":"*errors.errorString","token":"[REDACTED]"}`,
	}
	p.mu.Lock()
	got := p.lines[began:]
	p.mu.Unlock()
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Error(diff)
	}
	if len(got) != 3 || !strings.HasPrefix(got[2], "FATAL4 very bad") {
		t.Errorf("got %q", got[2:])
	}
	if strings.Contains(strings.Join(p.lines, "")+out.String(), "planted") {
		t.Errorf("a secret came out: %q %s", p.lines, out)
	}
	if name, _ := p.res.Set().Value("service.name"); name.AsString() != "shop" {
		t.Errorf("the resource's service: got %q", name.AsString())
	}
	if err := tel.Flush(t.Context()); err != nil || p.flushes != 1 {
		t.Errorf("flush: %v, %d times", err, p.flushes)
	}
	if err := tel.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "not all is out") || p.closes != 1 {
		t.Errorf("shutdown: %v, %d times", err, p.closes)
	}
}

// TestBridgeShields: what otelslog does not stand comes to the provider in a form
// that it does: severities in the API's range, errors with their keys.
func TestBridgeShields(t *testing.T) {
	t.Parallel()
	p := &logs{}
	h := newBridge(p, redact.New(nil))
	for level, want := range map[slog.Level]string{
		-1 << 30: "TRACE", -9: "TRACE", -8: "TRACE", slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", 15: "FATAL4", 16: "FATAL4", 1 << 30: "FATAL4",
	} {
		p.lines = nil
		if err := h.Handle(t.Context(), slog.NewRecord(time.Time{}, level, "m", 0)); err != nil || !slices.Equal(p.lines, []string{want + " m"}) {
			t.Errorf("level %d: got %q, %v", level, p.lines, err)
		}
	}
	null := slog.Any("cause", error((*typedNil)(nil)))
	for name, bound := range map[string]slog.Handler{
		"call": h, "With": h.WithAttrs([]slog.Attr{null}), "group": h.WithGroup("g"),
	} {
		p.lines = nil
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0)
		r.AddAttrs(null, slog.Group("inner", null), slog.Any("list", []error{(*typedNil)(nil)}), slog.Any("second", errors.New("no")))
		if err := bound.Handle(t.Context(), r); err != nil || len(p.lines) != 1 {
			t.Fatalf("%s: got %q, %v", name, p.lines, err)
		}
		for _, key := range []string{"cause", "inner", "list", "second", "exception.type"} {
			if !strings.Contains(p.lines[0], key) {
				t.Errorf("%s: %s is not in %s", name, key, p.lines[0])
			}
		}
	}
}

// TestLoggerProviderPanics: it costs its own copy of the record alone.
func TestLoggerProviderPanics(t *testing.T) {
	t.Parallel()
	out := &lockedBuffer{}
	tel, err := New(t.Context(), Options{AgentAuth: "none", LogWriter: out, LoggerProvider: &logs{panics: true}})
	if err != nil {
		t.Fatal(err)
	}
	tel.Logger().Info("still written")
	if !strings.Contains(out.String(), "still written") {
		t.Errorf("got %s", out)
	}
}

// TestLoggerProviderAlone: records go to one place unless both are asked for;
// our own say on stdout too what fails.
func TestLoggerProviderAlone(t *testing.T) {
	t.Parallel()
	p := &logs{}
	tel, err := build(t.Context(), Options{LoggerProvider: p}, world("DD_TRACE_STARTUP_LOGS=false"))
	if err != nil {
		t.Fatal(err)
	}
	tel.Logger().Info("program's")
	if !slices.Equal(p.lines, []string{"INFO program's"}) {
		t.Errorf("got %q", p.lines)
	}
	if p.reports != tel.internal {
		t.Errorf("its reports go to %v, want where our own go", p.reports)
	}
	if h := tel.Logger().Handler(); fmt.Sprintf("%T", h) != "*logging.filtered" {
		t.Errorf("the program's records go to %T, want the provider alone", h)
	}
	if h := tel.internal.Handler(); fmt.Sprintf("%T", h) != "*slog.MultiHandler" {
		t.Errorf("our own go to %T, want both", h)
	}
}

// TestBridgeRedacts plants a secret everywhere an attribute can have one.
func TestBridgeRedacts(t *testing.T) {
	t.Parallel()
	const planted = "hunter2"
	type config struct{ User, APIKey string }
	u := &url.URL{Scheme: "https", Host: "shop.example", User: url.User(planted)}
	attrs := []slog.Attr{
		slog.String("token", planted),
		slog.Any("config", config{"ada", planted}),
		slog.Any("pointer", &config{"ada", planted}),
		slog.Any("map", map[string]any{"inner": map[string]string{"set-cookie": planted}}),
		slog.Any("list", []any{config{"ada", planted}}),
		slog.Any("err", &url.Error{Op: "Get", URL: u.String(), Err: errors.New("refused")}),
		slog.Any("url", u),
		slog.Any("voucher", []byte(planted)),
		slog.Group("credentials", slog.String("user", planted)),
	}
	for name, emit := range map[string]func(slog.Handler, slog.Record){
		"call": func(h slog.Handler, r slog.Record) {
			r.AddAttrs(attrs...)
			h.Handle(t.Context(), r) //nolint:errcheck // to a slice
		},
		"With": func(h slog.Handler, r slog.Record) { h.WithAttrs(attrs).Handle(t.Context(), r) }, //nolint:errcheck // to a slice
		"context": func(h slog.Handler, r slog.Record) {
			h.Handle(With(t.Context(), attrs...), r) //nolint:errcheck // to a slice
		},
	} {
		records := &logs{}
		emit(newBridge(records, redact.New([]string{"voucher"})), slog.Record{Level: slog.LevelInfo, Message: "m"})
		text := strings.Join(records.lines, "\n")
		if strings.Contains(text, planted) || strings.Count(text, "REDACTED") < len(attrs) || !strings.Contains(text, `{"User":"ada","APIKey":"[REDACTED]"}`) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
