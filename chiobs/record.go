package chiobs

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// accessLevel is Cloud Run's own rule for the severity of its request log: a
// failed request is found by severity alone, also where its handler logged
// nothing. As the message is the same for all requests of a route and status,
// Error Reporting makes one group of them.
func accessLevel(status int) slog.Level {
	switch {
	case status >= 500:
		return slog.LevelError
	case status >= 400 || status == 0:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// place is where the access records come from, for filters that go by package:
// to look it up for each record would cost as much as to write a third of it.
func place() uintptr {
	var pcs [1]uintptr
	runtime.Callers(1, pcs[:])
	return pcs[0]
}

// access is what an access record says beside httpRequest.
type access struct {
	*settings
	ending
	texts
	route string
	at    time.Time
	added []slog.Attr
	lost  int
}

// logAccess writes the access record, if it is wanted. Its message holds
// neither the path nor the duration, which stand in httpRequest, so that equal
// requests are equal.
func (q *request) logAccess(a access) {
	if a.Access >= AccessOff {
		return
	}
	logger := q.logger
	if a.Logger != nil {
		logger = a.Logger
	}
	level := q.level(a.settings, a.status)
	if !q.wants(a.settings, level) || !logger.Enabled(q.ctx, level) {
		return
	}
	q.record.URL = a.url
	q.record.Status = a.status
	if q.record.Method != http.MethodHead {
		q.record.ResponseSize = q.w.bytes
	}
	r := slog.NewRecord(a.at, level, a.message, q.handler.place)
	r.AddAttrs(slog.Any("httpRequest", &q.record))
	if a.route != "" {
		r.AddAttrs(slog.String("http.route", a.route))
	}
	if q.streamed() {
		r.AddAttrs(slog.Duration(keyFirstByte, q.w.firstByte))
	}
	r.AddAttrs(a.added...)
	if a.lost > 0 {
		r.AddAttrs(slog.Int("chiobs.attributes_lost", a.lost))
	}
	_ = logger.Handler().Handle(q.ctx, r) // as slog.Logger does
}

// level asks the program, whose answer may be a panic.
func (q *request) level(s *settings, status int) (level slog.Level) {
	level = accessLevel(status)
	if s.AccessLevel == nil {
		return level
	}
	defer q.handler.survive(q.ctx, "AccessLevel", q.logger)
	return s.AccessLevel(status)
}

// wants reports whether the policy asks for a record.
func (q *request) wants(s *settings, level slog.Level) bool {
	switch {
	case s.Access <= AccessAll || level >= slog.LevelError:
		return true
	case s.Access <= AccessSlow && q.record.Latency >= s.Slow:
		return true
	}
	return s.Access == AccessSampled && q.kept()
}

// kept reports whether the trace is, as far as is decided.
func (q *request) kept() bool {
	if t := obsctx.TraceFrom(q.ctx); t != nil {
		if d, ok := t.Decision(); ok {
			return d.Priority > 0
		}
	}
	return q.span.SpanContext().IsSampled()
}
