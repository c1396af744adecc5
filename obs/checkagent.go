package obs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// probed is what the one request to the agent has shown.
type probed struct {
	ddagent.Probe
	done bool
	url  string // without a password
}

// noAgent says why there is none.
func (c *checkup) noAgent() string {
	switch {
	case !c.s.enabled:
		return "tracing is off (DD_TRACE_ENABLED, OTEL_SDK_DISABLED)"
	case c.t.spans.SpanProcessor != nil:
		return "Options.SpanExporter takes the agent's place"
	}
	return "no agent: DD_TRACE_AGENT_URL is not set"
}

// frontEnd asks whether the request is let in.
func (c *checkup) frontEnd(ctx context.Context) Finding {
	switch {
	case c.t.spans.probe == nil:
		return skipped(c.noAgent())
	case c.t.auth == nil:
		return skipped("requests carry no token here (OBS_AGENT_AUTH)")
	case c.refused:
		return skipped("there is no ID token to send: see token")
	}
	if err := c.unsent(ctx); err != nil {
		return failed(err.Error(), "see token; a source that failed is asked again within 5 s: ask here again then")
	}
	p := c.probe(ctx)
	switch {
	case p.Status == 0:
		return failed(fmt.Sprintf("%s: %v", p.url, p.Err), dialHint(p.Err))
	case !p.Agent && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden):
		return c.refusal()
	}
	return ok(p.url + " lets " + c.identity() + " in")
}

// unsent says why the exporter has no token, though the source has just given
// one: after a failure it is not asked again for a while.
func (c *checkup) unsent(ctx context.Context) error {
	if c.t.tokens == nil {
		return nil
	}
	_, err := bounded(ctx, c.t.tokens.Token)
	c.refused = err != nil
	return err
}

// refusal is about the token that was sent, the second one if there were two.
func (c *checkup) refusal() Finding {
	r := c.t.auth.Refusal()
	if r.Status == 0 { // another request has been let in since
		r = gcpauth.Refusal{Status: c.probed.Status, Identity: c.given.Identity(), Audience: c.given.Audience(), Role: "roles/run.invoker"}
	}
	hint := hintForRefusal(r, c.s.agent.url)
	if r.Status == http.StatusForbidden {
		return failed(fmt.Sprintf("%s: status 403: %s lacks %s", c.probed.url, r.Identity, r.Role), hint)
	}
	return failed(fmt.Sprintf("%s: status 401: the token of %s for the audience %q is not taken", c.probed.url, r.Identity, r.Audience), hint)
}

func (c *checkup) identity() string {
	if id := c.given.Identity(); id != "" {
		return id
	}
	return "the token"
}

// agent asks whether what is behind takes spans.
func (c *checkup) agent(ctx context.Context) Finding {
	switch {
	case c.t.spans.probe == nil:
		return skipped(c.noAgent())
	case c.refused:
		return skipped("there is no ID token to send: see token")
	}
	p := c.probe(ctx)
	letIn := p.Agent || p.Status != http.StatusUnauthorized && p.Status != http.StatusForbidden
	switch {
	case c.t.auth != nil && (p.Status == 0 || !letIn):
		return skipped("not reached: see frontend")
	case p.Err == nil && p.Version == "":
		return warning(fmt.Sprintf("%s takes %s, without an /info of its own: an OpenTelemetry Collector's receiver, or an old agent", p.url, p.Protocol),
			"none needed; a Datadog Agent would say what it speaks, and take v1.0")
	case p.Err == nil:
		return ok(fmt.Sprintf("%s: Datadog Agent %s, protocol %s", p.url, p.Version, p.Protocol))
	case p.Status == 0:
		return failed(fmt.Sprintf("%s: %v", p.url, p.Err), dialHint(p.Err))
	case !letIn:
		return failed(fmt.Sprintf("%s: %v", p.url, p.Err), "it asks for a token: set OBS_AGENT_AUTH=google, and OBS_AGENT_AUDIENCE to the service's URL")
	}
	return failed(fmt.Sprintf("%s: %v", p.url, p.Err), c.agentHint())
}

func (c *checkup) agentHint() string {
	svc := serviceOf(c.s.agent.url)
	switch status := c.probed.Status; {
	case status >= 500, status == http.StatusTooManyRequests:
		return fmt.Sprintf("what is behind does not answer, or not yet: gcloud run services logs read %s --region=%s", svc.name, svc.region)
	case otlpPort(c.s.agent.url):
		return "that port is OTLP's: the agent takes traces on its own, 8126 unless apm_config.receiver_port says another"
	case status == http.StatusNotFound && c.t.auth != nil:
		return "no agent takes traces there: look at the URL, its path and the service's ingress, and set DD_APM_ENABLED=true and DD_APM_NON_LOCAL_TRAFFIC=true on the agent"
	}
	return "no agent takes traces there: DD_TRACE_AGENT_URL must lead to a Datadog Agent's trace port (8126)"
}

func otlpPort(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Port() == "4317" || u.Port() == "4318")
}

// dialHint is for a request that got no answer.
func dialHint(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return "no such host: look at DD_TRACE_AGENT_URL"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return "nobody listens there: start the agent, or look at DD_TRACE_AGENT_URL"
	case errors.As(err, &certificate):
		return "the certificate is not for that host, or nobody's we trust: look at DD_TRACE_AGENT_URL"
	case errors.Is(err, context.DeadlineExceeded):
		return "nobody answers: look at DD_TRACE_AGENT_URL, and at what the network lets through"
	}
	return "look at DD_TRACE_AGENT_URL: it must be the agent's own address"
}

// probe asks the agent, once for all questions.
func (c *checkup) probe(ctx context.Context) *probed {
	if c.probed.done {
		return &c.probed
	}
	asked := time.Now()
	p, err := bounded(ctx, func(ctx context.Context) (ddagent.Probe, error) { return c.t.spans.probe(ctx), nil })
	if err != nil {
		p.Err = err
	}
	c.probed = probed{Probe: p, done: true, url: c.s.agent.shown}
	if c.skew == nil && !c.probed.Date.IsZero() {
		c.skew = newSkew("the agent's", c.probed.Date, asked, time.Now())
	}
	return &c.probed
}

// skew is how far this machine's clock is from another.
type skew struct {
	whose string
	by    time.Duration // at least; above 0: this machine's is ahead
}

// newSkew compares a Date header with the times at which it was asked for and
// had come: it was written between the two, and cut to the second. What that
// leaves open is not counted as skew, so that a slow answer is none.
func newSkew(whose string, date, asked, answered time.Time) *skew {
	s := &skew{whose: whose}
	if ahead := asked.Sub(date.Add(time.Second)); ahead > 0 {
		s.by = ahead
	} else if behind := date.Sub(answered); behind > 0 {
		s.by = -behind
	}
	return s
}

// Clocks that differ by less than skewWarns are usual. Above skewFails spans
// are not where the rest of their trace is, and tokens may be from the future
// for who checks them.
const (
	skewWarns = 5 * time.Second
	skewFails = 5 * time.Minute
)

func (c *checkup) clock(context.Context) Finding {
	if c.skew == nil {
		return skipped("nobody has told the time")
	}
	by, side := c.skew.by.Round(time.Second), "ahead of"
	if by < 0 {
		by, side = -by, "behind"
	}
	detail := fmt.Sprintf("%v %s %s", by, side, c.skew.whose)
	const hint = "set this machine's clock (NTP): log entries and spans carry its time; tokens are renewed by the issuer's"
	switch {
	case by >= skewFails:
		return failed(detail, hint)
	case by >= skewWarns:
		return warning(detail, hint)
	}
	return ok("as " + c.skew.whose + ", to the second")
}
