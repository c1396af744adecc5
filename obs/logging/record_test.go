package logging

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

var update = flag.Bool("update", false, "write the golden files")

func spanCtx() context.Context {
	return trace.ContextWithSpanContext(context.Background(), spanContext())
}

var recordTime = time.Date(2026, 3, 1, 12, 30, 5, 678_900_000, time.UTC)

func record(level slog.Level, message string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(recordTime, level, message, 0)
	r.AddAttrs(attrs...)
	return r
}

// here is the caller's program counter, as a Logger records it.
func here() uintptr {
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return pcs[0]
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: want -, got +:\n%s", name, diff)
	}
}

var goldenRecords = []struct {
	name   string
	ctx    context.Context
	with   func(slog.Handler) slog.Handler
	record slog.Record
}{
	{name: "plain", record: record(slog.LevelInfo, "listening", slog.String("addr", ":8080"))},
	{name: "bare", record: record(slog.LevelDebug, "nothing to add")},
	{name: "span", ctx: spanCtx(), record: record(slog.LevelInfo, "order placed",
		slog.Time("placed", recordTime), slog.Duration("elapsed", 1534*time.Microsecond),
		slog.Any("error", errors.New("payment: card declined")), slog.Int("items", 3), slog.Float64("total", 1299.5),
		slog.String("comment", "said \"thanks\"\nand left"), slog.Bool("gift", true),
		slog.Group("address", slog.String("city", "Kyoto"), slog.String("zip", "600-8216")))},
	{name: "no span yet", ctx: trace.ContextWithSpanContext(context.Background(), spanContext().WithSpanID(trace.SpanID{})),
		record: record(LevelNotice, "trace id adopted", slog.Int("n", 1))},
	{name: "front end", ctx: obsctx.WithTrace(spanCtx(), &obsctx.Trace{ID: spanContext().TraceID(), FrontEnd: trace.TraceID{15: 9}}),
		record: record(slog.LevelInfo, "two traces", slog.Int("n", 1))},
	{name: "stale front end", ctx: obsctx.WithTrace(spanCtx(), &obsctx.Trace{ID: trace.TraceID{1}, FrontEnd: trace.TraceID{15: 9}}),
		record: record(slog.LevelInfo, "another trace's state", slog.Int("n", 1))},
	{name: "context fields", ctx: obsctx.WithFields(obsctx.WithFields(spanCtx(),
		[]slog.Attr{slog.String("tenant", "outer"), slog.String("user.id", "u-1")}),
		[]slog.Attr{slog.String("tenant", "acme"), slog.Int("k", 1)}),
		with: func(h slog.Handler) slog.Handler {
			return h.WithAttrs([]slog.Attr{slog.Int("k", 2), slog.String("component", "cart")}).WithGroup("cart")
		},
		record: record(slog.LevelWarn, "cart is empty", slog.Int("items", 0))},
	{name: "access", ctx: spanCtx(), record: record(slog.LevelInfo, "GET /orders/{id} 200",
		slog.Any("httpRequest", &HTTPRequest{
			Method: "GET", URL: "https://shop.example/orders/7?page=2&token=hunter2", Status: 200, RequestSize: 12, ResponseSize: 512,
			UserAgent: "curl/8", RemoteIP: "203.0.113.7", ServerIP: "10.0.0.1", Referer: "https://u:hunter2@shop.example/",
			Latency: 12300 * time.Microsecond, Protocol: "HTTP/1.1",
		}), slog.String("http.route", "/orders/{id}"))},
	{name: "redacted", record: record(slog.LevelInfo, "login",
		slog.String("password", "hunter2"), slog.Any("db_password", NewSecret("hunter2")), slog.Int("token_count", 3),
		slog.Any("header", map[string]any{"Authorization": "Bearer hunter2", "Accept": "a/b"}),
		slog.Group("credentials", slog.String("user", "hunter2"), slog.Int("n", 1)))},
	{name: "entry's own", record: record(slog.LevelInfo, "import goes on",
		slog.String("logging.googleapis.com/insertId", "a1"), slog.Group("logging.googleapis.com/operation", "id", "import-7", "last", false),
		slog.Group("logging.googleapis.com/labels", "cell", 8, "shard", "b"), slog.String("severity", "mine"))},
	{name: "joined errors", record: record(slog.LevelWarn, "cache is cold",
		slog.Any("err", fmt.Errorf("warm up: %w", errors.Join(&os.PathError{Op: "open", Path: "/tmp/x", Err: os.ErrExist}, io.ErrUnexpectedEOF))))},
	{name: "joined errors at ERROR", record: record(slog.LevelError, "no cache", slog.String("stack_trace", "none"),
		slog.Any("err", errors.Join(io.ErrUnexpectedEOF, context.DeadlineExceeded)))},
	{name: "critical", ctx: spanCtx(), record: record(LevelCritical, "cannot charge",
		slog.Any("err", fmt.Errorf("charge: %w", &os.PathError{Op: "open", Path: "/key", Err: os.ErrNotExist})),
		slog.String("stack_trace", "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:1 +0x1\n"))},
}

// TestGolden shows a line of each sort in both forms, with and without
// colours.
func TestGolden(t *testing.T) {
	t.Parallel()
	opts := Options{
		Level: slog.LevelDebug, ProjectID: "acme-shop", Service: "shop", Env: "prod", Version: "1.4.2",
		Labels: map[string]string{"team": "cart", "cell": "7"},
	}
	for _, form := range []struct {
		file string
		new  func(io.Writer) slog.Handler
	}{
		{"records.json", func(w io.Writer) slog.Handler { return NewHandler(w, &opts) }},
		{"records.txt", func(w io.Writer) slog.Handler { return NewTextHandler(w, &opts) }},
		{"records.color.txt", func(w io.Writer) slog.Handler {
			color := opts
			color.Color = ColorAlways
			return NewTextHandler(w, &color)
		}},
	} {
		t.Run(form.file, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			for _, g := range goldenRecords {
				h := form.new(&buf)
				if g.with != nil {
					h = g.with(h)
				}
				if err := h.Handle(g.ctx, g.record); err != nil {
					t.Error(err)
				}
			}
			if bytes.Contains(buf.Bytes(), []byte("hunter2")) {
				t.Errorf("a secret is shown:\n%s", buf.Bytes())
			}
			golden(t, form.file, buf.Bytes())
		})
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level slog.Level
		want  string
	}{
		{-1 << 40, "DEBUG"}, {-8, "DEBUG"}, {slog.LevelDebug, "DEBUG"}, {-1, "DEBUG"},
		{slog.LevelInfo, "INFO"}, {1, "INFO"}, {LevelNotice, "NOTICE"}, {3, "NOTICE"},
		{slog.LevelWarn, "WARNING"}, {7, "WARNING"}, {slog.LevelError, "ERROR"}, {11, "ERROR"},
		{LevelCritical, "CRITICAL"}, {LevelAlert, "ALERT"}, {LevelEmergency, "EMERGENCY"}, {1 << 40, "EMERGENCY"},
	} {
		if got := severityOf(tt.level).name; got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.level, got, tt.want)
		}
	}
}

// TestNeverOnlyAMessage: Cloud Logging makes a textPayload of an entry whose
// only ordinary key is message.
func TestNeverOnlyAMessage(t *testing.T) {
	t.Parallel()
	special := map[string]bool{"severity": true, "time": true, "message": true, "httpRequest": true}
	request := slog.Any("httpRequest", HTTPRequest{Method: "GET"})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		with []slog.Attr
		call []slog.Attr
	}{
		{name: "nothing"},
		{name: "request", call: []slog.Attr{request}},
		{name: "request bound", with: []slog.Attr{request}},
		{name: "request in context", ctx: obsctx.WithFields(context.Background(), []slog.Attr{request})},
		{name: "empty group", call: []slog.Attr{slog.Group("g")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			h := NewHandler(&buf, &Options{Labels: map[string]string{"a": "b"}, AddSource: true}).WithAttrs(tt.with)
			if err := h.Handle(tt.ctx, record(slog.LevelInfo, "m", tt.call...)); err != nil {
				t.Fatal(err)
			}
			for k := range decode(t, buf.Bytes()) {
				if !special[k] && k != "logging.googleapis.com/labels" {
					return
				}
			}
			t.Errorf("no ordinary field in %s", buf.Bytes())
		})
	}
}

// TestSpansInTurn: a record has the ids of its own span, whichever span's
// record was written before on the same line's memory.
func TestSpansInTurn(t *testing.T) {
	t.Parallel()
	span := spanContext()
	var contexts []context.Context
	for _, sc := range []trace.SpanContext{
		span, span.WithTraceFlags(0), span.WithSpanID(trace.SpanID{7: 1}), span.WithSpanID(trace.SpanID{}),
		span.WithTraceID(trace.TraceID{15: 1}), {},
	} {
		ctx := trace.ContextWithSpanContext(context.Background(), sc)
		contexts = append(contexts, ctx, obsctx.WithTrace(ctx, &obsctx.Trace{ID: sc.TraceID(), FrontEnd: trace.TraceID{15: 9}}))
	}
	var buf bytes.Buffer
	h := NewHandler(&buf, &Options{ProjectID: "acme"})
	line := func(h slog.Handler, ctx context.Context) string {
		buf.Reset()
		if err := h.Handle(ctx, record(slog.LevelInfo, "m")); err != nil {
			t.Fatal(err)
		}
		return buf.String()
	}
	for i, first := range contexts {
		for j, second := range contexts {
			want := line(NewHandler(&buf, &Options{ProjectID: "acme"}), second)
			line(h, first)
			if got := line(h, second); got != want {
				t.Errorf("%d after %d: got %swant %s", j, i, got, want)
			}
		}
	}
}

func TestProjectKnownLater(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	project, asked := "", 0
	h := NewHandler(&buf, &Options{LookupProjectID: func() string { asked++; return project }})
	got := func() any {
		buf.Reset()
		if err := h.Handle(spanCtx(), record(slog.LevelInfo, "m")); err != nil {
			t.Fatal(err)
		}
		return decode(t, buf.Bytes())["logging.googleapis.com/trace"]
	}
	const id = "6740000000000000deadbeef01020304"
	if g := got(); g != id {
		t.Errorf("got %v, want the bare id", g)
	}
	project = `a"b`
	for range 2 {
		if g, want := got(), `projects/a"b/traces/`+id; g != want {
			t.Errorf("got %v, want %v", g, want)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

// TestBareTrace: who asks for ids without the project gets them, known though
// it be.
func TestBareTrace(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	for _, o := range []Options{
		{BareTrace: true, ProjectID: "acme"},
		{BareTrace: true, LookupProjectID: func() string { return "acme" }},
	} {
		buf.Reset()
		if err := NewHandler(&buf, &o).Handle(spanCtx(), record(slog.LevelInfo, "m")); err != nil {
			t.Fatal(err)
		}
		if got, want := decode(t, buf.Bytes())["logging.googleapis.com/trace"], "6740000000000000deadbeef01020304"; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slog.New(NewHandler(&buf, &Options{AddSource: true})).WithGroup("g").Info("m")
	got := decode(t, buf.Bytes())["logging.googleapis.com/sourceLocation"].(map[string]any)
	if want := "github.com/kumihimo/kumihimo/obs/logging.TestSource"; got["function"] != want {
		t.Errorf("function: got %v, want %v", got["function"], want)
	}
	if file := got["file"]; file != "obs/logging/record_test.go" && file != "github.com/kumihimo/kumihimo/obs/logging/record_test.go" {
		t.Errorf("file: got %v, want a path without the machine's", file)
	}
	if line, ok := got["line"].(string); !ok || line == "" || line == "0" {
		t.Errorf("line: got %v, want digits in a string", got["line"])
	}
}

func TestRelative(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ pkg, file, module, want string }{
		{"acme.com/shop/db", "/home/u/shop/db/load.go", "acme.com/shop", "db/load.go"},
		{"acme.com/shop", "/home/u/shop/main.go", "acme.com/shop", "main.go"},
		{"acme.com/shopping", "/x/list.go", "acme.com/shop", "acme.com/shopping/list.go"},
		{"acme.com/shop/db_test", "/x/db/a_test.go", "acme.com/shop", "db/a_test.go"},
		{"net/http", "/usr/lib/go/src/net/http/server.go", "acme.com/shop", "net/http/server.go"},
		{"acme.com/shop/db", `C:\src\shop\db\load.go`, "acme.com/shop", "db/load.go"},
		{"acme.com/shop/db", "/x/load.go", "", "acme.com/shop/db/load.go"},
		{"", "", "", "."},
	} {
		if got := relative(tt.pkg, tt.file, tt.module); got != tt.want {
			t.Errorf("relative(%q, %q, %q): got %q, want %q", tt.pkg, tt.file, tt.module, got, tt.want)
		}
	}
}

// TestOptionsStay: options are the caller's, before and after.
func TestOptionsStay(t *testing.T) {
	t.Parallel()
	opts := Options{Labels: map[string]string{"a": "b"}}
	before := opts
	for _, h := range []slog.Handler{NewHandler(io.Discard, &opts), NewTextHandler(io.Discard, &opts)} {
		if err := h.Handle(spanCtx(), record(slog.LevelError, "m")); err != nil {
			t.Error(err)
		}
	}
	if opts.Level != before.Level || opts.OnError != nil || len(opts.Labels) != 1 {
		t.Errorf("got %+v, want %+v", opts, before)
	}
}
