package obs

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// Transport returns a RoundTripper that sends requests through base
// ([http.DefaultTransport] if nil), each in a client span, with the headers
// that carry the trace on. Baggage goes to Options.BaggageHosts alone; if
// Options.PropagationHosts is set, trace headers go to those hosts alone. A
// redirect or a retry is a request, and so a span, of its own; the span ends
// when the response's head has come. A request whose context has been marked
// as telemetry's own passes through untouched.
//
// A span is named by its method: a URL has ids in it, which would make each
// request a name of its own. A request whose context has the field
// "url.template", by [With], is named by that too, as "GET /users/{id}".
//
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client
func Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base}
}

type transport struct {
	base http.RoundTripper
}

var _ http.RoundTripper = (*transport)(nil)

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if obsctx.Suppressed(ctx) || r.URL == nil {
		return t.base.RoundTrip(r)
	}
	p := obsctx.PipelineFrom(ctx)
	if p == nil { // no pipeline of ours: what the globals do
		p = &obsctx.Pipeline{Provider: otel.GetTracerProvider()}
	}
	name := clientSpanName(r.Method)
	if t := urlTemplate(ctx); t != "" {
		name += " " + t
	}
	ctx, span := p.Provider.Tracer(scope).Start(ctx, name,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(clientAttributes(r, p.Redactor)...))
	returned := false
	defer func() {
		if !returned {
			span.SetStatus(codes.Error, "the RoundTripper panicked")
		}
		span.End()
	}()

	r = r.Clone(withPeer(ctx, span))
	inject(ctx, p, r)
	resp, err := t.base.RoundTrip(r)
	returned = true
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(fault.Kind(err)))
		span.SetStatus(codes.Error, errorText(err, p.Redactor))
		return resp, err
	}
	if resp == nil {
		return nil, nil //nolint:nilnil // a base's mistake, which net/http knows how to report
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
	if v := protocolVersion(resp); v != "" {
		span.SetAttributes(semconv.NetworkProtocolVersion(v))
	}
	if resp.StatusCode >= 400 {
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(resp.StatusCode)))
		span.SetStatus(codes.Error, "")
	}
	return resp, nil
}

// CloseIdleConnections closes those of the base, for [http.Client].
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// clientAttributes are those of a client span that are known before the
// request is sent.
func clientAttributes(r *http.Request, red *redact.Redactor) []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, 0, 6)
	if name := clientSpanName(r.Method); name == otherMethodName {
		kvs = append(kvs, semconv.HTTPRequestMethodOther, semconv.HTTPRequestMethodOriginal(r.Method))
	} else {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(name))
	}
	kvs = append(kvs, semconv.URLFull(red.URL(r.URL.String())), semconv.ServerAddress(r.URL.Hostname()))
	if port := serverPort(r.URL); port != 0 {
		kvs = append(kvs, semconv.ServerPort(port))
	}
	if n := resends(r); n > 0 {
		kvs = append(kvs, semconv.HTTPRequestResendCount(n))
	}
	return kvs
}

// resends is how many redirects have led to r.
func resends(r *http.Request) (n int) {
	const enough = 100 // http.Client stops at 10; another's chain may be a circle
	for n < enough && r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
		n++
	}
	return n
}

// urlTemplate is the innermost field of that name, which the span gets as an
// attribute like all fields of the context.
func urlTemplate(ctx context.Context) string {
	for f := obsctx.FieldsFrom(ctx); f != nil; f = f.Outer {
		for _, a := range slices.Backward(f.Attrs) {
			if a.Key == string(semconv.URLTemplateKey) && a.Value.Kind() == slog.KindString {
				return a.Value.String()
			}
		}
	}
	return ""
}

func protocolVersion(r *http.Response) string {
	switch {
	case r.ProtoMajor == 1 && r.ProtoMinor <= 1:
		return "1." + strconv.Itoa(r.ProtoMinor)
	case r.ProtoMajor >= 2:
		return strconv.Itoa(r.ProtoMajor)
	}
	return ""
}

// otherMethodName stands in a span's name for a method outside the known ones:
// a caller's invention must not make a name of its own.
const otherMethodName = "HTTP"

func clientSpanName(method string) string {
	switch method {
	case "":
		return http.MethodGet // net/http's default
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodHead, http.MethodOptions, http.MethodConnect, http.MethodTrace, "QUERY":
		return method
	}
	return otherMethodName
}

func serverPort(u *url.URL) int {
	switch port, err := strconv.Atoi(u.Port()); {
	case err == nil:
		return port
	case u.Scheme == "https":
		return 443
	case u.Scheme == "http":
		return 80
	}
	return 0
}

// inject writes the trace of ctx into r's headers, as far as r's host may see
// it. Headers of another trace, which a proxy's request has, would contradict
// it or go where they must not, and are taken out.
func inject(ctx context.Context, p *obsctx.Pipeline, r *http.Request) {
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	propagator := p.Propagator
	if propagator == nil {
		propagator = otel.GetTextMapPropagator()
	}
	host := r.URL.Hostname()
	for _, name := range propagator.Fields() {
		r.Header.Del(name)
	}
	r.Header.Del("Baggage")
	if p.SendTrace != nil && !p.SendTrace(host) {
		return
	}
	if p.SendBaggage == nil || !p.SendBaggage(host) {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
}

// hostPolicy returns a function that knows hosts and their subdomains, or nil
// if there are none.
func hostPolicy(hosts []string) func(string) bool {
	if len(hosts) == 0 {
		return nil
	}
	known := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		known[strings.ToLower(strings.TrimSuffix(h, "."))] = true
	}
	return func(host string) bool {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		for {
			if known[host] {
				return true
			}
			_, rest, found := strings.Cut(host, ".")
			if !found {
				return false
			}
			host = rest
		}
	}
}

// errorText is err's text without the secrets of the URLs in it.
func errorText(err error, red *redact.Redactor) string { return red.Text(fault.Text(err)) }
