package benchmarks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-chi/httplog/v3"
	"github.com/google/go-cmp/cmp"
	phuslu "github.com/phuslu/log"
	"github.com/rs/zerolog"
)

// handlerPeers are what a service would log through: every one as its own
// documentation, or Google's, has it set up.
var handlerPeers = map[string]func(testing.TB, io.Writer) slog.Handler{
	"kumihimo": func(tb testing.TB, w io.Writer) slog.Handler { return recordPeers[0].new(tb, w).Handler() },
	"slog":     func(_ testing.TB, w io.Writer) slog.Handler { return newIDHandler(w, false) },
	"sample": func(_ testing.TB, w io.Writer) slog.Handler {
		return &idHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: sampleReplacer}), false}
	},
	"httplog": func(_ testing.TB, w io.Writer) slog.Handler {
		return &idHandler{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: httplog.SchemaGCP.ReplaceAttr}), false}
	},
	"phuslu":  func(_ testing.TB, w io.Writer) slog.Handler { return phuslu.SlogNewJSONHandler(w, nil) },
	"zerolog": func(_ testing.TB, w io.Writer) slog.Handler { return zerolog.NewSlogHandler(zerolog.New(w)) },
}

// sampleReplacer is that of Google's Go sample for logs with traces.
//
// https://cloud.google.com/stackdriver/docs/instrumentation/setup/go
func sampleReplacer(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.LevelKey:
		a.Key = "severity"
		if level := a.Value.Any().(slog.Level); level == slog.LevelWarn {
			a.Value = slog.StringValue("WARNING")
		}
	case slog.TimeKey:
		a.Key = "timestamp"
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

type (
	typedNil     struct{ text string }
	panicMarshal struct{}
)

func (e *typedNil) Error() string                 { return e.text }
func (panicMarshal) MarshalJSON() ([]byte, error) { panic("MarshalJSON") }

func log(attrs ...any) func(context.Context, *slog.Logger) {
	return func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "m", attrs...) }
}

func at(level slog.Level) func(context.Context, *slog.Logger) {
	return func(ctx context.Context, l *slog.Logger) { l.Log(ctx, level, "m", "k", 1) }
}

// has returns a check that the line has want at the path of keys.
func has(want any, path ...string) func([]byte, map[string]any) bool {
	return func(_ []byte, m map[string]any) bool {
		var got any = m
		for _, key := range path {
			inner, ok := got.(map[string]any)
			if !ok {
				return false
			}
			got = inner[key]
		}
		return cmp.Equal(got, want)
	}
}

func all(checks ...func([]byte, map[string]any) bool) func([]byte, map[string]any) bool {
	return func(line []byte, m map[string]any) bool {
		return !slices.ContainsFunc(checks, func(ok func([]byte, map[string]any) bool) bool { return !ok(line, m) })
	}
}

func once(key string) func([]byte, map[string]any) bool {
	return func(line []byte, _ map[string]any) bool { return bytes.Count(line, []byte(`"`+key+`":`)) == 1 }
}

func isTime(m map[string]any, key string) bool {
	text, _ := m[key].(string)
	_, err := time.Parse(time.RFC3339Nano, text)
	return err == nil
}

// peerCases are what the documentation says of others: each is one valid line
// of JSON that passes the check, or a fault.
var peerCases = []struct {
	name  string
	log   func(context.Context, *slog.Logger)
	check func(line []byte, m map[string]any) bool // nil: being one valid line is all
	fail  string                                   // who does
}{
	{"severity of WARN", at(slog.LevelWarn), has("WARNING", "severity"), "httplog phuslu slog zerolog"},
	{"severity between levels", at(slog.LevelInfo + 2), has("NOTICE", "severity"), "httplog phuslu sample slog zerolog"},
	{"severity above ERROR", at(slog.LevelError + 4), has("CRITICAL", "severity"), "httplog phuslu sample slog zerolog"},
	{"time", log(), func(_ []byte, m map[string]any) bool { return isTime(m, "time") }, "httplog sample"},
	{"trace within a group", func(ctx context.Context, l *slog.Logger) { l.WithGroup("g").InfoContext(ctx, "m", "k", 1) },
		all(has("0102030405060708", "logging.googleapis.com/spanId"), has(json.Number("1"), "g", "k")), "httplog phuslu sample slog zerolog"},
	{"key bound and given again", func(ctx context.Context, l *slog.Logger) { l.With("k", 1).InfoContext(ctx, "m", "k", 2) },
		all(once("k"), has(json.Number("2"), "k")), "httplog phuslu sample slog zerolog"},
	{"key message", log("message", "user's"), all(has("m", "message"), once("message")), "httplog phuslu sample slog zerolog"},
	{"key level", log("level", "user's"), all(has("user's", "level"), once("level")), "httplog phuslu sample slog zerolog"},
	{"key msg in a group", log(slog.Group("g", "msg", "inner")), has("inner", "g", "msg"), "sample zerolog"},
	{"integer above 2^53", log("id", int64(1)<<53+1), has("9007199254740993", "id"), "httplog phuslu sample slog zerolog"},
	{"year 10000", log("t", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), nil, "httplog sample slog"},
	{"quote in a key", log(`a"b`, 1), has(json.Number("1"), `a"b`), "phuslu"},
	{"invalid UTF-8", log("k", "a\xffb"), func(line []byte, _ map[string]any) bool { return utf8.Valid(line) }, "phuslu"},
	{"RawMessage that is none", log("k", json.RawMessage("{\n")), nil, "phuslu"},
	{"nil pointer for an error", log("k", error((*typedNil)(nil))), has("<nil>", "k"), "phuslu zerolog"},
	{"MarshalJSON that panics", log("k", panicMarshal{}), has("!PANIC: MarshalJSON", "k"), "phuslu zerolog"},
	{"siblings", func(ctx context.Context, l *slog.Logger) {
		parent := l.WithGroup("g").With("k", 0).With("kk", 1)
		first := parent.With("who", "first")
		parent.With("who", "other")
		first.InfoContext(ctx, "m")
	}, has("first", "g", "who"), "phuslu zerolog"},
	{"secret", log("db_password", "hunter2"), has("[REDACTED]", "db_password"), "httplog phuslu sample slog zerolog"},
	{"300 KB", log("k", strings.Repeat("x", 300_000)), func(line []byte, _ map[string]any) bool { return len(line) < 256<<10 }, "httplog phuslu sample slog zerolog"},
	{"error for Error Reporting", func(ctx context.Context, l *slog.Logger) { l.ErrorContext(ctx, "m", "err", errors.New("no")) },
		func(_ []byte, m map[string]any) bool {
			stack, _ := m["stack_trace"].(string)
			return strings.HasPrefix(stack, "m\n\ngoroutine ") && m["@type"] != nil
		}, "httplog phuslu sample slog zerolog"},
	{"label that is no string", log(slog.Group("logging.googleapis.com/labels", "n", 1)), has("1", "logging.googleapis.com/labels", "n"), "httplog phuslu sample slog zerolog"},
}

// TestPeers holds the table of docs/logging.md to what the peers do.
func TestPeers(t *testing.T) {
	for _, c := range peerCases {
		t.Run(c.name, func(t *testing.T) {
			var failed []string
			for _, name := range slices.Sorted(maps.Keys(handlerPeers)) {
				if err := tryPeer(t, handlerPeers[name], c.log, c.check); err != nil {
					failed = append(failed, name)
					t.Logf("%s: %v", name, err)
				}
			}
			if got := strings.Join(failed, " "); got != c.fail {
				t.Errorf("fail: got %s, want %s", got, c.fail)
			}
		})
	}
}

func tryPeer(t *testing.T, peer func(testing.TB, io.Writer) slog.Handler, log func(context.Context, *slog.Logger), check func([]byte, map[string]any) bool) (err error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var buf bytes.Buffer
	log(recordContext(), slog.New(peer(t, &buf)))
	line := buf.Bytes()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var m map[string]any
	switch {
	case bytes.Count(line, []byte("\n")) != 1:
		return fmt.Errorf("not one line: %.300q", line)
	case d.Decode(&m) != nil || !json.Valid(line):
		return fmt.Errorf("not JSON: %.300s", line)
	case check != nil && !check(line, m):
		return fmt.Errorf("%.300s", line)
	}
	return nil
}
