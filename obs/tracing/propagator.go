package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// PropagatorOptions says in which styles traces come and leave.
type PropagatorOptions struct {
	// Extract and Inject are styles by their names; see [ParseStyles] for
	// them. Nil is datadog, tracecontext, baggage.
	//
	// The first style in Extract that finds a trace wins. A later one that
	// finds the same trace adds what the first cannot know: tracecontext the
	// tracestate, and the parent, which tracers other than Datadog's may have
	// set since. One that finds another trace becomes a link of the span.
	Extract, Inject []string

	// ExtractFirst looks no further than the first style that finds a trace.
	ExtractFirst bool

	// Behavior is what becomes of a trace that is found: "continue", which is
	// also the empty one, goes on with it; "restart" begins a new one that
	// links to it, and takes its baggage alone; "ignore" takes nothing.
	Behavior string
}

const (
	behaviorContinue = "continue"
	behaviorRestart  = "restart"
	behaviorIgnore   = "ignore"
)

// NewPropagator returns a propagator whose headers are those of Datadog's
// tracers. It carries priority, origin and tags in the context beside the
// SpanContext, so it is of use with a [Provider] only. It panics if a style
// or the behavior is unknown.
func NewPropagator(opts PropagatorOptions) propagation.TextMapPropagator {
	p := &propagator{first: opts.ExtractFirst, behavior: opts.Behavior}
	switch p.behavior {
	case "", behaviorContinue, behaviorRestart, behaviorIgnore:
	default:
		panic("tracing: NewPropagator: unknown behavior " + p.behavior)
	}
	p.extract, p.baggageIn = stylesOf(opts.Extract)
	p.inject, p.baggageOut = stylesOf(opts.Inject)
	return p
}

// stylesOf returns the styles of names, baggage apart: it is of no trace.
func stylesOf(names []string) (styles []style, baggage bool) {
	if names == nil {
		return []style{datadog, traceContext}, true
	}
	for _, name := range names {
		s, ok := parseStyle(name)
		if !ok {
			panic("tracing: NewPropagator: unknown style " + name)
		}
		switch {
		case s == baggageStyle:
			baggage = true
		case s != none && !slices.Contains(styles, s):
			styles = append(styles, s)
		}
	}
	return styles, baggage
}

type propagator struct {
	extract, inject       []style
	baggageIn, baggageOut bool
	first                 bool
	behavior              string
	frontEnd              bool // see ingress.go
}

// Inject writes the span of ctx, and the decision of its trace as it is now.
func (p *propagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	if p.baggageOut {
		injectBaggage(ctx, c)
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || len(p.inject) == 0 {
		return
	}
	var h hop
	s := h.outgoing(ctx, sc)
	var room [640]byte // all styles of a trace with a few tags
	var x index
	b := room[:0]
	for _, style := range p.inject {
		switch style {
		case datadog:
			b = h.appendDatadog(b, &x)
		case traceContext:
			b = h.appendTraceContext(b, &x)
		case b3Multi:
			b = h.appendB3(b, &x)
		case b3Single:
			b = h.appendB3Single(b, &x)
		}
	}
	x.set(c, b)
	if h.left && s != nil {
		s.LeaveTags()
	}
}

// Extract returns ctx with the trace and the baggage that c carries.
func (p *propagator) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if p.behavior == behaviorIgnore {
		return p.ignore(ctx, c)
	}
	var in incoming
	in.of(c)
	if p.baggageIn {
		ctx = p.extractBaggage(ctx, &in)
	}
	var h hop
	var links []trace.Link
	var frontEnd trace.TraceID
	var found bool
	if p.frontEnd {
		links, frontEnd, found = p.readBehindFrontEnd(&in, &h)
	} else {
		links, found = p.read(&in, p.extract, &h)
	}
	switch {
	case !found:
		return ctx
	case p.behavior == behaviorRestart:
		return h.restarted(ctx, frontEnd)
	case frontEnd == h.trace:
		frontEnd = trace.TraceID{}
	}
	return h.into(ctx, links, frontEnd)
}

// read sets h to the hop that styles agree upon, and returns links to what they
// do not. Hops are large, and so are passed by pointers.
func (p *propagator) read(in *incoming, styles []style, h *hop) (links []trace.Link, found bool) {
	for _, s := range styles {
		if !found {
			*h = hop{style: s}
			if found = h.read(in); found && p.first {
				break
			}
			continue
		}
		next := hop{style: s}
		switch {
		case !next.read(in):
		case next.trace != h.trace:
			links = append(links, next.terminated())
		case s == traceContext:
			h.merge(&next)
		}
	}
	if !found {
		*h = hop{}
		return nil, false
	}
	if h.style == traceContext {
		h.readMember()
	}
	if h.others != "" {
		h.state = parseState(h.others)
	}
	return links, true
}

// read reads the headers of h's style. Unless it reports true, h is of no use.
func (h *hop) read(in *incoming) bool {
	switch h.style {
	case datadog:
		return h.readDatadog(in)
	case traceContext:
		return h.readTraceContext(in)
	case b3Multi:
		return h.readB3Multi(in)
	case b3Single:
		return h.readB3Single(in)
	}
	return false
}

// merge adds to h what w, of the same trace, has from W3C's headers. Where the
// parents differ someone between that speaks W3C alone has put a span of its
// own; the last parent that Datadog knows lets it mend the trace.
func (h *hop) merge(w *hop) {
	h.others = w.others
	h.flags |= w.flags & trace.FlagsRandom
	if h.parent == w.parent || h.style != datadog {
		return
	}
	if last := w.memberParent(); last.IsValid() {
		h.lastParent = last
	}
	h.parent = w.parent
}

// terminated returns the link that stands for a trace not continued.
func (h *hop) terminated() trace.Link {
	if h.style == traceContext {
		h.readMember()
		h.state = parseState(h.others)
	}
	return h.link("terminated_context")
}

func (h *hop) link(reason string) trace.Link {
	return trace.Link{
		SpanContext: h.spanContext(),
		Attributes: []attribute.KeyValue{
			attribute.String("reason", reason),
			attribute.String("context_headers", h.style.linkName()),
		},
	}
}

// Fields returns the headers that Inject may set.
func (p *propagator) Fields() []string {
	var fields []string
	for _, s := range p.inject {
		for _, h := range styleHeaders(s) {
			fields = append(fields, h.name)
		}
	}
	if p.baggageOut {
		fields = append(fields, headerBaggage.name)
	}
	return fields
}

func styleHeaders(s style) []*header {
	switch s {
	case datadog:
		return []*header{&headerTraceID, &headerParentID, &headerPriority, &headerOrigin, &headerTags}
	case traceContext:
		return []*header{&headerTraceparent, &headerTracestate}
	case b3Multi:
		return []*header{&headerB3TraceID, &headerB3SpanID, &headerB3Sampled}
	case b3Single:
		return []*header{&headerB3}
	}
	return nil
}
