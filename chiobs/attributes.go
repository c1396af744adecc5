package chiobs

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// otherMethod is http.request.method of a method outside the known ones; a
// span of such a method is named otherName.
const (
	otherMethod = "_OTHER"
	otherName   = "HTTP"
)

// maxText bounds, in bytes, each text that a caller chooses: without it one
// request could fill a megabyte of span and record.
const maxText = 4 << 10

// startOptions returns the attributes of OpenTelemetry's HTTP server spans that
// samplers go by, those of holder.added, and the link to caller if there is one.
// The others wait until the end: a span that begins with eight attributes grows
// to twelve in a third less memory than one that begins with eleven.
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
func (q *request) startOptions(x *scratch, r *http.Request, caller trace.SpanContext) []trace.SpanStartOption {
	kvs := x.attrs[:0]
	if q.name == otherName {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(otherMethod), semconv.HTTPRequestMethodOriginalKey.String(clean(r.Method)))
	} else {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(q.name))
	}
	kvs = append(kvs, semconv.URLSchemeKey.String(q.scheme()), semconv.URLPathKey.String(q.path))
	if q.query != "" {
		kvs = append(kvs, semconv.URLQueryKey.String(q.query))
	}
	kvs = appendHost(kvs, q.host)
	if q.record.RemoteIP != "" {
		kvs = append(kvs, semconv.ClientAddressKey.String(q.record.RemoteIP))
	}
	if q.record.UserAgent != "" {
		kvs = append(kvs, semconv.UserAgentOriginalKey.String(q.record.UserAgent))
	}
	kvs = spanAttributes(q.redactor, kvs, q.holder.added)
	if n := len(kvs); len(x.starting.Attrs) != n || &x.starting.Attrs[0] != &kvs[0] { // else the last one, an allocation, still holds
		x.starting = obsctx.NewStartAttributes(kvs)
	}
	opts := append(x.options[:0], &x.starting, q.handler.kind)
	if caller.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	return opts
}

// appendAsked returns what the program asked for of a request's start.
func (q *request) appendAsked(s *settings, r *http.Request) []slog.Attr {
	attrs := appendHeaders(nil, s.requestHeaders, r.Header)
	attrs = appendBaggage(q, attrs, s.BaggageTags)
	attrs = append(attrs, q.handler.onStart(r, q.logger)...)
	q.holder.lost = max(len(attrs)-maxAdded, 0)
	return attrs[:len(attrs)-q.holder.lost]
}

// endAttributes returns the attributes known at the end.
func (q *request) endAttributes(x *scratch, e ending, route string) []attribute.KeyValue {
	kvs := x.attrs[:0]
	if q.peer != "" { // a unix socket's is
		kvs = append(kvs, semconv.NetworkPeerAddressKey.String(q.peer))
		if q.peerPort != 0 {
			kvs = append(kvs, semconv.NetworkPeerPortKey.Int(int(q.peerPort)))
		}
	}
	if v := protocolVersion(q.r); v != "" {
		kvs = append(kvs, semconv.NetworkProtocolVersionKey.String(v))
	}
	if route != "" {
		kvs = append(kvs, semconv.HTTPRouteKey.String(route))
	}
	if q.w.status != 0 {
		kvs = append(kvs, semconv.HTTPResponseStatusCodeKey.Int(q.w.status))
	}
	if q.w.bytes > 0 && q.record.Method != http.MethodHead {
		kvs = append(kvs, semconv.HTTPResponseBodySizeKey.Int64(q.w.bytes))
	}
	if q.record.RequestSize > 0 {
		kvs = append(kvs, semconv.HTTPRequestBodySizeKey.Int64(q.record.RequestSize))
	}
	if q.streamed() {
		kvs = append(kvs, attribute.Int64(keyFirstByte, int64(q.w.firstByte)))
	}
	if e.errorType != "" {
		kvs = append(kvs, semconv.ErrorTypeKey.String(e.errorType))
	}
	return kvs
}

// keyFirstByte is the time to the answer's first byte, a duration and so in
// nanoseconds.
const keyFirstByte = "http.time_to_first_byte"

// streamed reports whether the answer began well before the request ended: if
// it did not, the time to its first byte is the request's.
func (q *request) streamed() bool {
	return q.w.firstByte > 0 && q.record.Latency-q.w.firstByte >= time.Millisecond
}

// appendHost appends server.address and, where the Host header names one,
// server.port.
func appendHost(kvs []attribute.KeyValue, host string) []attribute.KeyValue {
	if host == "" {
		return kvs
	}
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		name, port = host[:i], host[i+1:]
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	kvs = append(kvs, semconv.ServerAddressKey.String(name))
	if n := portOf(port); n != 0 {
		kvs = append(kvs, semconv.ServerPortKey.Int(int(n)))
	}
	return kvs
}

// methodName returns method, or otherName if it is none that is known.
func (s *settings) methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodHead, http.MethodOptions, http.MethodConnect, http.MethodTrace, "QUERY":
		return method
	}
	if slices.Contains(s.Methods, method) {
		return method
	}
	return otherName
}

// isSecure believes a proxy that says the client came by https: nothing is
// decided by it.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || only(r.Header["X-Forwarded-Proto"]) == "https"
}

func (q *request) scheme() string {
	if q.secure {
		return "https"
	}
	return "http"
}

// hostOf is the host that the client asked for.
func hostOf(r *http.Request, proxied bool) string {
	if proxied {
		if host := only(r.Header["X-Forwarded-Host"]); host != "" {
			return host
		}
	}
	return r.Host
}

// only returns the first of a header's values, or "". The map is asked by the
// canonical name, which spares Get's look at each letter.
func only(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func protocolVersion(r *http.Request) string {
	switch r.ProtoMajor*10 + r.ProtoMinor {
	case 11:
		return "1.1"
	case 10:
		return "1.0"
	case 20:
		return "2"
	case 30:
		return "3"
	}
	return ""
}

// clean makes a caller's text fit for any sink: bounded and valid UTF-8.
func clean(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "\uFFFD")
}
