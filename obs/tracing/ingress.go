package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// headerCloudTrace is the front end's older header,
// "4bf92f3577b34da6a3ce929d0e0e4736/123;o=1":
// https://cloud.google.com/trace/docs/trace-context#legacy-http-header
var headerCloudTrace = header{"x-cloud-trace-context", "X-Cloud-Trace-Context"}

// NewIngress returns a propagator for requests that come through Google's
// front end, as all do on Cloud Run. It injects as p does. What it extracts
// allows for the front end, which puts a span of its own into traceparent,
// one that Datadog never sees, under a sampled flag that is off for nearly
// all requests:
//
//   - Datadog's headers win, parent included.
//   - Else the last parent in tracestate's dd member, if there is one, is the
//     parent, and the decision the one beside it.
//   - Else the front end's trace id is taken on alone, so that its request log
//     and the service's logs are found together: the next span is the trace's
//     root, and decides.
//
// Where Datadog's trace id is not the front end's, logs are told the latter.
// If p is not from [NewPropagator], it is asked first and the front end's
// headers are kept from it.
func NewIngress(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if own, ok := p.(*propagator); ok {
		behind := *own
		behind.frontEnd = true
		return &behind
	}
	return &ingress{p, &propagator{extract: []style{traceContext}, frontEnd: true}}
}

// readBehindFrontEnd is read for a propagator of NewIngress. It also returns
// the front end's trace, if the request has come through one.
func (p *propagator) readBehindFrontEnd(in *incoming, h *hop) (links []trace.Link, frontEnd trace.TraceID, found bool) {
	if len(p.extract) == 0 {
		return nil, frontEnd, false
	}
	var room [none]style
	others := room[:0]
	w3c := false
	for _, s := range p.extract {
		if s == traceContext {
			w3c = true
		} else {
			others = append(others, s)
		}
	}
	links, found = p.read(in, others, h)
	front, behind := readFrontEnd(in)
	switch {
	case !behind:
		return links, frontEnd, found
	case !found:
		*h = front
		if w3c {
			h.adopt()
		}
	case h.trace == front.trace && w3c:
		h.state = parseState(front.others)
	}
	return links, front.trace, true
}

// ignore takes nothing but what the front end's log is found by.
func (p *propagator) ignore(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	var in incoming
	in.of(c)
	front, behind := readFrontEnd(&in)
	if !p.frontEnd || !behind || len(p.extract) == 0 {
		return ctx
	}
	return obsctx.WithTrace(ctx, &obsctx.Trace{Remote: true, FrontEnd: front.trace})
}

// readFrontEnd returns what the front end says: a trace id, and the tracestate
// it has handed on.
func readFrontEnd(in *incoming) (hop, bool) {
	h := hop{style: traceContext}
	if h.readTraceparent(headerTraceparent.only(in)) {
		h.parent, h.flags = trace.SpanID{}, h.flags&trace.FlagsRandom
		h.member, h.others = splitState(headerTracestate.list(in))
		return h, true
	}
	id, _, _ := strings.Cut(headerCloudTrace.get(in), "/")
	id, _, _ = strings.Cut(id, ";")
	h = hop{style: traceContext}
	return h, unhex(h.trace[:], id) && h.trace.IsValid()
}

// adopt makes h the hop that its tracestate tells of, in which the front end
// has no part.
func (h *hop) adopt() {
	h.decision.Priority, h.decided = h.readFacts()
	h.parent = h.lastParent
	h.state = parseState(h.others)
}

// ingress wraps a propagator that is not ours.
type ingress struct {
	propagation.TextMapPropagator
	own *propagator
}

// Extract asks the wrapped propagator, and where that finds no trace looks for
// the front end's.
func (i *ingress) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	before := trace.SpanContextFromContext(ctx)
	ctx = i.TextMapPropagator.Extract(ctx, withoutFrontEnd{c})
	if after := trace.SpanContextFromContext(ctx); after.IsValid() && !after.Equal(before) {
		return ctx
	}
	return i.own.Extract(ctx, c)
}

// withoutFrontEnd hides the headers the front end sets.
type withoutFrontEnd struct {
	propagation.TextMapCarrier
}

func (c withoutFrontEnd) Get(key string) string {
	if frontEnds(key) {
		return ""
	}
	return c.TextMapCarrier.Get(key)
}

// Values lets baggage be in several headers.
func (c withoutFrontEnd) Values(key string) []string {
	if frontEnds(key) {
		return nil
	}
	if g, ok := c.TextMapCarrier.(propagation.ValuesGetter); ok {
		return g.Values(key)
	}
	if v := c.TextMapCarrier.Get(key); v != "" {
		return []string{v}
	}
	return nil
}

func frontEnds(key string) bool {
	return strings.EqualFold(key, headerTraceparent.name) || strings.EqualFold(key, headerCloudTrace.name)
}
