package chiobs

import (
	"log/slog"
	"net/http"
	"strconv"
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

// logAccess writes the access record. Its message holds neither the path nor
// the duration, which stand in httpRequest, so that equal requests are equal.
func (q *request) logAccess(e ending, name, route string) {
	level := accessLevel(e.status)
	if !q.logger.Enabled(q.ctx, level) {
		return
	}
	q.record.URL = q.url()
	q.record.Status = e.status
	if q.record.Method != http.MethodHead {
		q.record.ResponseSize = q.w.bytes
	}
	var attrs [2]slog.Attr
	attrs[0] = slog.Any("httpRequest", &q.record)
	n := 1
	if route != "" {
		attrs[1] = slog.String("http.route", route)
		n = 2
	}
	q.logger.LogAttrs(q.ctx, level, message(e, name), attrs[:n]...)
}

func message(e ending, name string) string {
	switch {
	case e.status == 0:
		return name + " aborted"
	case e.aborted:
		return name + " " + strconv.Itoa(e.status) + " aborted"
	}
	return name + " " + strconv.Itoa(e.status)
}

// url is the requested URL as far as it is known behind a proxy, without
// secrets.
func (q *request) url() string {
	query := q.query
	if query != "" {
		query = "?" + query
	}
	if q.host == "" {
		return q.path + query
	}
	return q.scheme + "://" + q.host + q.path + query
}
