package ddagent

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// health reports the agent's state once a change: when it begins to fail, when
// that turns out to be a refusal only a person can lift, and when it is over.
type health struct {
	logger *slog.Logger
	agent  string
	hint   func(status int) string // Options.Hint

	failing, refusing bool
	since             time.Time
	dropped           int64 // when it began
}

// bad notes an attempt that failed; dropped is the number of spans lost so far.
func (h *health) bad(ctx context.Context, now time.Time, a answer, dropped int64) {
	if h.failing && (h.refusing || a.outcome != refused) {
		return
	}
	if !h.failing {
		h.failing, h.since, h.dropped = true, now, dropped
	}
	h.refusing = a.outcome == refused
	attrs := []slog.Attr{slog.String("agent", h.agent)}
	if a.status != 0 {
		attrs = append(attrs, slog.Int("status", a.status))
	}
	attrs = append(attrs, slog.Any("error", a.err))
	if hint := h.hintFor(a); hint != "" {
		attrs = append(attrs, slog.String("hint", hint))
	}
	message := "Datadog Agent does not take spans; they wait"
	if a.outcome == rejected {
		message = "Datadog Agent rejects spans; they are lost"
	}
	h.logger.LogAttrs(ctx, slog.LevelWarn, message, attrs...)
}

// good notes a delivery. waited is the number of spans that were waiting for
// it, dropped as for bad.
func (h *health) good(ctx context.Context, now time.Time, waited, dropped int64) {
	if !h.failing {
		return
	}
	h.failing, h.refusing = false, false
	h.logger.LogAttrs(ctx, slog.LevelInfo, "Datadog Agent takes spans again",
		slog.String("agent", h.agent),
		slog.Duration("after", now.Sub(h.since)),
		slog.Int64("spans.waited", waited),
		slog.Int64("spans.lost", dropped-h.dropped))
}

func (h *health) hintFor(a answer) string {
	status := a.status
	if hint := h.callersHint(status); hint != "" {
		return hint
	}
	switch {
	case a.otlp:
		return "an OTLP receiver listens there: a Datadog Agent's traces port is 8126; to send OTLP use obs/otlp"
	case status == 0 && a.err != nil && speaksHTTP2(a.err):
		return "this is a port for gRPC, as OTLP's 4317: a Datadog Agent's traces port is 8126; to send OTLP use obs/otlp"
	case status == http.StatusUnauthorized:
		return "the ID token is missing, expired or for another audience: check OBS_AGENT_AUTH and OBS_AGENT_AUDIENCE"
	case status == http.StatusForbidden:
		return "this service's account needs roles/run.invoker on the agent's service, and the request a token"
	case status/100 == 3:
		return "redirects are not followed: give the agent's own URL"
	case status == http.StatusNotFound:
		return "no agent listens there: check the URL and its path"
	}
	return ""
}

// speaksHTTP2 reports whether err is of an answer that begins as HTTP/2 does,
// which a server for gRPC sends unasked: net/http reads it as an answer, or finds
// it before it has asked.
func speaksHTTP2(err error) bool {
	text := err.Error()
	return strings.Contains(text, `malformed HTTP response "\x00\x00`) || strings.Contains(text, "readLoopPeekFailLocked")
}

// callersHint asks Options.Hint. It is the program's, and the goroutine here has
// nobody above it who would recover.
func (h *health) callersHint(status int) (hint string) {
	if h.hint == nil || status == 0 {
		return ""
	}
	defer func() {
		if recover() != nil {
			hint = ""
		}
	}()
	return h.hint(status)
}
