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

func (p *propagator) extractBaggage(ctx context.Context, in *incoming) context.Context {
	legacy := slices.Contains(p.extract, datadog)
	if legacy && !in.plain {
		legacy = in.scan()
	}
	if headerBaggage.get(in) != "" {
		ctx = propagation.Baggage{}.Extract(ctx, in.carrier)
	}
	if !legacy {
		return ctx
	}
	n := 0
	for _, name := range in.carrier.Keys() {
		ctx = addLegacy(ctx, in.carrier, name, &n)
	}
	return ctx
}

// isLegacy looks at one byte of most names.
func isLegacy(name string) bool {
	return len(name) > len(legacyPrefix) && name[0]|0x20 == legacyPrefix[0] &&
		strings.EqualFold(name[:len(legacyPrefix)], legacyPrefix)
}

// addLegacy adds the member of a header that is one of Datadog's older ones,
// up to n = maxBaggageMembers of them. A member that the baggage header has
// too stays as it is.
func addLegacy(ctx context.Context, c propagation.TextMapCarrier, name string, n *int) context.Context {
	if !isLegacy(name) {
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
