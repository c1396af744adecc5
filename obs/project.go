package obs

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/compute/metadata"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// project knows the Google Cloud project's id, or will: Cloud Run does not put
// it into the environment, and start-up must not wait for it.
type project struct {
	id atomic.Pointer[string]
}

func (p *project) ID() string {
	if id := p.id.Load(); id != nil {
		return *id
	}
	return ""
}

// fetch asks the metadata server until it answers or ctx ends, and says once
// that it does not and once that it does again. host replaces the server's
// well-known address if not empty.
func (p *project) fetch(ctx context.Context, host string, logger *slog.Logger) {
	client := metadata.NewWithOptions(&metadata.Options{Client: &http.Client{
		Timeout:   5 * time.Second,
		Transport: metadataTransport(host),
	}})
	ctx = obsctx.Suppress(ctx)
	failing := false
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		// Not ProjectIDWithContext: it caches for the process, whatever the host.
		id, err := client.GetWithContext(ctx, "project/project-id")
		if id = strings.TrimSpace(id); err == nil && !isProjectID(id) {
			err = errors.New("the answer is not a project's id")
		}
		if err == nil {
			p.id.Store(&id)
			if failing {
				logger.LogAttrs(ctx, slog.LevelInfo, "Google Cloud project found", slog.String("project", id))
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !failing {
			failing = true
			logger.LogAttrs(ctx, slog.LevelWarn, "metadata server does not tell the project; logs carry trace ids without it",
				slog.Any("error", err), slog.String("hint", "set GOOGLE_CLOUD_PROJECT"))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// isProjectID refuses what is not one, the page of a captive portal for
// instance. Old projects have a domain before a colon. See
// https://cloud.google.com/resource-manager/docs/creating-managing-projects.
func isProjectID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == ':':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// metadataTransport has no proxy: the metadata server is on this machine.
func metadataTransport(host string) http.RoundTripper {
	base := &http.Transport{DisableKeepAlives: true}
	if host == "" {
		return base
	}
	return hostTransport{host, base}
}

type hostTransport struct {
	host string
	base http.RoundTripper
}

func (t hostTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = t.host, t.host
	return t.base.RoundTrip(r)
}
