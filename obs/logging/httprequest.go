package logging

import (
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
)

// requestKey is the key of Cloud Logging's own for an access record.
const requestKey = "httpRequest"

// HTTPRequest is a served request as Cloud Logging knows it. Under the key
// httpRequest at the root it becomes the log entry's own httpRequest; under
// another it is an object of the same form. Zero fields are left out.
//
//	logger.Info("request served", "httpRequest", &logging.HTTPRequest{Method: "GET", Status: 200})
//
// A pointer is logged without an allocation. Secrets in URL and Referer are
// redacted.
//
// https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest
type HTTPRequest struct {
	Method       string
	URL          string // with scheme and host, if known
	Status       int
	RequestSize  int64 // bytes
	ResponseSize int64 // bytes
	UserAgent    string
	RemoteIP     string // without a port
	ServerIP     string // without a port
	Referer      string
	Latency      time.Duration
	Protocol     string // "HTTP/1.1"
}

// LogValue returns the request as a group, for other handlers than this
// package's.
func (r HTTPRequest) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 11)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	size := func(key string, n int64) {
		if n > 0 {
			attrs = append(attrs, slog.Int64(key, n))
		}
	}
	text("requestMethod", r.Method)
	text("requestUrl", r.URL)
	size("requestSize", r.RequestSize)
	size("status", int64(r.Status))
	size("responseSize", r.ResponseSize)
	text("userAgent", r.UserAgent)
	text("remoteIp", r.RemoteIP)
	text("serverIp", r.ServerIP)
	text("referer", r.Referer)
	if r.Latency > 0 {
		attrs = append(attrs, slog.Duration("latency", r.Latency))
	}
	text("protocol", r.Protocol)
	return slog.GroupValue(attrs...)
}

// requestOf returns the HTTPRequest in v, or nil.
func requestOf(v slog.Value) *HTTPRequest {
	switch x := v.Any().(type) {
	case *HTTPRequest:
		return x
	case HTTPRequest:
		return &x
	}
	return nil
}

func (l *line) appendRequest(sc *scope, key string, r *HTTPRequest) {
	start, size, sum := len(l.buf), len(requestKey)+2, hash(requestKey)
	if sc.root && key == requestKey {
		l.buf = append(l.buf, `"`+requestKey+`":`...)
		l.access = true
	} else {
		l.buf, size, sum = appendKey(l.buf, sc.root, key)
		l.ordinary = true
	}
	l.buf = append(l.buf, '{')
	open := len(l.buf)
	l.requestText("requestMethod", r.Method)
	if r.URL != "" {
		l.requestText("requestUrl", l.red.URL(r.URL))
	}
	l.requestSize("requestSize", r.RequestSize)
	if r.Status > 0 {
		l.buf = append(l.buf, `"status":`...)
		l.buf = strconv.AppendInt(l.buf, int64(r.Status), 10)
		l.buf = append(l.buf, ',')
	}
	l.requestSize("responseSize", r.ResponseSize)
	l.requestText("userAgent", r.UserAgent)
	l.requestText("remoteIp", r.RemoteIP)
	l.requestText("serverIp", r.ServerIP)
	if r.Referer != "" {
		l.requestText("referer", l.red.URL(r.Referer))
	}
	if r.Latency > 0 {
		l.buf = append(l.buf, `"latency":"`...)
		l.buf = appendSeconds(l.buf, r.Latency)
		l.buf = append(l.buf, `",`...)
	}
	l.requestText("protocol", r.Protocol)
	if len(l.buf) > open {
		l.buf = l.buf[:len(l.buf)-1]
	}
	l.buf = append(l.buf, "},"...)
	l.add(sc, start, size, sum)
}

func (l *line) requestText(key, value string) {
	if value == "" {
		return
	}
	l.buf = append(l.buf, '"')
	l.buf = append(l.buf, key...)
	l.buf = append(l.buf, `":`...)
	l.buf = appendString(l.buf, value)
	l.buf = append(l.buf, ',')
}

// requestSize adds an int64 as the API's JSON has it, as a string.
func (l *line) requestSize(key string, n int64) {
	if n <= 0 {
		return
	}
	l.buf = append(l.buf, '"')
	l.buf = append(l.buf, key...)
	l.buf = append(l.buf, `":"`...)
	l.buf = strconv.AppendInt(l.buf, n, 10)
	l.buf = append(l.buf, `",`...)
}

// appendSeconds appends d, not negative, as the API's JSON has durations:
// "1.5s".
func appendSeconds(b []byte, d time.Duration) []byte {
	b = strconv.AppendInt(b, int64(d/time.Second), 10)
	if frac := int(d % time.Second); frac != 0 {
		b = append(b, '.')
		b = appendDigits(b, frac, 9)
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(b, 's')
}

// appendRequestText appends the request as people say it: GET /orders/7 200
// 12ms.
func (l *line) appendRequestText(r *HTTPRequest) {
	l.buf = appendPrintable(l.buf, r.Method)
	if r.URL != "" {
		l.buf = append(l.buf, ' ')
		l.buf = appendPrintable(l.buf, pathOf(l.red.URL(r.URL)))
	}
	if r.Status > 0 {
		l.buf = append(l.buf, ' ')
		l.buf = strconv.AppendInt(l.buf, int64(r.Status), 10)
	}
	if r.Latency > 0 {
		l.buf = append(l.buf, ' ')
		l.buf = appendDuration(l.buf, r.Latency)
	}
}

// pathOf is raw without scheme and host.
func pathOf(raw string) string {
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
	}
	return raw
}

// appendDuration appends d to three digits: 12.3ms.
func appendDuration(b []byte, d time.Duration) []byte {
	if d > math.MinInt64 && (d >= 1000 || d <= -1000) {
		unit := time.Duration(1)
		for abs := max(d, -d); abs/unit >= 1000; {
			unit *= 10
		}
		if d < time.Minute && d > -time.Minute {
			d = d.Round(unit)
		} else {
			d = d.Round(time.Second)
		}
	}
	return append(b, d.String()...)
}
