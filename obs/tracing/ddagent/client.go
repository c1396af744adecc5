package ddagent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// tracerVersion is what the agent is told of this library.
const tracerVersion = "0.1.0"

// client posts payloads to one agent.
type client struct {
	http    *http.Client
	own     bool             // http is ours to close
	urls    [versions]string // of the endpoints
	infoURL string
	otlpURL string // where a receiver of OTLP would take traces
	name    string // of the agent, for people: no credentials in it
	header  http.Header
	process process
	timeout time.Duration // of an attempt
	err     error         // why there are no urls
}

func newClient(o Options, p process) *client {
	c := &client{process: p, timeout: attemptTimeout, header: http.Header{
		"Content-Type":                      {"application/msgpack"},
		"User-Agent":                        {"kumihimo/" + tracerVersion},
		"Datadog-Meta-Lang":                 {"go"},
		"Datadog-Meta-Lang-Version":         {strings.TrimPrefix(runtime.Version(), "go")},
		"Datadog-Meta-Lang-Interpreter":     {runtime.Compiler + "-" + runtime.GOARCH + "-" + runtime.GOOS},
		"Datadog-Meta-Tracer-Version":       {tracerVersion},
		"Datadog-Client-Computed-Top-Level": {"yes"},
		"Datadog-Send-Real-Http-Status":     {"true"}, // else an overloaded agent says 200 and throws the payload away
	}}
	if p.container.id != "" {
		c.header.Set("Datadog-Container-ID", p.container.id)
	}
	if p.container.entity != "" {
		c.header.Set("Datadog-Entity-ID", p.container.entity)
	}
	if external := printable(o.ExternalEnv); external != "" {
		c.header.Set("Datadog-External-Env", external)
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the whole may quote a password
		}
		c.fail(fmt.Errorf("ddagent: malformed agent URL: %w", err))
	case u.Scheme == "unix" && u.Path != "":
		c.name = "unix://" + u.Path
		c.endpoints(&url.URL{Scheme: "http", Host: "localhost"})
		c.use(o.HTTPClient, func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer().DialContext(ctx, "unix", u.Path)
		})
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		c.name = u.Host
		u.RawQuery, u.Fragment = "", ""
		c.endpoints(u)
		c.use(o.HTTPClient, dialer().DialContext)
	default:
		c.fail(errors.New("ddagent: the agent URL must be http(s)://host:port or unix:///path"))
	}
	if c.http != nil {
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c
}

// use takes the caller's client, or one of our own that dials so.
func (c *client) use(theirs *http.Client, dial func(context.Context, string, string) (net.Conn, error)) {
	if theirs == nil {
		c.own = true
		c.http = &http.Client{Transport: newTransport(dial)}
		return
	}
	h := *theirs
	if h.Timeout > 0 { // kept here, where a freeze does not count
		c.timeout = min(h.Timeout, c.timeout)
		h.Timeout = 0
	}
	c.http = &h
}

func (c *client) endpoints(base *url.URL) {
	for v, path := range tracePaths {
		c.urls[v] = base.JoinPath(path).String()
	}
	c.infoURL = base.JoinPath("info").String()
	c.otlpURL = base.JoinPath("v1/traces").String()
}

func (c *client) fail(err error) { c.name, c.err = "unusable agent URL", err }

func dialer() *net.Dialer { return &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second} }

func newTransport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        2,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

func (c *client) close() {
	if c.own {
		c.http.CloseIdleConnections()
	}
}

// outcome is what becomes of a payload.
type outcome uint8

const (
	delivered outcome = iota
	failed            // to be tried again soon
	refused           // to be tried again, but only a person can help
	tooLarge          // to be split
	rejected          // never to be sent again
	narrowed          // rejected, to be sent in parts
)

type answer struct {
	outcome    outcome
	status     int // 0: there was no answer
	retryAfter time.Duration
	state      string        // the agent's configuration
	err        error         // what was wrong
	otlp       bool          // it is a receiver of another protocol that has answered
	frozen     time.Duration // of the time it took, the process did not run

	rates        map[string]float64 // nil: as before
	ratesVersion string
}

const (
	headerState = "Datadog-Agent-State"
	headerRates = "Datadog-Rates-Payload-Version"
)

const (
	maxErrorBody = 4 << 10
	maxRatesBody = 256 << 10
)

// post sends one payload of n chunks and judges the answer.
func (c *client) post(ctx context.Context, v version, p *payload, n int, rates string) answer {
	if c.err != nil {
		return answer{outcome: rejected, err: c.err}
	}
	ctx, attempt := beginAttempt(ctx, c.timeout)
	a := c.try(ctx, v, p, n, rates)
	frozen, expired := attempt.end()
	a.frozen = frozen
	if expired && a.outcome == failed {
		a.err = fmt.Errorf("no answer in %v: %w", c.timeout, a.err)
	}
	return a
}

func (c *client) try(ctx context.Context, v version, p *payload, n int, rates string) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.urls[v], nil)
	if err != nil {
		return answer{outcome: rejected, err: err}
	}
	req.Header = c.header.Clone()
	req.Header.Set("X-Datadog-Trace-Count", strconv.Itoa(n))
	req.Header.Set(headerRates, cmp.Or(rates, ratesUnknown))
	req.ContentLength = int64(len(p.data))
	req.Body = p.reader()
	req.GetBody = func() (io.ReadCloser, error) { return p.reader(), nil }
	resp, err := c.do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the rest of it is the URL
		}
		return answer{outcome: failed, err: err}
	}
	defer resp.Body.Close()
	return judge(resp)
}

// do sends req. A transport that panics has failed; it is the program's, and
// the goroutine here has nobody above it who would recover.
func (c *client) do(req *http.Request) (resp *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fmt.Errorf("ddagent: the transport panicked: %v", p)
		}
	}()
	return c.http.Do(req)
}

func judge(resp *http.Response) answer {
	a := answer{status: resp.StatusCode, state: resp.Header.Get(headerState)}
	if a.status/100 == 2 {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxRatesBody))
		if fromAgent(resp.Header, body) {
			a.rates, a.ratesVersion = readRates(body), resp.Header.Get(headerRates)
			return a
		}
		a.outcome, a.err = failed, errors.New("the answer is not an agent's")
		if err != nil {
			a.err = fmt.Errorf("the answer ended early: %w", err)
		}
		return a
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what is there of it
	a.err = errors.New(http.StatusText(a.status))
	switch {
	case a.status == http.StatusRequestEntityTooLarge:
		a.outcome = tooLarge
	case a.status == http.StatusRequestTimeout, a.status == http.StatusTooManyRequests, a.status >= 500:
		a.outcome = failed
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, a.status == http.StatusNotFound, a.status/100 == 3:
		a.outcome = refused
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	default:
		a.outcome = rejected
		if a.status == http.StatusBadRequest && len(body) > 0 {
			a.err = fmt.Errorf("the agent says %q", clean(string(bytes.TrimSpace(body)), 200))
		}
	}
	return a
}

// fromAgent says whether an agent has taken the payload: its headers say so on
// every answer; older agents and the OpenTelemetry Collector's receiver, which
// have none, answer with OK or sampling rates. A captive portal does neither.
func fromAgent(h http.Header, body []byte) bool {
	for key := range h {
		if strings.HasPrefix(key, "Datadog-Agent-") {
			return true
		}
	}
	body = bytes.TrimSpace(body)
	if string(body) == "OK" {
		return true
	}
	return readRates(body) != nil
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3); what it
// cannot read is 0.
func retryAfter(s string) time.Duration {
	if seconds, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// payload is the body of a request. A transport may read it even after Do has
// returned, so its bytes may be written again only when all readers are
// closed.
type payload struct {
	data    []byte
	readers atomic.Int32
}

func (p *payload) reader() io.ReadCloser {
	p.readers.Add(1)
	return &payloadReader{Reader: *bytes.NewReader(p.data), payload: p}
}

func (p *payload) unread() bool { return p.readers.Load() == 0 }

type payloadReader struct {
	bytes.Reader
	payload *payload
	closed  atomic.Bool
}

func (r *payloadReader) Close() error {
	if r.closed.CompareAndSwap(false, true) {
		r.payload.readers.Add(-1)
	}
	return nil
}
