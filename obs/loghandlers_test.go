package obs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLogHandlersAreAskedThemselves: what they take is theirs to say, whatever
// the filter says.
func TestLogHandlersAreAskedThemselves(t *testing.T) {
	t.Parallel()
	var written, all, errors bytes.Buffer
	tel, err := build(t.Context(), Options{
		LogWriter: &written, LogFormat: "json", LogFilter: "warn",
		LogHandlers: []slog.Handler{
			slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug}),
			slog.NewTextHandler(&errors, &slog.HandlerOptions{Level: slog.LevelError}),
		},
	}, world("DD_TRACE_STARTUP_LOGS=false"))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelWarn, slog.LevelError} {
		tel.Logger().Log(t.Context(), level, "planted")
	}
	for name, got := range map[string]int{"LogWriter": strings.Count(written.String(), "\n"), "all": strings.Count(all.String(), "\n"), "errors": strings.Count(errors.String(), "\n")} {
		if want := map[string]int{"LogWriter": 2, "all": 3, "errors": 1}[name]; got != want {
			t.Errorf("%s has %d records, want %d", name, got, want)
		}
	}
}
