// Package otlp sends a pipeline's spans and log records to an OpenTelemetry
// Collector, or whatever else receives OTLP over HTTP, with Google ID tokens
// where they are asked for:
//
//	spans, err := otlp.NewTraceExporter(ctx, otlp.Options{})
//	...
//	logs, err := otlp.NewLoggerProvider(ctx, otlp.Options{})
//	...
//	tel, err := obs.Init(ctx, obs.Options{Service: "shop", SpanExporter: spans, LoggerProvider: logs})
//
// Each of the two is of use alone: spans may go to a Collector while the records
// go on to stdout. What is not in Options comes from OTEL_EXPORTER_OTLP_*.
//
// It is a module of its own, so that who does not use it has none of its
// dependencies. OpenTelemetry's exporters encode and post; what becomes of an
// answer is decided here, since they drop at once what is not answered by 200,
// 429, 502, 503 or 504, and try again by themselves, unseen by any account.
//
// Read otlp.go for how the parts are put together, env.go for the environment,
// answer.go and hint.go for what a receiver's answer means, traces.go and
// logs.go for the two signals, queue.go and send.go for the log records that
// wait, and utf8.go for what protobuf cannot carry.
package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// Options say where telemetry goes. The zero value sends to what
// OTEL_EXPORTER_OTLP_ENDPOINT names, else to http://localhost:4318.
type Options struct {
	// Endpoint is the receiver's http or https URL; /v1/traces and /v1/logs are
	// added to its path. Default: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
	// OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, which are taken as they are, then
	// OTEL_EXPORTER_OTLP_ENDPOINT.
	Endpoint string

	// TokenSource gives the ID tokens that a receiver on Cloud Run asks for. They
	// travel over https or to a loopback host; where the headers of
	// OTEL_EXPORTER_OTLP_HEADERS have an Authorization of their own, as
	// X-Serverless-Authorization. Put gcpauth.Cached around one that does not
	// cache itself; whoever made it shuts it down. Nil: no tokens.
	TokenSource gcpauth.TokenSource

	// HTTPClient carries the requests; the certificates that the environment
	// names are then not used. Its Transport gets the token. Default: a client of
	// our own, which nothing traces.
	HTTPClient *http.Client

	// Timeout bounds one request; more than 30 s are as good as 30. Default:
	// HTTPClient's, then OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds, then 10 s.
	Timeout time.Duration

	// QueueBytes bounds the log records that wait; spans wait in obs's own queue.
	// Default: 16 MiB.
	QueueBytes int64
}

// A signal is one of OTLP's kinds of telemetry.
type signal struct {
	name string // in the variables' names
	path string // of its requests
	unit string // what it is made of, for people
}

// See https://opentelemetry.io/docs/specs/otlp/#otlphttp-request.
func traces() signal { return signal{"TRACES", "/v1/traces", "spans"} }
func logs() signal   { return signal{"LOGS", "/v1/logs", "log records"} }

// A sender is what both signals have in common: where requests go, and how.
type sender struct {
	settings
	client    *http.Client
	transport *http.Transport // under client; nil if it is not ours
}

func newSender(ctx context.Context, o Options, s signal) (*sender, error) {
	return newSenderFrom(ctx, o, s, os.LookupEnv)
}

func newSenderFrom(ctx context.Context, o Options, sig signal, lookup func(string) (string, bool)) (*sender, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	set, err := resolve(o, sig, lookup)
	if err != nil {
		return nil, err
	}
	s := &sender{settings: set}
	client := http.Client{}
	if o.HTTPClient != nil {
		client = *o.HTTPClient
	}
	client.Timeout = 0 // s.timeout is kept by export, whose errors can be told apart
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	base := client.Transport
	if base == nil {
		s.transport = ownTransport(set.tls)
		base = s.transport
	}
	judge := &judge{signal: sig, host: set.url.Host, secrets: set.headers, base: base}
	if o.TokenSource != nil {
		judge.auth = &gcpauth.Transport{Source: o.TokenSource, Origin: set.url.String(), Header: set.tokenHeader(), Base: base}
		if err := judge.auth.Check(); err != nil {
			return nil, err
		}
		judge.base = judge.auth
	}
	client.Transport = judge
	s.client = &client
	return s, nil
}

// ownTransport is net/http's default one as it was made: what the program has
// put in its place may trace its requests, ours among them.
func ownTransport(certificates *tls.Config) *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if std, ok := http.DefaultTransport.(*http.Transport); ok {
		t = std.Clone()
	}
	t.MaxIdleConns, t.IdleConnTimeout = 2, 90*time.Second
	if certificates != nil {
		t.TLSClientConfig = certificates
	}
	return t
}

// export calls one of OpenTelemetry's exporters within the time of one request,
// and returns what answer.go made of the answer, if there was one.
func (s *sender) export(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(ctx)
	var known *failure
	if errors.As(err, &known) {
		return known // without what net/http and the exporter have put around it
	}
	return err
}

func (s *sender) close() {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
}
