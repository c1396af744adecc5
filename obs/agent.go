package obs

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// agentSocket is where a Datadog Agent on the same host listens.
const agentSocket = "/var/run/datadog/apm.socket"

// agentSettings say where traces go and how they are let in.
type agentSettings struct {
	url      string // empty: no agent
	shown    string // the url without what could be a secret
	auth     bool   // with Google ID tokens
	audience string
}

// agent finds the agent's URL and what it takes to talk to it.
func (r *reader) agent(opts Options, p platform, metadata bool, red *redact.Redactor) agentSettings {
	var a agentSettings
	if opts.SpanExporter != nil {
		if opts.AgentURL != "" {
			r.fail("Options.AgentURL", red.URL(opts.AgentURL), "nothing beside Options.SpanExporter, which takes the agent's place")
		}
		r.note("agent", "none", "Options.SpanExporter")
		return a
	}
	raw, source := r.agentURL(opts, p)
	mode, modeSource := r.oneOf(opts.AgentAuth, "AgentAuth", "OBS_AGENT_AUTH", "auto", "google", "none")
	if raw == "" {
		r.note("agent", "none", source)
		return a
	}
	r.note("agent", red.URL(raw), source)
	u, err := url.Parse(raw)
	if err != nil || !validAgentURL(u) {
		r.fail(source, red.URL(raw), "an http, https or unix URL such as https://agent-xyz.a.run.app or http://localhost:8126")
		return a
	}
	a.url, a.shown = raw, red.URL(raw)
	a.auth = mode == "google" ||
		mode == "auto" && (opts.TokenSource != nil || u.Scheme == "https" && (p.google() || metadata))
	noteSource := modeSource
	if mode == "auto" {
		noteSource = fromDetected
	}
	if !a.auth {
		r.note("agent.auth", "none", noteSource)
		return a
	}
	r.note("agent.auth", "google", noteSource)
	r.checkAuth(&a, opts, u, source, modeSource, p.google() || metadata)
	return a
}

func (r *reader) agentURL(opts Options, p platform) (raw, source string) {
	if raw, source = r.pick(opts.AgentURL, "AgentURL", "DD_TRACE_AGENT_URL"); source != "" {
		return raw, source
	}
	host, hostSource := r.variable("DD_AGENT_HOST")
	port, portSource := r.variable("DD_TRACE_AGENT_PORT")
	if hostSource != "" || portSource != "" {
		if host == "" {
			host = "localhost"
		}
		switch {
		case port == "":
			port = "8126"
		case !validPort(port):
			r.fail(portSource, port, "a port from 1 to 65535")
			port = "8126"
		}
		return "http://" + net.JoinHostPort(host, port), strings.Trim(hostSource+"+"+portSource, "+")
	}
	if r.isSocket(agentSocket) {
		return "unix://" + agentSocket, fromDetected
	}
	if p.google() {
		return "http://localhost:8126", fromDefault
	}
	return "", fromDefault
}

func validAgentURL(u *url.URL) bool {
	switch u.Scheme {
	case "http", "https":
		port := u.Port()
		return u.Hostname() != "" && u.RawQuery == "" && u.Fragment == "" &&
			(validPort(port) || port == "" && !strings.HasSuffix(u.Host, ":"))
	case "unix":
		return u.Host == "" && u.Path != ""
	default:
		return false
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// metadata returns the address of the metadata server, or "" for Google's.
func (r *reader) metadata() string {
	host, source := r.variable("GCE_METADATA_HOST")
	if source == "" {
		return ""
	}
	r.note("metadata.host", host, source)
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || strings.Contains(host, " ") || u.Port() != "" && !validPort(u.Port()) {
		r.fail(source, redact.Placeholder, "host or host:port")
	}
	return host
}

// checkAuth completes a for Google authentication and refuses what could not
// work: tokens over an open line, no source of tokens, no audience.
func (r *reader) checkAuth(a *agentSettings, opts Options, u *url.URL, source, modeSource string, metadata bool) {
	origin := gcpauth.Transport{Origin: a.url}
	if err := origin.Check(); err != nil {
		r.errs = append(r.errs, &settingError{source, err})
	}
	if opts.TokenSource != nil {
		return
	}
	if !metadata {
		r.fail(modeSource, "google", "none outside Google Cloud, where no metadata server issues tokens, or Options.TokenSource set (gcpauth/adc has one)")
		return
	}
	var audienceSource string
	a.audience, audienceSource = r.pick(opts.Audience, "Audience", "OBS_AGENT_AUDIENCE")
	if a.audience == "" && strings.HasSuffix(u.Hostname(), ".run.app") {
		a.audience = u.Scheme + "://" + u.Host
		r.note("agent.audience", a.audience, source)
		return
	}
	if a.audience == "" {
		r.fail("OBS_AGENT_AUDIENCE", "", "the audience of the agent's ID tokens (a run.app URL or a custom audience), which cannot be derived from the agent's URL")
		return
	}
	r.note("agent.audience", a.audience, audienceSource)
}

// exporterClient returns the client that carries traces, authenticated where
// s says so, or nil where the exporter's own will do.
func (t *Telemetry) exporterClient(opts Options, s settings) *http.Client {
	socket := strings.HasPrefix(s.agent.url, "unix:")
	if !s.agent.auth {
		if socket {
			return nil // the program's client knows nothing of the socket
		}
		return opts.HTTPClient
	}
	t.authenticate(opts, s)
	client := http.Client{Timeout: exportTimeout}
	if opts.HTTPClient != nil {
		client = *opts.HTTPClient
	}
	if socket {
		client.Transport = nil // gcpauth dials it
	} else if client.Transport == nil {
		t.transport = ownTransport()
		client.Transport = t.transport
	}
	t.auth = &gcpauth.Transport{Source: t.tokens, Origin: s.agent.url, Base: client.Transport}
	if t.tokens == nil {
		t.auth.Source = t.source
	}
	client.Transport = t.auth
	return &client
}

// authenticate finds the source of tokens, and puts our cache around one that
// is not the program's.
func (t *Telemetry) authenticate(opts Options, s settings) {
	if t.source = opts.TokenSource; t.source != nil {
		return
	}
	t.source = gcpauth.Metadata(gcpauth.MetadataOptions{Audience: s.agent.audience, Host: s.metadataHost})
	t.cache = opts.TokenCache
	t.tokens = gcpauth.Cached(t.source, gcpauth.CacheOptions{Audience: s.agent.audience, Cache: t.cache, Logger: t.internal})
}

// refusalHint says what mends the answers that the exporter gets.
func (t *Telemetry) refusalHint(status int) string {
	if t.auth == nil {
		return ""
	}
	r := t.auth.Refusal()
	hint := hintForRefusal(r, t.settings.agent.url)
	switch {
	case r.Status != status || hint == "":
		return ""
	case r.Role != "":
		return fmt.Sprintf("%s lacks %s: %s", r.Identity, r.Role, hint)
	}
	return fmt.Sprintf("the token of %s is for the audience %q: %s", r.Identity, r.Audience, hint)
}

// ownTransport is net/http's default one as it was made: what the program has
// put in its place may trace its requests, ours among them.
func ownTransport() *http.Transport {
	if std, ok := http.DefaultTransport.(*http.Transport); ok {
		return std.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second}
}

// exportTimeout bounds one request to the agent. The agent itself gives a body
// 5 s.
const exportTimeout = 10 * time.Second
