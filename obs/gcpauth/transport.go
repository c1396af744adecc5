package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	authorization           = "Authorization"
	serverlessAuthorization = "X-Serverless-Authorization"
)

// Transport is an [http.RoundTripper] that puts an ID token on each request,
// for one origin and no other. Its fields must not be changed once it is in
// use; then it is safe for concurrent use.
//
// An answer of 401 invalidates the token, and the request is sent once more
// with another, if there is another and the body can be had again through
// GetBody. What comes back then, a 401 included, and a 403 are handed on
// untouched. A redirect is an error: the token is not for whom it names.
type Transport struct {
	// Source gives the tokens. Nil: requests go out without any, still to
	// Origin alone.
	Source TokenSource

	// Origin is the URL of the service; its scheme, host and port count, the
	// path does not. Tokens travel over https, to a loopback host, or through a
	// unix socket (unix:///path; requests then say http://localhost).
	Origin string

	// Header carries the token: "Authorization", which stands for the empty
	// string too, or "X-Serverless-Authorization", which leaves the first to
	// the service itself. See
	// https://cloud.google.com/run/docs/authenticating/service-to-service.
	Header string

	// AllowInsecure lets tokens travel over http to any host, through no proxy.
	// Whoever reads one can act as this service until it expires.
	AllowInsecure bool

	// Base sends the requests. Nil: [http.DefaultTransport], for http without
	// its proxy; for a socket a transport that dials it.
	Base http.RoundTripper

	once   sync.Once
	err    error // of Origin or Header
	origin origin
	header string // canonical
	base   http.RoundTripper

	refusal atomic.Pointer[Refusal] // nil unless the last answer was one
}

var _ http.RoundTripper = (*Transport)(nil)

// Check reports whether a token could be sent: whether Origin is one that
// tokens may travel to, and Header one that can carry them. It looks at no
// other field but AllowInsecure, and asks nobody.
func (t *Transport) Check() error {
	o, err := parseOrigin(t.Origin)
	if err != nil {
		return err
	}
	if !o.private() && !t.AllowInsecure {
		return fmt.Errorf("gcpauth: origin %s: ID tokens travel over https, to a loopback host or through a unix socket (Transport.AllowInsecure lifts this)", o)
	}
	_, err = headerName(t.Header)
	return err
}

func headerName(name string) (string, error) {
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "", authorization:
		return authorization, nil
	case serverlessAuthorization:
		return canonical, nil
	}
	return "", fmt.Errorf("gcpauth: header %q: want %s or %s", name, authorization, serverlessAuthorization)
}

func (t *Transport) setUp() {
	if t.origin, t.err = parseOrigin(t.Origin); t.err != nil {
		return
	}
	if t.Source != nil {
		if t.err = t.Check(); t.err != nil {
			return
		}
	}
	if t.header, t.err = headerName(t.Header); t.err != nil {
		return
	}
	t.base = baseFor(t.Base, t.origin, t.Source != nil)
}

// baseFor sees to it that a token which is not encrypted goes through no proxy.
func baseFor(base http.RoundTripper, o origin, token bool) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
		if o.socket != "" {
			return socketTransport(o.socket)
		}
	}
	if std, ok := base.(*http.Transport); ok && token && o.scheme == "http" && std.Proxy != nil {
		std = std.Clone()
		std.Proxy = nil
		return std
	}
	return base
}

func socketTransport(path string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
		},
		IdleConnTimeout: 90 * time.Second,
	}
}

// RoundTrip sends r with a token, see [Transport]. r is not modified.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.once.Do(t.setUp)
	if t.err != nil {
		closeBody(r)
		return nil, t.err
	}
	if !t.origin.matches(r) {
		closeBody(r)
		return nil, fmt.Errorf("gcpauth: request to %s refused: this transport is bound to %s", destination(r), t.origin)
	}
	if t.Source == nil {
		return noRedirect(t.base.RoundTrip(r))
	}
	token, err := t.Source.Token(r.Context())
	if err == nil && token.t == nil {
		err = errors.New("gcpauth: the source returned no ID token")
	}
	if err != nil {
		closeBody(r)
		return nil, err
	}
	resp, err := noRedirect(t.base.RoundTrip(t.authorize(r, token)))
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.Source.Invalidate(token)
		resp, token, err = t.again(r, token, resp)
	}
	if err == nil {
		t.note(resp, token)
	}
	return resp, err
}

// again sends r with another token than the refused one, which it returns too,
// or returns resp as it is if that cannot be done.
func (t *Transport) again(r *http.Request, refused Token, resp *http.Response) (*http.Response, Token, error) {
	hasBody := r.Body != nil && r.Body != http.NoBody
	if hasBody && r.GetBody == nil {
		return resp, refused, nil
	}
	token, err := t.Source.Token(r.Context())
	if err != nil || token.t == nil || token.same(refused) {
		return resp, refused, nil //nolint:nilerr // the answer there is says more
	}
	second := t.authorize(r, token)
	if hasBody {
		body, err := r.GetBody()
		if err != nil {
			return resp, refused, nil //nolint:nilerr // as above
		}
		second.Body = body
	}
	resp.Body.Close() // unread: a page that trickles in must not hold the request up
	resp, err = noRedirect(t.base.RoundTrip(second))
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.Source.Invalidate(token)
	}
	return resp, token, err
}

// authorize returns a copy of r with the token. The header's value is made for
// each request: a base that writes to it must not reach the next one.
func (t *Transport) authorize(r *http.Request, token Token) *http.Request {
	authorized := r.WithContext(r.Context())
	header := make(http.Header, len(r.Header)+1)
	for name, values := range r.Header {
		header[name] = values[:len(values):len(values)]
	}
	header[t.header] = []string{token.t.bearer()}
	authorized.Header = header
	return authorized
}

// CloseIdleConnections closes those of Base, for [http.Client].
func (t *Transport) CloseIdleConnections() {
	t.once.Do(t.setUp)
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// noRedirect makes an error of a 3xx.
func noRedirect(resp *http.Response, err error) (*http.Response, error) {
	if err != nil || resp.StatusCode < 300 || resp.StatusCode > 399 {
		return resp, err
	}
	resp.Body.Close()
	to := ""
	if u, err := url.Parse(resp.Header.Get("Location")); err == nil && u.Host != "" {
		to = fmt.Sprintf(" to the host %.100q", u.Hostname())
	}
	return nil, fmt.Errorf("gcpauth: answer %d redirects%s: not followed, Origin should be the service's own URL", resp.StatusCode, to)
}

// destination names where r goes without its path, query and user.
func destination(r *http.Request) string {
	if r.URL == nil {
		return "no URL"
	}
	s := r.URL.Scheme + "://" + r.URL.Host
	if r.Host != "" && r.Host != r.URL.Host {
		s += " as " + r.Host
	}
	return s
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}
