package ddagent

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"
)

// version is a version of the agent's protocol.
type version uint8

const (
	v04      version = iota // every agent, and the OpenTelemetry Collector's receiver
	v10                     // a fifth of the bytes; agents that list it in /info
	versions                // how many there are
)

var tracePaths = [versions]string{v04: "v0.4/traces", v10: "v1.0/traces"}

func (v version) other() version { return v10 - v }

// protocol chooses the version. It asks the agent when the first payload is
// about to leave, and again only when an answer shows another agent or another
// configuration: an idle exporter asks nothing.
type protocol struct {
	version version
	asked   bool
	// states are the last Datadog-Agent-State that answers had, each the hash of
	// what /info says there; several agents may stand behind one URL.
	states []string
	failed time.Time // when /info said nothing; zero if it did
}

// maxStates bounds the agents that are told apart.
const maxStates = 8

const (
	infoTimeout = 3 * time.Second // short: who says nothing is spoken to in v0.4
	infoPause   = time.Minute     // between questions that are not answered
)

// choose returns the version of the next payload.
func (p *protocol) choose(ctx context.Context, c *client) version {
	if p.asked || c.err != nil {
		return p.version
	}
	p.asked, p.version = true, v04
	in, ok := c.info(ctx)
	if !ok {
		p.failed = time.Now()
		return p.version
	}
	p.failed = time.Time{}
	if in.speaks(v10) {
		p.version = v10
	}
	p.note(in.state)
	return p.version
}

// seen notes the state in an answer. One that is new is asked about before the
// next payload; so is a known one, after a while, if the question failed.
func (p *protocol) seen(state string) {
	if p.note(state) || state != "" && !p.failed.IsZero() && time.Since(p.failed) >= infoPause {
		p.asked = false
	}
}

func (p *protocol) note(state string) (isNew bool) {
	if state == "" || slices.Contains(p.states, state) {
		return false
	}
	if len(p.states) == maxStates {
		p.states = slices.Delete(p.states, 0, 1)
	}
	p.states = append(p.states, state)
	return true
}

// agentInfo is what we read of /info.
type agentInfo struct {
	Endpoints []string `json:"endpoints"`
	state     string
}

func (in *agentInfo) speaks(v version) bool {
	return slices.Contains(in.Endpoints, "/"+tracePaths[v])
}

// info asks the agent what it speaks. ok is false if it does not say.
func (c *client) info(ctx context.Context) (in agentInfo, ok bool) {
	ctx, attempt := beginAttempt(ctx, min(infoTimeout, c.timeout))
	defer attempt.end()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.infoURL, http.NoBody)
	if err != nil {
		return in, false
	}
	req.Header = c.header.Clone()
	req.Header.Del("Content-Type")
	resp, err := c.do(req)
	if err != nil {
		return in, false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRatesBody))
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &in) != nil {
		return agentInfo{}, false
	}
	in.state = resp.Header.Get(headerState)
	return in, true
}
