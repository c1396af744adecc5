package tracing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A SamplingRule says what share is kept of the traces, or single spans, that
// it matches. The patterns are globs in which * stands for any text and ? for
// any one character; case does not count, and an empty one matches
// everything. See
// https://docs.datadoghq.com/tracing/trace_pipeline/ingestion_mechanisms/.
type SamplingRule struct {
	Service  string            `json:"service"`  // as in Datadog
	Name     string            `json:"name"`     // the operation, as in Datadog
	Resource string            `json:"resource"` // as in Datadog
	Tags     map[string]string `json:"tags"`     // all of them must match

	// Rate is the share to keep, from 0 to 1.
	Rate float64 `json:"sample_rate"`

	// MaxPerSecond limits what is kept by this rule. Zero is no limit.
	MaxPerSecond float64 `json:"max_per_second"`
}

// ParseSamplingRules reads rules as DD_TRACE_SAMPLING_RULES and
// DD_SPAN_SAMPLING_RULES have them, a JSON array of
//
//	{"service": "…", "name": "…", "resource": "…", "tags": {"…": "…"}, "sample_rate": 0.5, "max_per_second": 50}
//
// in which all may be left out; without sample_rate everything is kept. The
// error says where in s the mistake is.
func ParseSamplingRules(s string) ([]SamplingRule, error) {
	if s == "" {
		return nil, nil
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		return nil, rulesError(s, 0, err)
	}
	var rules []SamplingRule
	d := json.NewDecoder(strings.NewReader(s)) // of valid JSON, for the positions
	if _, err := d.Token(); err != nil {
		return nil, rulesError(s, 0, err)
	}
	for i, text := range raw {
		d.More() // goes on to the next one
		if err := d.Decode(new(json.RawMessage)); err != nil {
			return nil, rulesError(s, 0, err)
		}
		at := d.InputOffset() - int64(len(text))
		r, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("%w (rule %d)", rulesError(s, at, err), i+1)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// parseRule reads one rule. The fields that only Datadog's remote configuration
// sets are read over.
func parseRule(text []byte) (SamplingRule, error) {
	r := struct {
		SamplingRule
		Provenance json.RawMessage `json:"provenance"`
		Type       json.RawMessage `json:"type"`
	}{SamplingRule: SamplingRule{Rate: 1}}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return SamplingRule{}, err
	}
	return r.SamplingRule, r.check()
}

// rulesError says where in s, at or behind a byte, err is.
func rulesError(s string, at int64, err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	text := err.Error()
	switch {
	case errors.As(err, &syntax):
		at += syntax.Offset - 1
	case errors.As(err, &typ) && typ.Field == "":
		text = "a " + typ.Value + ", want a JSON array of rules, each an object"
	case errors.As(err, &typ):
		at += typ.Offset - 1
		text = fmt.Sprintf("%s: a %s, want a %s", typ.Field, typ.Value, typ.Type)
	}
	at = min(max(at, 0), int64(len(s)))
	return fmt.Errorf("tracing: sampling rules, at byte %d (%.20q): %s", at+1, s[at:], strings.TrimPrefix(text, "json: "))
}

func (r SamplingRule) check() error {
	if !(r.Rate >= 0 && r.Rate <= 1) { // NaN, too
		return fmt.Errorf("sample_rate %v: want a number from 0 to 1", r.Rate)
	}
	if !(r.MaxPerSecond >= 0) || math.IsInf(r.MaxPerSecond, 0) {
		return fmt.Errorf("max_per_second %v: want a number above 0", r.MaxPerSecond)
	}
	return nil
}

// A rule is a SamplingRule made ready.
type rule struct {
	service, name, resource glob
	tags                    []tagGlob
	rate                    float64
	limiter                 *limiter // of the rule; nil: none
	rates                   *obsctx.Rates
	single                  obsctx.Single // what it says of single spans
}

type tagGlob struct {
	key   attribute.Key
	value glob
}

func compileRules(rules []SamplingRule) []*rule {
	compiled := make([]*rule, 0, len(rules))
	for _, r := range rules {
		c := &rule{
			service: newGlob(r.Service), name: newGlob(r.Name), resource: newGlob(r.Resource),
			rate: share(r.Rate),
		}
		for k, v := range r.Tags {
			if g := newGlob(v); g != "" {
				c.tags = append(c.tags, tagGlob{attribute.Key(k), g})
			}
		}
		slices.SortFunc(c.tags, func(a, b tagGlob) int { return len(a.key) - len(b.key) })
		c.single = obsctx.Single{Rate: c.rate, Max: r.MaxPerSecond}
		if r.MaxPerSecond > 0 {
			c.limiter = newLimiter(r.MaxPerSecond)
			c.single.Allow = func() bool {
				ok, _ := c.limiter.allow(time.Now())
				return ok
			}
		}
		c.rates = newRates(c.rate)
		compiled = append(compiled, c)
	}
	return compiled
}

// share returns rate as a number from 0 to 1.
func share(rate float64) float64 {
	if math.IsNaN(rate) {
		return 1
	}
	return min(max(rate, 0), 1)
}

func newRates(rate float64) *obsctx.Rates {
	return &obsctx.Rates{Rate: rate, Limit: -1, Tag: tagKSR + "=" + formatKSR(rate)}
}

// changeable reports whether what r says of a span may change while that is
// open.
func (r *rule) changeable() bool { return r.name != "" || r.resource != "" || len(r.tags) > 0 }

// A subject is what rules are about.
type subject struct {
	service, name, resource string
	attrs, resourceAttrs    []attribute.KeyValue
}

func (r *rule) matches(s *subject) bool {
	if !r.service.match(s.service) || !r.name.match(s.name) || !r.resource.match(s.resource) {
		return false
	}
	for _, t := range r.tags {
		if !t.matches(s.attrs) && !t.matches(s.resourceAttrs) {
			return false
		}
	}
	return true
}

func (t tagGlob) matches(attrs []attribute.KeyValue) bool {
	for _, kv := range attrs {
		if kv.Key == t.key {
			text, ok := tagText(kv.Value)
			return ok && t.value.match(text)
		}
	}
	return false
}

// tagText returns the value as rules see it. Datadog's tracers match no
// fractions.
func tagText(v attribute.Value) (string, bool) {
	switch v.Type() {
	case attribute.STRING:
		return v.AsString(), true
	case attribute.FLOAT64:
		f := v.AsFloat64()
		return strconv.FormatFloat(f, 'g', -1, 64), f == math.Floor(f)
	default:
		return v.String(), true
	}
}
