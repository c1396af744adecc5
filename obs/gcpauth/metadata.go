package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

const (
	metadataHost    = "169.254.169.254" // no name to look up: metadata.google.internal
	metadataTimeout = 5 * time.Second   // Cloud Run's server has outliers; a request of ours never waits for it twice
	maxMetadataBody = 16 << 10
	metadataFlavor  = "Google"
)

// MetadataOptions say whom the tokens are for.
type MetadataOptions struct {
	// Audience is who will check the tokens: the URL of the Cloud Run service
	// that is called, or a custom audience of it, letter by letter.
	Audience string

	// Host replaces the metadata server's address; "host:port", as in
	// GCE_METADATA_HOST.
	Host string
}

// Metadata returns the source that asks the metadata server of Cloud Run, GCE
// or GKE for tokens of the default service account. Each call of Token is one
// request of at most 5 s, through no proxy and after no redirect; put [Cached]
// around it.
//
// See https://cloud.google.com/compute/docs/instances/verifying-instance-identity.
func Metadata(o MetadataOptions) TokenSource {
	if o.Host == "" {
		o.Host = metadataHost
	}
	return &metadataSource{
		audience: o.Audience,
		host:     o.Host,
		base: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			// One or two requests an hour: a connection kept would only grow old.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}
}

type metadataSource struct {
	audience string
	host     string
	base     http.RoundTripper
	email    atomic.Pointer[string] // an instance keeps its account
	date     atomic.Pointer[reading]
}

// reading is the issuer's clock as last seen.
type reading struct {
	date, mono, wall time.Time
}

func (s *metadataSource) Token(ctx context.Context) (Token, error) {
	if s.audience == "" {
		return Token{}, errors.New("gcpauth: MetadataOptions.Audience is empty, want the URL of the service that is called")
	}
	raw, date, err := s.get(ctx, "identity", url.Values{"audience": {s.audience}})
	if err != nil {
		return Token{}, err
	}
	t, err := ParseToken(raw, date)
	if err != nil {
		return Token{}, err
	}
	if err := t.check(s.audience, time.Now()); err != nil {
		return Token{}, err
	}
	return t, nil
}

// Invalidate does nothing: no token is kept.
func (s *metadataSource) Invalidate(Token) {}

// Identity returns the email address of the service account.
func (s *metadataSource) Identity(ctx context.Context) (string, error) {
	if email := s.email.Load(); email != nil {
		return *email, nil
	}
	email, _, err := s.get(ctx, "email", nil)
	if err != nil {
		return "", err
	}
	if !isIdentity(email) {
		return "", errors.New("gcpauth: the metadata server's name for the service account is not an email address")
	}
	s.email.Store(&email)
	return email, nil
}

func isIdentity(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= 320 && strings.Contains(s, "@")
}

// IssuerTime returns what the metadata server's clock says, going by its last
// answer, or this machine's time before the first.
func (s *metadataSource) IssuerTime() time.Time {
	now := time.Now()
	r := s.date.Load()
	if r == nil {
		return now
	}
	return r.date.Add(elapsed(r.mono, r.wall, now))
}

// get asks for one value of the default service account. date is the server's
// time, or zero.
func (s *metadataSource) get(ctx context.Context, name string, query url.Values) (value string, date time.Time, err error) {
	ctx, cancel := context.WithTimeout(obsctx.Suppress(ctx), metadataTimeout)
	defer cancel()
	u := url.URL{
		Scheme: "http", Host: s.host,
		Path:     "/computeMetadata/v1/instance/service-accounts/default/" + name,
		RawQuery: query.Encode(),
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil || strings.ContainsAny(s.host, "/?#@") {
		return "", date, fmt.Errorf("gcpauth: metadata host %q: want host:port", s.host)
	}
	r.Header.Set("Metadata-Flavor", metadataFlavor)
	resp, err := s.base.RoundTrip(r) // not a Client: no redirects, no cookies
	if err != nil {
		return "", date, fmt.Errorf("gcpauth: metadata server: %w", err)
	}
	defer resp.Body.Close()
	if err := checkMetadataAnswer(resp); err != nil {
		return "", date, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMetadataBody+1))
	if err != nil {
		return "", date, fmt.Errorf("gcpauth: metadata server: reading its answer: %w", err)
	}
	if len(body) > maxMetadataBody {
		return "", date, fmt.Errorf("gcpauth: metadata server: its answer is longer than %d bytes", maxMetadataBody)
	}
	return string(body), s.readDate(resp), nil
}

// readDate takes the answer's Date. A header that is missing or wrong leaves
// this machine's clock.
func (s *metadataSource) readDate(resp *http.Response) time.Time {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	now := time.Now()
	s.date.Store(&reading{date: date, mono: now, wall: now.Round(0)})
	return date
}

// checkMetadataAnswer never looks at the body: what is not a success is not
// shown to anyone.
func checkMetadataAnswer(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("gcpauth: metadata server: status %d%s", resp.StatusCode, metadataHint(resp.StatusCode))
	}
	if resp.Header.Get("Metadata-Flavor") != metadataFlavor {
		return errors.New("gcpauth: metadata server: its answer lacks the header Metadata-Flavor: Google, so something else answered")
	}
	return nil
}

func metadataHint(status int) string {
	switch status {
	case http.StatusNotFound:
		return ", no such endpoint, or the instance has no service account"
	case http.StatusForbidden:
		return ", the endpoint is disabled or the request came through a proxy"
	case http.StatusTooManyRequests:
		return ", too many requests"
	}
	return ""
}
