package obs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

const (
	metadataAddress = "169.254.169.254"
	askTimeout      = 5 * time.Second  // one value of the metadata server
	tokenTimeout    = 10 * time.Second // as long as a refresh has
	cacheTimeout    = 2 * time.Second

	// cacheAttempts: a first connection takes longer than a call may.
	cacheAttempts = 3
)

// instance is what the metadata server says of where the program runs.
type instance struct {
	project, account string
}

// hasMetadata reports whether there should be a metadata server.
func (c *checkup) hasMetadata() bool { return c.s.platform.google() || c.s.metadataHost != "" }

// needsMetadata reports whether tokens come from it.
func (c *checkup) needsMetadata() bool { return c.t.tokens != nil }

func (c *checkup) metadata(ctx context.Context) Finding {
	if !c.hasMetadata() {
		return skipped("not on Google Cloud: there is no metadata server")
	}
	host := c.s.metadataHost
	if host == "" {
		host = metadataAddress
	}
	var err error
	if c.instance.project, err = c.askMetadata(ctx, host, "project/project-id"); err == nil && !isProjectID(c.instance.project) {
		c.instance.project, err = "", errors.New("the answer is not a project's id")
	}
	if err == nil {
		c.instance.account, err = c.askMetadata(ctx, host, "instance/service-accounts/default/email")
	}
	var status metadataStatus
	switch noAccount := errors.As(err, &status) && status == http.StatusNotFound && c.instance.project != ""; {
	case err == nil:
		return ok(fmt.Sprintf("%s: project %s, service account %s", host, c.instance.project, c.instance.account))
	case noAccount && c.needsMetadata():
		return failed(host+": the instance has no service account, so nobody's tokens can be had", c.accountHint())
	case noAccount:
		return ok(fmt.Sprintf("%s: project %s, no service account", host, c.instance.project))
	}
	f := failed(host+": "+err.Error(), c.metadataHint(err))
	if !c.needsMetadata() && c.s.projectID != "" {
		f.State = stateWarning // nothing is asked of it
	}
	return f
}

func (c *checkup) accountHint() string {
	if c.s.platform == platformCloudRun {
		return "gcloud run services update " + shellWord(c.s.service) + " --service-account=EMAIL"
	}
	return "give this " + string(c.s.platform) + " instance a service account"
}

func (c *checkup) metadataHint(err error) string {
	switch {
	case errors.Is(err, errFlavor):
		return "something else answers there: look at GCE_METADATA_HOST, and at proxies and captive portals between"
	case c.s.metadataHost != "":
		return "start what GCE_METADATA_HOST names, or unset it"
	case c.s.platform == platformGKE:
		return "give the pod's service account an identity (Workload Identity Federation for GKE), and let a network policy pass " + metadataAddress
	}
	return "let this program reach " + metadataAddress + "; elsewhere set Options.TokenSource, or OBS_AGENT_AUTH=none"
}

// metadataStatus is an answer that is no success.
type metadataStatus int

func (s metadataStatus) Error() string { return fmt.Sprintf("status %d", int(s)) }

var errFlavor = errors.New("the answer lacks the header Metadata-Flavor: Google")

// askMetadata asks for one short value, and looks at the clock of who answers.
// See https://cloud.google.com/compute/docs/metadata/querying-metadata.
func (c *checkup) askMetadata(ctx context.Context, host, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/computeMetadata/v1/"+path, http.NoBody)
	if err != nil {
		return "", errors.New("malformed host: want host:port")
	}
	r.Header.Set("Metadata-Flavor", "Google")
	asked := time.Now()
	resp, err := metadataTransport("").RoundTrip(r) // not a Client: no redirects
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answered := time.Now()
	switch {
	case resp.StatusCode != http.StatusOK:
		return "", metadataStatus(resp.StatusCode)
	case resp.Header.Get("Metadata-Flavor") != "Google":
		return "", errFlavor // whoever it is: its clock does not count
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.skew = newSkew("the metadata server's", date, asked, answered)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// project asks which project the trace ids in logs name.
func (c *checkup) project(context.Context) Finding {
	known := c.s.projectID
	if known == "" {
		known = c.t.project.ID()
	}
	if known == "" {
		known = c.instance.project
	}
	switch {
	case known == "" && !c.hasMetadata():
		return skipped("not on Google Cloud: no log entry names a project")
	case known == "" && !c.s.json:
		return skipped("not known, and records that are text do not name it")
	case known == "":
		return failed("not known: the traces of log entries have an id without a project, which Cloud Logging does not link", "set GOOGLE_CLOUD_PROJECT")
	case c.instance.project != "" && known != c.instance.project:
		return warning(fmt.Sprintf("log entries name the traces of %s, but this runs in %s", known, c.instance.project),
			"set GOOGLE_CLOUD_PROJECT="+shellWord(c.instance.project)+", or unset it, unless the traces are kept in the other project")
	}
	return ok(known)
}

// token asks the source itself, so that what is in memory hides nothing.
func (c *checkup) token(ctx context.Context) Finding {
	switch {
	case c.t.spans.probe == nil:
		return skipped(c.noAgent())
	case c.t.source == nil:
		return skipped("the agent takes no token here (OBS_AGENT_AUTH)")
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	given, err := bounded(ctx, c.t.source.Token)
	if err == nil && given == (gcpauth.Token{}) {
		err = errors.New("the source returned no ID token")
	}
	if err != nil {
		return c.noToken(ctx, err)
	}
	c.given = given
	audience, left := strings.Join(given.Audience(), " "), time.Until(given.Expires()).Round(time.Second)
	detail := fmt.Sprintf("of %s, for the audience %s, valid for %v", given.Identity(), audience, left)
	switch want := c.s.agent.audience; {
	case want != "" && !slices.Contains(given.Audience(), want):
		return failed(detail, "the agent expects the audience "+shellWord(want)+": the source of tokens must ask for it")
	case left <= 0:
		return failed(detail, "set this machine's clock, or the source gives out old tokens")
	}
	return ok(detail)
}

// noToken looks whether there is one left in memory.
func (c *checkup) noToken(ctx context.Context, err error) Finding {
	hint := "Options.TokenSource gives no token: its error is all there is to know"
	if c.t.tokens != nil {
		hint = "the metadata server gives no token: see metadata, and whether the service account is enabled"
		if t, cached := c.t.tokens.Token(ctx); cached == nil {
			c.given = t
			return warning(fmt.Sprintf("%v; the one in memory is valid for %v", err, time.Until(t.Expires()).Round(time.Second)), hint)
		}
	}
	c.refused = true
	return failed(err.Error(), hint)
}

// cache writes a value to the shared cache and reads it back.
func (c *checkup) cache(ctx context.Context) Finding {
	switch {
	case c.t.cache == nil && c.t.source != nil && c.t.tokens == nil:
		return skipped("tokens of Options.TokenSource are not shared by obs")
	case c.t.cache == nil:
		return skipped("no shared token cache")
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	var began time.Time
	var err error
	for range cacheAttempts {
		began = time.Now()
		if _, err = bounded(ctx, c.writeAndRead); err == nil {
			break
		}
	}
	if err != nil {
		return failed(err.Error(), cacheHint(err))
	}
	return ok(fmt.Sprintf("a value was written and read back in %v", time.Since(began).Round(10*time.Microsecond)))
}

func (c *checkup) writeAndRead(ctx context.Context) (none struct{}, err error) {
	want := []byte(rand.Text())
	key := "check:" + rand.Text()
	if err := c.t.cache.Set(ctx, key, want, time.Minute); err != nil {
		return none, err
	}
	got, err := c.t.cache.Get(ctx, key)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("what was written is not what was read")
	}
	return none, err
}

func cacheHint(err error) string {
	text := err.Error()
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	var dns *net.DNSError
	switch {
	case has("NOAUTH", "WRONGPASS", "NOPERM"):
		return "the Redis URL needs another user or password, or its user another ACL (GET, SET on the cache's prefix)"
	case has("READONLY"):
		return "the Redis URL names a replica: give the primary's address"
	case has("OOM"):
		return "Redis is full: raise maxmemory, or set an eviction policy"
	case has("x509", "tls:"):
		return "use a rediss URL, with rediscache.Options.TLS for a certificate authority of your own"
	case errors.As(err, &dns):
		return "no such host: look at the Redis URL"
	}
	return "start Redis, or let this network reach it (on Cloud Run: Direct VPC egress); until then each instance asks the token source itself"
}
