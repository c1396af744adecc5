package agent

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace"
	"github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace/idx"
)

// Span is one span as it would have reached Datadog: after the agent's
// normalisation, obfuscation and sampling.
type Span struct {
	TraceID  string // 32 hex digits
	SpanID   uint64
	ParentID uint64 // 0 for a root

	Service, Name, Resource, Type string
	Env, Version, Component       string
	Kind                          string // server, client, internal, …; "" if unspecified

	Start    time.Time
	Duration time.Duration
	Error    bool

	Meta    map[string]string  // attributes that are strings; others as JSON-like text
	Metrics map[string]float64 // attributes that are numbers
	Events  []Event
	Links   []Link

	Priority  int32 // the chunk's
	Mechanism uint32
	Origin    string
	Language  string // the payload's
}

// Event is a span event.
type Event struct {
	Name string
	Time time.Time
	Meta map[string]string
}

// Link is a span link.
type Link struct {
	TraceID    string
	SpanID     uint64
	Tracestate string
	Meta       map[string]string
}

// Stat is one group of the agent's statistics: what the hits, errors and
// latencies of APM are made of.
type Stat struct {
	Env, Version                  string
	Service, Name, Resource, Type string
	Kind                          string
	HTTPStatusCode                uint32
	Hits, Errors, TopLevelHits    uint64
	Duration                      time.Duration // of all hits together
	TraceRoot                     bool
	PeerTags                      []string
}

// table resolves a payload's string references.
type table []string

func (t table) at(ref uint32) string {
	if int(ref) < len(t) {
		return t[ref]
	}
	return fmt.Sprintf("!ref %d", ref)
}

func appendSpans(spans []Span, tp *idx.TracerPayload) []Span {
	t := table(tp.Strings)
	for _, c := range tp.Chunks {
		for _, s := range c.Spans {
			sp := t.span(s)
			sp.TraceID = hex.EncodeToString(c.TraceID)
			sp.Priority, sp.Mechanism, sp.Origin = c.Priority, c.SamplingMechanism, t.at(c.OriginRef)
			sp.Language = t.at(tp.LanguageNameRef)
			sp.Env = cmp.Or(sp.Env, t.at(tp.EnvRef))
			sp.Version = cmp.Or(sp.Version, t.at(tp.AppVersionRef))
			spans = append(spans, sp)
		}
	}
	return spans
}

func (t table) span(s *idx.Span) Span {
	sp := Span{
		SpanID: s.SpanID, ParentID: s.ParentID,
		Service: t.at(s.ServiceRef), Name: t.at(s.NameRef), Resource: t.at(s.ResourceRef), Type: t.at(s.TypeRef),
		Env: t.at(s.EnvRef), Version: t.at(s.VersionRef), Component: t.at(s.ComponentRef),
		Start: time.Unix(0, int64(s.Start)).UTC(), Duration: time.Duration(s.Duration), Error: s.Error,
		Meta: make(map[string]string), Metrics: make(map[string]float64),
	}
	if s.Kind != idx.SpanKind_SPAN_KIND_UNSPECIFIED {
		sp.Kind = strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"))
	}
	for k, v := range s.Attributes {
		switch v := v.Value.(type) {
		case *idx.AnyValue_DoubleValue:
			sp.Metrics[t.at(k)] = v.DoubleValue
		case *idx.AnyValue_IntValue:
			sp.Metrics[t.at(k)] = float64(v.IntValue)
		default:
			sp.Meta[t.at(k)] = t.text(s.Attributes[k])
		}
	}
	for _, e := range s.Events {
		sp.Events = append(sp.Events, Event{t.at(e.NameRef), time.Unix(0, int64(e.Time)).UTC(), t.meta(e.Attributes)})
	}
	for _, l := range s.Links {
		sp.Links = append(sp.Links, Link{hex.EncodeToString(l.TraceID), l.SpanID, t.at(l.TracestateRef), t.meta(l.Attributes)})
	}
	return sp
}

func (t table) meta(attrs map[uint32]*idx.AnyValue) map[string]string {
	m := make(map[string]string, len(attrs))
	for k, v := range attrs {
		m[t.at(k)] = t.text(v)
	}
	return m
}

func (t table) text(v *idx.AnyValue) string {
	switch v := v.Value.(type) {
	case *idx.AnyValue_StringValueRef:
		return t.at(v.StringValueRef)
	case *idx.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *idx.AnyValue_DoubleValue:
		return fmt.Sprint(v.DoubleValue)
	case *idx.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *idx.AnyValue_BytesValue:
		return string(v.BytesValue)
	case *idx.AnyValue_ArrayValue:
		var parts []string
		for _, e := range v.ArrayValue.Values {
			parts = append(parts, t.text(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case *idx.AnyValue_KeyValueList:
		var parts []string
		for _, kv := range v.KeyValueList.KeyValues {
			parts = append(parts, t.at(kv.Key)+":"+t.text(kv.Value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return ""
}

func appendStats(stats []Stat, p *pb.StatsPayload) []Stat {
	for _, c := range p.Stats {
		for _, b := range c.Stats {
			for _, g := range b.Stats {
				stats = append(stats, Stat{
					Env: c.Env, Version: c.Version,
					Service: g.Service, Name: g.Name, Resource: g.Resource, Type: g.Type,
					Kind: g.SpanKind, HTTPStatusCode: g.HTTPStatusCode,
					Hits: g.Hits, Errors: g.Errors, TopLevelHits: g.TopLevelHits,
					Duration: time.Duration(g.Duration), TraceRoot: g.IsTraceRoot == pb.Trilean_TRUE,
					PeerTags: g.PeerTags,
				})
			}
		}
	}
	return stats
}

// Tree prints spans as trees, one trace after another, a child under its
// parent and what has no parent there at the margin.
func Tree(spans []Span) string {
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.TraceID, b.TraceID), a.Start.Compare(b.Start))
	})
	here := make(map[uint64]bool, len(spans))
	for _, s := range spans {
		here[s.SpanID] = true
	}
	var b strings.Builder
	trace := ""
	for _, s := range spans {
		if here[s.ParentID] {
			continue
		}
		if s.TraceID != trace {
			trace = s.TraceID
			fmt.Fprintf(&b, "trace %s\n", trace)
		}
		branch(&b, spans, s, 1)
	}
	return b.String()
}

func branch(b *strings.Builder, spans []Span, s Span, depth int) {
	mark := ""
	if s.Error {
		mark = " ERROR " + s.Meta["error.message"]
	}
	fmt.Fprintf(b, "%s%s  %s  %q  type=%s env=%s version=%s  %v%s\n",
		strings.Repeat("  ", depth), s.Service, s.Name, s.Resource, s.Type, s.Env, s.Version, s.Duration.Round(time.Microsecond), mark)
	for _, c := range spans {
		if c.ParentID == s.SpanID && c.TraceID == s.TraceID {
			branch(b, spans, c, depth+1)
		}
	}
}
