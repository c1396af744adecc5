package logging

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStdLog shows what the log package's output becomes under
// slog.SetDefault. It is not parallel: both are the process's.
func TestStdLog(t *testing.T) {
	before, flags := slog.Default(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(before)
		slog.SetLogLoggerLevel(slog.LevelInfo)
		log.SetOutput(os.Stderr)
		log.SetFlags(flags)
	})
	here := Options{AddSource: true}
	filter, err := ParseFilter("info," + thisPackage + "=error")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		flags  int
		level  slog.Level
		opts   Options
		print  func()
		want   map[string]any // nil: no record
		source bool
	}{
		{name: "Print", opts: here, print: func() { log.Print("one\ntwo") }, want: map[string]any{"severity": "INFO", "message": "one\ntwo"}},
		{name: "the place, if asked for before", flags: log.Lshortfile, opts: here, print: func() { log.Printf("n=%d", 7) },
			want: map[string]any{"severity": "INFO", "message": "n=7"}, source: true},
		{name: "its level", level: slog.LevelError, print: func() { log.Print("m") }, want: map[string]any{"severity": "ERROR", "message": "m"}},
		{name: "Panic is no exception", print: func() {
			defer func() {
				if recover() == nil {
					t.Error("log.Panic went on")
				}
			}()
			log.Panic("end")
		}, want: map[string]any{"severity": "INFO", "message": "end", "stack_trace": nil}},
		{name: "no place, no rule", opts: Options{Filter: filter}, print: func() { log.Print("m") }, want: map[string]any{"message": "m"}},
		{name: "the place's rule", flags: log.Lshortfile, opts: Options{Filter: filter}, print: func() { log.Print("m") }},
		{name: "off", opts: Options{Level: slog.LevelWarn}, print: func() { log.Print("m") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var buf bytes.Buffer
			log.SetFlags(tt.flags)
			slog.SetLogLoggerLevel(tt.level)
			slog.SetDefault(slog.New(NewHandler(&buf, &tt.opts)))
			tt.print()
			if tt.want == nil {
				if buf.Len() > 0 {
					t.Errorf("got %s, want no record", &buf)
				}
				return
			}
			m := decode(t, buf.Bytes())
			for k, want := range tt.want {
				if !cmp.Equal(m[k], want) {
					t.Errorf("%s: got %v, want %v", k, m[k], want)
				}
			}
			at, _ := m[googlePrefix+"sourceLocation"].(map[string]any)
			if file, _ := at["file"].(string); strings.HasSuffix(file, "/stdlog_test.go") != tt.source {
				t.Errorf("sourceLocation: got %v", at)
			}
		})
	}
}

// TestLogLogger: a log.Logger made by slog has the place, and at ERROR the
// stack begins there.
func TestLogLogger(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	l := slog.NewLogLogger(NewHandler(&buf, &Options{AddSource: true}), slog.LevelError)
	l.Printf("http: %s", "TLS handshake error")
	m := decode(t, buf.Bytes())
	at, _ := m[googlePrefix+"sourceLocation"].(map[string]any)
	if want := thisPackage + ".TestLogLogger"; at["function"] != want || m["message"] != "http: TLS handshake error" {
		t.Errorf("got %v from %v, want %s", m["message"], at, want)
	}
	_, frames, _ := strings.Cut(m["stack_trace"].(string), "[running]:\n")
	if !strings.HasPrefix(frames, thisPackage+".TestLogLogger(") {
		t.Errorf("the stack begins\n%s", frames)
	}
}
