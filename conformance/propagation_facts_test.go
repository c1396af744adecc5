package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// facts is what one service tells the next: what a propagator makes of the
// headers it is given, read from those it sends on. Both propagators are
// compared by it, because that is all of theirs another service sees.
type facts struct {
	Found bool

	// Datadog's headers.
	Trace, Parent, Priority, Origin string
	Tags                            map[string]string

	// W3C's.
	TraceParent string // but for the flags
	Flags       string
	S, O, P     string            // of the dd member
	T           map[string]string // its tags
	Vendors     []string          // the other members

	Links []string
}

// factsOf reads the headers in the plainest way there is.
func factsOf(h http.Header) facts {
	f := facts{
		Found: len(h) > 0,
		Trace: h.Get("x-datadog-trace-id"), Parent: h.Get("x-datadog-parent-id"),
		Priority: h.Get("x-datadog-sampling-priority"), Origin: h.Get("x-datadog-origin"),
		Tags: map[string]string{}, T: map[string]string{},
	}
	for _, tag := range split(h.Get("x-datadog-tags"), ",") {
		k, v, _ := strings.Cut(tag, "=")
		f.Tags[k] = v
	}
	if p := h.Get("traceparent"); len(p) == 55 {
		f.TraceParent, f.Flags = p[:52], p[53:]
	}
	for _, member := range split(h.Get("tracestate"), ",") {
		member = strings.Trim(member, " \t")
		value, ok := strings.CutPrefix(member, "dd=")
		if !ok {
			f.Vendors = append(f.Vendors, member)
			continue
		}
		for _, part := range split(value, ";") {
			k, v, _ := strings.Cut(part, ":")
			switch k {
			case "s":
				f.S = v
			case "o":
				f.O = v
			case "p":
				f.P = v
			default:
				if tag, ok := strings.CutPrefix(k, "t."); ok {
					f.T[tag] = v
				}
			}
		}
	}
	return f
}

func split(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

// Both propagators send on in these styles, whatever they have read.
var injectStyles = []string{"datadog", "tracecontext"}

// factsOfOurs returns what our propagator makes of h.
func factsOfOurs(h http.Header, styles []string) facts {
	p := tracing.NewPropagator(tracing.PropagatorOptions{Extract: styles, Inject: injectStyles})
	ctx := p.Extract(context.Background(), propagation.HeaderCarrier(h))
	out := http.Header{}
	p.Inject(ctx, propagation.HeaderCarrier(out))
	f := factsOf(out)
	if s := obsctx.TraceFrom(ctx); s != nil {
		for _, l := range s.Links {
			f.Links = append(f.Links, ourLink(l))
		}
	}
	return f
}

func ourLink(l trace.Link) string {
	attrs := map[string]string{}
	for _, a := range l.Attributes {
		attrs[string(a.Key)] = a.Value.String()
	}
	return linkText(l.SpanContext.TraceID().String(), l.SpanContext.SpanID().String(),
		int(l.SpanContext.TraceFlags()&1), l.SpanContext.TraceState().String(), attrs)
}

func linkText(traceID, spanID string, flags int, state string, attrs map[string]string) string {
	text := fmt.Sprintf("%s/%s/%d", traceID, spanID, flags)
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		text += " " + k + "=" + attrs[k]
	}
	return text + " state=" + state
}

// maxTags is the limit dd-trace-go's tracer configures; a propagator made
// without it would neither read nor write x-datadog-tags.
const maxTags = 512

func newOracle(extract, inject []string) tracer.Propagator {
	first := false
	return tracer.NewPropagator(&tracer.PropagatorConfig{
		MaxTagsHeaderLen: maxTags, ExtractFirst: &first, BehaviorExtract: "continue",
		ExtractStyle: strings.Join(extract, ","), InjectStyle: strings.Join(inject, ","),
	})
}

// oracles are made once a set of styles: making one asks the environment.
var oracles sync.Map // of tracer.Propagator, by styles

func oracleFor(extract []string, inject ...string) tracer.Propagator {
	key := strings.Join(extract, ",") + ">" + strings.Join(inject, ",")
	if p, ok := oracles.Load(key); ok {
		return p.(tracer.Propagator)
	}
	p, _ := oracles.LoadOrStore(key, newOracle(extract, inject))
	return p.(tracer.Propagator)
}

// errPanic is what a panic of the oracle's becomes.
var errPanic = errors.New("dd-trace-go panicked")

// factsOfOracle returns what dd-trace-go's propagator makes of h.
func factsOfOracle(h http.Header, styles []string) (f facts, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	p := oracleFor(styles, injectStyles...)
	sc, err := p.Extract(tracer.HTTPHeadersCarrier(h.Clone()))
	if err != nil {
		return facts{Tags: map[string]string{}, T: map[string]string{}}, err
	}
	out := http.Header{}
	if err := p.Inject(sc, tracer.HTTPHeadersCarrier(out)); err != nil {
		return f, err
	}
	f = factsOf(out)
	for _, l := range sc.SpanLinks() {
		f.Links = append(f.Links, linkText(fmt.Sprintf("%016x%016x", l.TraceIDHigh, l.TraceID),
			fmt.Sprintf("%016x", l.SpanID), int(l.Flags&1), l.Tracestate, l.Attributes))
	}
	return f, nil
}

// sortedHeader prints h for messages.
func sortedHeader(h http.Header) string {
	var lines []string
	for k, values := range h {
		for _, v := range values {
			lines = append(lines, fmt.Sprintf("%s: %q", k, v))
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// silence is the logger of an oracle that warns of all it is shown.
type silence struct{}

func (silence) Log(string) {}
