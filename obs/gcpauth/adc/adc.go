// Package adc makes ID tokens of Google's application default credentials: for
// a service that runs outside of Google Cloud, or there as another account.
//
//	source, err := adc.New(ctx, adc.Options{Audience: "https://agent-xyz.a.run.app"})
//	if err != nil {
//		return err
//	}
//	tel, err := obs.Init(ctx, obs.Options{
//		AgentURL:    "https://agent-xyz.a.run.app",
//		TokenSource: gcpauth.Cached(source, gcpauth.CacheOptions{Audience: "https://agent-xyz.a.run.app"}),
//	})
//
// It is a module of its own, so that who does not use it has none of its
// dependencies. Read adc.go for which credentials there are, mint.go for how
// each makes a token, and client.go for the requests.
package adc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// scope is what IAM wants of who asks it for a token.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// mintTimeout bounds one token, whatever the number of requests it takes.
const mintTimeout = 10 * time.Second

// Options say whom the tokens are for. They print as [REDACTED], for the key
// that JSON may have in it.
type Options struct {
	// Audience is who will check the tokens: the URL of the Cloud Run service
	// that is called, or a custom audience of it, letter by letter. There is no
	// default.
	Audience string

	// JSON is the content of a credentials file, which is as good as a password
	// and must come from somebody who is trusted: it says where requests go.
	// Nil: the application default credentials, as Google's libraries find them.
	JSON []byte

	// HTTPClient carries all requests but those to the metadata server. Nil: a
	// client of our own.
	HTTPClient *http.Client
}

// Format writes the placeholder, whatever the verb and its flags.
func (Options) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Placeholder) } //nolint:errcheck // fmt's own buffer takes every write

// LogValue returns the placeholder.
func (Options) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// MarshalText returns the placeholder.
func (Options) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

// New returns a source of ID tokens. Each call of its Token makes one, which
// takes up to three requests and 10 s; put [gcpauth.Cached] around it. It also
// tells that and a shared cache whose tokens they are.
//
// The credentials are Options.JSON, else the file that
// GOOGLE_APPLICATION_CREDENTIALS names, else the one that "gcloud auth
// application-default login" has written, else the metadata server, which alone
// is looked for in the network. They may be
//
//   - a service account's key,
//   - those of an impersonated service account, whatever is behind it,
//   - those of workload identity federation with a service account to
//     impersonate,
//   - the metadata server's.
//
// A user's credentials are an error, as are those of a federated identity
// without a service account: Google makes no ID token for an audience of
// them. See https://cloud.google.com/docs/authentication/get-id-token.
func New(ctx context.Context, o Options) (gcpauth.TokenSource, error) {
	if o.Audience == "" {
		return nil, errors.New("adc: Options.Audience is empty, want the URL of the service that is called")
	}
	s := &source{audience: o.Audience, client: newClient(o.HTTPClient)}
	data := o.JSON
	if data == nil {
		found, err := google.FindDefaultCredentials(context.WithValue(ctx, oauth2.HTTPClient, s.client.in(ctx)), scope)
		if err != nil {
			return nil, fmt.Errorf("adc: no application default credentials: %w; want GOOGLE_APPLICATION_CREDENTIALS to name a file, or %s", err, loginAs)
		}
		data = found.JSON
	}
	var err error
	if len(data) == 0 && o.JSON == nil {
		s.minter = metadataMinter{}
	} else if s.minter, err = parse(data); err != nil {
		return nil, err
	}
	return s, nil
}

// source is what New returns.
type source struct {
	audience string
	client   *client
	minter   minter
	email    atomic.Pointer[string]
}

// A minter makes ID tokens of one kind of credentials.
type minter interface {
	mint(ctx context.Context, c *client, audience string) (raw string, err error)
	identity(ctx context.Context, c *client) (email string, err error)
}

// Token makes a token.
func (s *source) Token(ctx context.Context) (gcpauth.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, mintTimeout)
	defer cancel()
	raw, err := s.minter.mint(ctx, s.client, s.audience)
	if err != nil {
		return gcpauth.Token{}, explain(ctx, err)
	}
	t, err := gcpauth.ParseToken(strings.TrimSpace(raw), s.IssuerTime())
	if err != nil {
		return gcpauth.Token{}, fmt.Errorf("adc: %w", err)
	}
	if !slices.Contains(t.Audience(), s.audience) {
		return gcpauth.Token{}, fmt.Errorf("adc: the ID token is for the audience %.200q, want %q", t.Audience(), s.audience)
	}
	return t, nil
}

// Invalidate does nothing: no token is kept.
func (*source) Invalidate(gcpauth.Token) {}

// Identity returns the email address of the service account whose tokens these
// are: gcpauth.Cached asks for it, to find them in a shared cache.
func (s *source) Identity(ctx context.Context) (string, error) {
	if email := s.email.Load(); email != nil {
		return *email, nil
	}
	email, err := s.minter.identity(ctx, s.client)
	if err != nil {
		return "", explain(ctx, err)
	}
	if email = strings.TrimSpace(email); !strings.Contains(email, "@") || strings.ContainsAny(email, " <>\r\n") {
		return "", errors.New("adc: the name of the service account is not an email address")
	}
	s.email.Store(&email)
	return email, nil
}

// IssuerTime returns what Google's clock says, going by its last answer, or
// this machine's time before the first.
func (s *source) IssuerTime() time.Time { return s.client.clock.now() }
