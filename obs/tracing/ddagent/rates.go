package ddagent

import (
	"encoding/json"
	"math"
	"strings"
	"sync/atomic"
	"time"
)

// rateKey names a service in an environment; the empty one is the default.
type rateKey struct{ service, env string }

// rate is what an agent asks for. An increase is not followed at once: from
// the rate in force at a time it doubles each second at most, so that an agent
// that has restarted, and wants all of everything, gets no flood.
type rate struct {
	target, from float64
	at           time.Time
}

func (r rate) now(now time.Time) float64 {
	if r.from >= r.target || r.from == 0 { // decreases, and the way up from nothing, are at once
		return r.target
	}
	return min(r.target, r.from*math.Exp2(now.Sub(r.at).Seconds()))
}

// rateTable holds the rates an agent has last answered with.
type rateTable struct {
	rates   atomic.Pointer[map[rateKey]rate]
	version string // of the rates, for the exporter's goroutine alone
}

// ratesUnknown asks for rates with a version: an agent gives its version only
// to those who say one.
const ratesUnknown = "none"

// Rate returns the share of a service's new traces that the agent wants, and
// false as long as no agent has said so. It is for samplers, and takes some
// 30 ns.
func (e *Exporter) Rate(service, env string) (share float64, ok bool) {
	rates := e.rates.rates.Load()
	if rates == nil {
		return 0, false
	}
	r, ok := (*rates)[rateKey{service, env}]
	if !ok {
		r, ok = (*rates)[rateKey{}]
	}
	if !ok {
		return 0, false
	}
	if r.from >= r.target {
		return r.target, true
	}
	return r.now(time.Now()), true
}

// update takes over what an answer says. An answer without rates says that
// nothing has changed.
func (t *rateTable) update(version string, wanted map[string]float64, now time.Time) {
	if version != "" {
		t.version = version
	}
	if wanted == nil {
		return
	}
	var old map[rateKey]rate
	if p := t.rates.Load(); p != nil {
		old = *p
	}
	rates := make(map[rateKey]rate, len(wanted))
	for text, target := range wanted {
		key, ok := parseRateKey(text)
		if !ok || math.IsNaN(target) || target < 0 || target > 1 {
			continue
		}
		r := rate{target: target, from: target, at: now}
		if before, known := old[key]; known {
			r.from = min(before.now(now), target)
		}
		rates[key] = r
	}
	t.rates.Store(&rates)
}

// parseRateKey reads "service:shop,env:prod". A comma may stand in either.
func parseRateKey(text string) (rateKey, bool) {
	text, ok := strings.CutPrefix(text, "service:")
	at := strings.LastIndex(text, ",env:")
	if !ok || at < 0 {
		return rateKey{}, false
	}
	return rateKey{text[:at], text[at+len(",env:"):]}, true
}

// readRates returns the rates in an answer's body, or nil.
func readRates(body []byte) map[string]float64 {
	var answer struct {
		ByService map[string]float64 `json:"rate_by_service"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return answer.ByService
}
