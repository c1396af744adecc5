package ddagent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A Probe is what [Exporter.Probe] found behind the agent's URL.
type Probe struct {
	// Err says why spans would not be taken. Nil: they would be.
	Err error

	// Status is that of the HTTP answer which decided; 0: there was none.
	Status int

	// Agent says that an agent answered, or what takes its place, as the
	// OpenTelemetry Collector's receiver does; not a page of somebody else's.
	Agent bool

	// Version is the agent's own, as "7.80.0". Empty: it does not say.
	Version string

	// Protocol is what spans would be sent in: "v1.0" or "v0.4".
	Protocol string

	// Date is the time by the answer's clock, to the second. Zero: it does not
	// say.
	Date time.Time
}

// Probe asks the agent's URL whether spans would be taken: it reads /info and,
// where nothing of use is there, sends a payload without spans. It takes the
// spans' way, authentication included, and changes nothing of what the exporter
// does. It ends with ctx, and after 10 s.
func (e *Exporter) Probe(ctx context.Context) Probe {
	if e.client.err != nil {
		return Probe{Err: e.client.err}
	}
	ctx, cancel := context.WithTimeout(obsctx.Suppress(ctx), attemptTimeout)
	defer cancel()
	p := e.client.probeInfo(ctx)
	switch {
	case p.Err == nil:
		return p
	case p.Status == http.StatusOK, p.Status == http.StatusNotFound, p.Status == http.StatusMethodNotAllowed:
		if q := e.client.probeTraces(ctx); q.Err == nil || q.Status != p.Status {
			return q
		}
	}
	return p
}

// probeInfo asks what an agent says of itself.
func (c *client) probeInfo(ctx context.Context) Probe {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.infoURL, http.NoBody)
	if err != nil {
		return Probe{Err: err}
	}
	req.Header = c.header.Clone()
	req.Header.Del("Content-Type")
	p, resp, body := c.exchange(req)
	if resp == nil {
		return p
	}
	var in struct {
		agentInfo
		Version string `json:"version"`
	}
	switch {
	case p.Status != http.StatusOK:
		p.Err = fmt.Errorf("/info: status %d", p.Status)
	case json.Unmarshal(body, &in) != nil || in.Endpoints == nil:
		p.Err = fmt.Errorf("/info: the answer is not an agent's%s", mediaType(resp))
	default:
		p.Agent, p.Version, p.Protocol = true, word(in.Version), "v0.4"
		if in.speaks(v10) {
			p.Protocol = "v1.0"
		}
	}
	return p
}

// probeTraces sends an empty list of traces in v0.4, which everything that
// takes Datadog's traces knows.
func (c *client) probeTraces(ctx context.Context) Probe {
	empty := []byte{0x90} // an array of no elements
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.urls[v04], bytes.NewReader(empty))
	if err != nil {
		return Probe{Err: err}
	}
	req.Header = c.header.Clone()
	req.Header.Set("X-Datadog-Trace-Count", "0")
	p, resp, body := c.exchange(req)
	if resp == nil {
		return p
	}
	switch {
	case p.Status/100 != 2:
		p.Err = fmt.Errorf("/%s: status %d", tracePaths[v04], p.Status)
	case !fromAgent(resp.Header, body):
		p.Err = fmt.Errorf("/%s: the answer is not an agent's%s", tracePaths[v04], mediaType(resp))
	default:
		p.Agent, p.Protocol = true, "v0.4"
	}
	return p
}

// takesOTLP asks whether what knows no path of Datadog's is a receiver of OTLP:
// its answer is that of any Go server without the path, and OTLP's is for POST
// alone.
func (c *client) takesOTLP(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.otlpURL, http.NoBody)
	if err != nil {
		return false
	}
	p, _, _ := c.exchange(req)
	return p.Status == http.StatusMethodNotAllowed
}

// exchange returns the answer's head in a Probe, and no response if there is
// none. No error shows the URL, which may have a password in it.
func (c *client) exchange(req *http.Request) (Probe, *http.Response, []byte) {
	resp, err := c.do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return Probe{Err: err}, nil, nil
	}
	defer resp.Body.Close()
	p := Probe{Status: resp.StatusCode, Agent: fromAgent(resp.Header, nil), Version: word(resp.Header.Get("Datadog-Agent-Version"))}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		p.Date = date
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRatesBody))
	if err != nil {
		p.Err = fmt.Errorf("the answer ended early: %w", err)
		return p, nil, nil
	}
	return p, resp, body
}

// mediaType names the answer's type, if it has one that can be read.
func mediaType(resp *http.Response) string {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || !strings.Contains(kind, "/") {
		return ""
	}
	return fmt.Sprintf(" (it is %s)", word(kind))
}

// word is s without what could be more than a word on somebody's terminal.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 50)]
}
