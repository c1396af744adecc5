package ddagent

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReportNamesOTLP: what takes OTLP is recognised by its own path, asked once
// a change, and reported once; what knows that path no more than ours is not.
func TestReportNamesOTLP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		atOTLP int // the status of GET /v1/traces
		want   string
	}{
		{"a receiver", http.StatusMethodNotAllowed, "an OTLP receiver listens there"},
		{"another server", http.StatusNotFound, "no agent listens there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				asked := 0
				r.agent.set(func(w http.ResponseWriter, req *http.Request, _ int, _ []byte) bool {
					code := http.StatusNotFound
					if req.URL.Path == "/v1/traces" {
						asked++
						if code = tt.atOTLP; req.Method != http.MethodGet {
							t.Errorf("asked by %s", req.Method)
						}
					}
					w.WriteHeader(code)
					return true
				})
				_, span, _ := r.trace(keepIt)
				span.End()
				time.Sleep(5 * time.Minute)
				warnings := r.logs.at(slog.LevelWarn)
				if len(warnings) != 1 || !strings.Contains(attrOf(warnings[0], "hint").String(), tt.want) {
					t.Errorf("said: %v", warnings)
				}
				if asked != 1 {
					t.Errorf("asked %d times", asked)
				}
				r.agent.set(nil)
				time.Sleep(2 * time.Minute)
				if s := r.check(1); s.Sent != 1 {
					t.Errorf("afterwards: %+v", s)
				}
				if err := r.exporter.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestHintForGRPC: a server for gRPC answers before, or as if, it were asked.
func TestHintForGRPC(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x00\x00\x06\x04\x00\x00"`,
		"readLoopPeekFailLocked: %!w(<nil>)",
	} {
		if got := (&health{}).hintFor(answer{outcome: failed, err: errors.New(text)}); !strings.Contains(got, "a port for gRPC") {
			t.Errorf("%s: got %q", text, got)
		}
	}
	if got := (&health{}).hintFor(answer{outcome: failed, err: errors.New(`malformed HTTP response "SSH-2.0-OpenSSH"`)}); got != "" {
		t.Errorf("another protocol: got %q", got)
	}
}
