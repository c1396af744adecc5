package ddagent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestHint: the caller's words for a refusal stand before our own.
func TestHint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		hint func(int) string
		want string
	}{
		{"none", nil, "this service's account needs roles/run.invoker"},
		{"the caller's", func(status int) string {
			if status != 403 {
				t.Errorf("asked about %d", status)
			}
			return "ask Ada"
		}, "hint=\"ask Ada\""},
		{"empty", func(int) string { return "" }, "this service's account needs roles/run.invoker"},
		{"panics", func(int) string { panic("a bug of the program") }, "this service's account needs roles/run.invoker"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		h := health{logger: slog.New(slog.NewTextHandler(&out, nil)), agent: "agent", hint: tt.hint}
		h.bad(context.Background(), time.Now(), answer{outcome: refused, status: 403, err: errors.New("Forbidden")}, 0)
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, out.String(), tt.want)
		}
	}
	var out bytes.Buffer
	h := health{logger: slog.New(slog.NewTextHandler(&out, nil)), hint: func(int) string { return "never" }}
	h.bad(context.Background(), time.Now(), answer{outcome: failed, err: errors.New("refused")}, 0)
	if strings.Contains(out.String(), "hint") {
		t.Errorf("a hint where there was no answer: %s", out.String())
	}
}
