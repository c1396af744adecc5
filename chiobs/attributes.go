package chiobs

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
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

// startOptions appends to opts the attributes of OpenTelemetry's HTTP server
// spans that are known before the handler runs, so that samplers see them, and
// the link to caller if there is one.
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
func (q *request) startOptions(opts []trace.SpanStartOption, r *http.Request, caller trace.SpanContext) []trace.SpanStartOption {
	kvs := make([]attribute.KeyValue, 0, 14)
	if q.name == otherName {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(otherMethod), semconv.HTTPRequestMethodOriginalKey.String(clean(r.Method)))
	} else {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(q.name))
	}
	kvs = append(kvs, semconv.URLSchemeKey.String(q.scheme), semconv.URLPathKey.String(q.path))
	if q.query != "" {
		kvs = append(kvs, semconv.URLQueryKey.String(q.query))
	}
	kvs = appendHost(kvs, q.host)
	kvs = appendPeer(kvs, r.RemoteAddr)
	if v := protocolVersion(r); v != "" {
		kvs = append(kvs, semconv.NetworkProtocolVersionKey.String(v))
	}
	if q.record.UserAgent != "" {
		kvs = append(kvs, semconv.UserAgentOriginalKey.String(q.record.UserAgent))
	}
	opts = append(opts, trace.WithAttributes(kvs...))
	if caller.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	return opts
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
	return appendPort(append(kvs, semconv.ServerAddressKey.String(name)), semconv.ServerPortKey, port)
}

func appendPort(kvs []attribute.KeyValue, key attribute.Key, port string) []attribute.KeyValue {
	if port == "" {
		return kvs // spares ParseUint's error
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return kvs
	}
	return append(kvs, key.Int(int(n)))
}

// appendPeer appends the address of the other end of the connection, which is
// as yet also taken for the client's. A unix socket's has none.
func appendPeer(kvs []attribute.KeyValue, remote string) []attribute.KeyValue {
	ip, port := peer(remote)
	if ip == "" {
		return kvs
	}
	kvs = append(kvs, semconv.ClientAddressKey.String(ip), semconv.NetworkPeerAddressKey.String(ip))
	return appendPort(kvs, semconv.NetworkPeerPortKey, port)
}

// peer splits an http.Request's RemoteAddr, which some middlewares leave
// without a port. Both are "" if there is no address in it.
func peer(remote string) (ip, port string) {
	if host, port, err := net.SplitHostPort(remote); err == nil {
		return host, port
	}
	if _, err := netip.ParseAddr(remote); err == nil {
		return remote, ""
	}
	return "", ""
}

// methodName returns method, or otherName if it is none of RFC 9110, PATCH and
// QUERY.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodHead, http.MethodOptions, http.MethodConnect, http.MethodTrace, "QUERY":
		return method
	}
	return otherName
}

// schemeOf believes a proxy that says the client came by https: nothing is
// decided by it.
func schemeOf(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https"
	}
	return "http"
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
