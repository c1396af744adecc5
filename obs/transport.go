package obs

import (
	"context"
	"net/http"
	"net/url"
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
// Options.PropagationHosts is set, trace headers go to those hosts alone. The
// span ends when the response's head has come. A request whose context has
// been marked as telemetry's own passes through untouched.
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
		p = &obsctx.Pipeline{Provider: otel.GetTracerProvider(), Propagator: otel.GetTextMapPropagator()}
	}
	ctx, span := p.Provider.Tracer(scope).Start(ctx, clientSpanName(r.Method),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(clientAttributes(r, p.Redactor)...))
	defer span.End()

	r = r.Clone(ctx)
	inject(ctx, p, r)
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(fault.Kind(err)))
		span.SetStatus(codes.Error, errorText(err, p.Redactor))
		return resp, err
	}
	if resp == nil {
		return nil, nil //nolint:nilnil // a base's mistake, which net/http knows how to report
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
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

// clientAttributes are those of OpenTelemetry's HTTP client spans.
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client
func clientAttributes(r *http.Request, red *redact.Redactor) []attribute.KeyValue {
	kvs := make([]attribute.KeyValue, 0, 5)
	if name := clientSpanName(r.Method); name == otherMethodName {
		kvs = append(kvs, semconv.HTTPRequestMethodOther, semconv.HTTPRequestMethodOriginal(r.Method))
	} else {
		kvs = append(kvs, semconv.HTTPRequestMethodKey.String(name))
	}
	kvs = append(kvs, semconv.URLFull(red.URL(r.URL.String())), semconv.ServerAddress(r.URL.Hostname()))
	if port := serverPort(r.URL); port != 0 {
		kvs = append(kvs, semconv.ServerPort(port))
	}
	return kvs
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
	host := r.URL.Hostname()
	for _, name := range p.Propagator.Fields() {
		r.Header.Del(name)
	}
	r.Header.Del("Baggage")
	if p.SendTrace != nil && !p.SendTrace(host) {
		return
	}
	if p.SendBaggage == nil || !p.SendBaggage(host) {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	p.Propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
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
