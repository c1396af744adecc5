//go:build unix

package benchmarks

import (
	"context"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/idtoken"

	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

const agentURL = "https://agent-xyz.a.run.app"

// atOnce answers without a network.
type atOnce struct{ resp *http.Response }

func (a atOnce) RoundTrip(*http.Request) (*http.Response, error) { return a.resp, nil }

var noAnswer = atOnce{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}}

// newMetadata is where both get their one token.
func newMetadata(tb testing.TB) *emulator.MetadataServer {
	tb.Helper()
	m, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	return m
}

func newTokens(tb testing.TB) *gcpauth.CachedSource {
	tb.Helper()
	c := gcpauth.Cached(gcpauth.Metadata(gcpauth.MetadataOptions{Audience: agentURL, Host: newMetadata(tb).Host()}),
		gcpauth.CacheOptions{Audience: agentURL})
	tb.Cleanup(func() { c.Shutdown(context.Background()) }) //nolint:errcheck // it has no deadline to miss
	if _, err := c.Token(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return c
}

func newGoogleTokens(tb testing.TB) oauth2.TokenSource {
	tb.Helper()
	tb.Setenv("GCE_METADATA_HOST", newMetadata(tb).Host())
	s, err := idtoken.NewTokenSource(tb.Context(), agentURL)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func ourTokens(tb testing.TB) work {
	c, ctx := newTokens(tb), context.Background()
	return each(func() {
		if _, err := c.Token(ctx); err != nil {
			tb.Fatal(err)
		}
	})
}

func googleTokens(tb testing.TB) work {
	s := newGoogleTokens(tb)
	return each(func() {
		if _, err := s.Token(); err != nil {
			tb.Fatal(err)
		}
	})
}

// exports is a request of an exporter through rt.
func exports(tb testing.TB, rt http.RoundTripper) work {
	tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, agentURL+"/v1.0/traces", http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{"Content-Type", "Datadog-Meta-Lang", "Datadog-Meta-Lang-Version", "Datadog-Meta-Tracer-Version", "X-Datadog-Trace-Count"} {
		r.Header.Set(name, "value")
	}
	return each(func() {
		resp, err := rt.RoundTrip(r)
		if err != nil {
			tb.Fatal(err)
		}
		resp.Body.Close()
	})
}

func ourTransport(tb testing.TB) work {
	return exports(tb, &gcpauth.Transport{Source: newTokens(tb), Origin: agentURL, Base: noAnswer})
}

func googleTransport(tb testing.TB) work {
	return exports(tb, &oauth2.Transport{Source: newGoogleTokens(tb), Base: noAnswer})
}

// headers keeps the header that would have been sent.
type headers struct {
	atOnce
	last string
}

func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	h.last = r.Header.Get("Authorization")
	return h.atOnce.RoundTrip(r)
}

// TestTokenParity shows that both send a token of the metadata server's.
func TestTokenParity(t *testing.T) {
	for name, rt := range map[string]func(http.RoundTripper) http.RoundTripper{
		"kumihimo": func(base http.RoundTripper) http.RoundTripper {
			return &gcpauth.Transport{Source: newTokens(t), Origin: agentURL, Base: base}
		},
		"google": func(base http.RoundTripper) http.RoundTripper {
			return &oauth2.Transport{Source: newGoogleTokens(t), Base: base}
		},
	} {
		h := &headers{atOnce: noAnswer}
		exports(t, rt(h))(1)
		token, err := gcpauth.ParseToken(h.last[min(len("Bearer "), len(h.last)):], time.Time{})
		if err != nil || len(token.Audience()) != 1 || token.Audience()[0] != agentURL {
			t.Errorf("%s: %v, audience %q", name, err, token.Audience())
		}
	}
}
