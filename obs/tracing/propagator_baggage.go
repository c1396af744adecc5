package tracing

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
)

// W3C's baggage: https://www.w3.org/TR/baggage/. OpenTelemetry's propagator
// reads it, within the limits below, and leaves out single members that are
// malformed.
var headerBaggage = header{"baggage", "Baggage"}

// legacyPrefix begins the headers, one a member, in which Datadog's older
// tracers send baggage. They are read and not written.
const legacyPrefix = "ot-baggage-"

const (
	maxBaggage        = 8192 // bytes
	maxBaggageMembers = 64
)

func (p *propagator) extractBaggage(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if headerBaggage.get(c) != "" {
		ctx = propagation.Baggage{}.Extract(ctx, c)
	}
	if !slices.Contains(p.extract, datadog) {
		return ctx
	}
	n := 0
	hc, ok := c.(propagation.HeaderCarrier)
	if !ok {
		for _, name := range c.Keys() {
			ctx = addLegacy(ctx, c, name, &n)
		}
		return ctx
	}
	for name := range hc {
		ctx = addLegacy(ctx, c, name, &n)
	}
	return ctx
}

// addLegacy adds the member of a header that is one of Datadog's older ones,
// up to n = maxBaggageMembers of them. A member that the baggage header has
// too stays as it is.
func addLegacy(ctx context.Context, c propagation.TextMapCarrier, name string, n *int) context.Context {
	if len(name) <= len(legacyPrefix) || !strings.EqualFold(name[:len(legacyPrefix)], legacyPrefix) {
		return ctx
	}
	if *n++; *n > maxBaggageMembers {
		return ctx
	}
	key := strings.ToLower(name[len(legacyPrefix):])
	value, err := url.QueryUnescape(c.Get(name))
	if err != nil {
		return ctx
	}
	b := baggage.FromContext(ctx)
	m, err := baggage.NewMemberRaw(key, value)
	if err != nil || b.Len() >= maxBaggageMembers || b.Member(key).Key() != "" {
		return ctx
	}
	if b, err = b.SetMember(m); err != nil || len(b.String()) > maxBaggage {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, b)
}

// injectBaggage keeps the limits on the way out too: a service that finds more
// refuses it all.
func injectBaggage(ctx context.Context, c propagation.TextMapCarrier) {
	b := baggage.FromContext(ctx)
	if b.Len() == 0 {
		return
	}
	s := b.String()
	if b.Len() > maxBaggageMembers || len(s) > maxBaggage {
		s = cutBaggage(s)
	}
	if s != "" {
		if hc, ok := c.(propagation.HeaderCarrier); ok {
			hc[headerBaggage.canonical] = []string{s}
		} else {
			c.Set(headerBaggage.name, s)
		}
	}
}

// cutBaggage returns the members of s that are within the limits.
func cutBaggage(s string) string {
	end := 0
	for n, at := 0, 0; n < maxBaggageMembers && at < len(s); n++ {
		next := len(s)
		if i := strings.IndexByte(s[at:], ','); i >= 0 {
			next = at + i
		}
		if next > maxBaggage {
			break
		}
		end, at = next, next+1
	}
	return s[:end]
}
