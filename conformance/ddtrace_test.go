package conformance

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// idToken returns an unsigned token: our front reads only whether it is the
// one it wants.
func idToken(t *testing.T, audience, id string) gcpauth.Token {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now()
	token, err := gcpauth.ParseToken(part(map[string]string{"alg": "RS256"})+"."+part(map[string]any{
		"aud": audience, "sub": "shop", "jti": id, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})+".c2ln", now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tokens gives the first of its tokens until that is refused.
type tokens struct {
	mu   sync.Mutex // guards list
	list []gcpauth.Token
}

func (s *tokens) Token(context.Context) (gcpauth.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[0], nil
}

func (s *tokens) Invalidate(t gcpauth.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 1 && s.list[0] == t {
		s.list = s.list[1:]
	}
}

// TestDDTraceGoThroughOurTransport is for services that stay on Datadog's own
// SDK: its tracer sends through the same http.Client as our exporter, to an
// agent behind Google's authentication. Ten lines:
//
//	client := &http.Client{Transport: &gcpauth.Transport{Source: source, Origin: agentURL}}
//	tracer.Start(tracer.WithAgentURL(agentURL), tracer.WithHTTPClient(client))
func TestDDTraceGoThroughOurTransport(t *testing.T) {
	t.Setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
	t.Setenv("DD_TRACE_STARTUP_LOGS", "false")
	t.Setenv("DD_TRACE_STATS_COMPUTATION_ENABLED", "false") // the agent counts
	a := agent.Start(t)
	u, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	var mu sync.Mutex // guards what follows
	seen := make(map[string]bool)
	refused := 0
	var valid string // the header's value that the front lets pass
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ok := r.Header.Get("Authorization") == valid
		if ok {
			seen[r.URL.Path] = true
		} else {
			refused++
		}
		mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)

	source := &tokens{list: []gcpauth.Token{idToken(t, front.URL, "expired"), idToken(t, front.URL, "good")}}
	client := &http.Client{Transport: &gcpauth.Transport{Source: source, Origin: front.URL}, Timeout: 10 * time.Second}
	valid = bearer(t, source.list[1])

	if err := tracer.Start(tracer.WithAgentURL(front.URL), tracer.WithHTTPClient(client), tracer.WithService("legacy"), tracer.WithEnv("prod"), tracer.WithLogger(quiet{})); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		root := tracer.StartSpan("http.server.request", tracer.ResourceName("GET /"), tracer.SpanType("web"), tracer.Tag(ext.SpanKind, "server"))
		root.StartChild("work").Finish()
		root.Finish()
	}
	tracer.Flush()
	tracer.Stop()
	spans := a.WaitSpans(t, 20)
	a.Stop()

	for _, s := range spans {
		if s.Service != "legacy" {
			t.Errorf("got %+v", s)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !seen["/info"] || !seen["/v1.0/traces"] {
		t.Errorf("with a token it asked for %v", slices.Sorted(maps.Keys(seen)))
	}
	if refused != 1 {
		t.Errorf("%d requests were refused, want the one that found the token expired", refused)
	}
	if hits, _ := sumHits(a.Stats(), spans[slices.IndexFunc(spans, func(s agent.Span) bool { return s.Type == "web" })]); hits != 10 {
		t.Errorf("%d hits, want 10: %+v", hits, a.Stats())
	}
}

// bearer returns the header that the transport makes of a token: the value is
// to be had in no other way.
func bearer(t *testing.T, token gcpauth.Token) (header string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header.Get("Authorization") }))
	defer server.Close()
	client := &http.Client{Transport: &gcpauth.Transport{Source: &tokens{list: []gcpauth.Token{token}}, Origin: server.URL}}
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return header
}
