package adc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// client makes clients that keep to one context and look at the issuer's clock.
type client struct {
	base  http.RoundTripper
	local http.RoundTripper // to the metadata server
	clock clock
}

func newClient(theirs *http.Client) *client {
	c := &client{
		base: ownTransport(),
		// No proxy: the metadata server is on this machine. One or two requests
		// an hour: a connection kept would only grow old.
		local: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext},
	}
	if theirs != nil && theirs.Transport != nil {
		c.base = theirs.Transport
	}
	return c
}

// ownTransport is net/http's default one as it was made: what the program has
// put in its place may trace its requests.
func ownTransport() http.RoundTripper {
	if std, ok := http.DefaultTransport.(*http.Transport); ok {
		return std.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 90 * time.Second}
}

// in returns a client whose requests end with ctx: Google's library asks for
// some tokens without one. It follows no redirect, which could lead a secret to
// somebody else.
func (c *client) in(ctx context.Context) *http.Client { return c.with(ctx, c.base) }

// metadata is in for the metadata server.
func (c *client) metadata(ctx context.Context) *http.Client { return c.with(ctx, c.local) }

func (c *client) with(ctx context.Context, base http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     &bound{ctx, base, &c.clock},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bound is a RoundTripper for one use.
type bound struct {
	ctx   context.Context
	base  http.RoundTripper
	clock *clock
}

func (b *bound) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r.WithContext(b.ctx))
	if err == nil && resp.StatusCode == http.StatusOK {
		b.clock.read(resp.Header.Get("Date"))
	}
	return resp, err
}

// clock is the issuer's as last seen.
type clock struct {
	last atomic.Pointer[reading]
}

type reading struct{ date, seen time.Time }

func (c *clock) read(date string) {
	if d, err := http.ParseTime(date); err == nil {
		c.last.Store(&reading{d, time.Now()})
	}
}

// now goes on from the last reading by whichever of this machine's clocks says
// more: one of them stands still while it is suspended, the other can be set.
func (c *clock) now() time.Time {
	now := time.Now()
	r := c.last.Load()
	if r == nil {
		return now
	}
	return r.date.Add(max(now.Sub(r.seen), now.Round(0).Sub(r.seen.Round(0))))
}

// explain says what was wrong in few words: the library's errors have whole
// pages in them.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("adc: %w", cause)
	}
	var status *oauth2.RetrieveError
	if errors.As(err, &status) && status.Response != nil {
		return fmt.Errorf("adc: status %d%s", status.Response.StatusCode, reason(status.Body))
	}
	const most = 300
	text := strings.Join(strings.Fields(err.Error()), " ")
	if strings.Contains(text, "eyJ") { // it may quote a token
		text = "the answer is not what it should be"
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return fmt.Errorf("adc: %s", text)
}

// reason finds what Google says in an answer that is no success: OAuth's form
// (RFC 6749, section 5.2), or that of its APIs.
func reason(body []byte) string {
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &oauth) == nil && oauth.Error != "" {
		return said(oauth.Error, oauth.Description)
	}
	var api struct {
		Error struct{ Status, Message string } `json:"error"`
	}
	if json.Unmarshal(body, &api) == nil {
		return said(api.Error.Status, api.Error.Message)
	}
	return ""
}

func said(parts ...string) string {
	const most = 200
	text := strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	if text == "" || strings.Contains(text, "eyJ") {
		return ""
	}
	return fmt.Sprintf(": %q", strings.ToValidUTF8(text[:min(len(text), most)], ""))
}

// post sends v as JSON with an access token, and decodes the answer into answer.
func post(ctx context.Context, c *http.Client, to, accessToken string, v, answer any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+accessToken)
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := readBounded(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &statusError{resp.StatusCode, reason(body)}
	}
	if json.Unmarshal(body, answer) != nil {
		return errors.New("the answer is not the JSON it should be")
	}
	return nil
}

// statusError is an answer that is no success.
type statusError struct {
	status int
	reason string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d%s", e.status, e.reason) }

// checkURL refuses to send secrets where others could read them.
func checkURL(field, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("adc: the credentials' %s is not a URL", field)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if private := u.Scheme == "https" || u.Scheme == "http" && loopback; !private {
		return fmt.Errorf("adc: the credentials' %s leads to %s over %q, want https", field, u.Hostname(), u.Scheme)
	}
	return nil
}
