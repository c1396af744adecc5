package emulator

import (
	"time"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
)

// Span is a span as the agent received it. What the protocol versions say in
// different places stands in one, that of v0.4. The maps of a span are shared
// by all its copies and must not be changed.
type Span struct {
	TraceID  string // 32 hexadecimal digits
	SpanID   uint64
	ParentID uint64 // 0: there is none

	Service, Name, Resource, Type string

	// Kind, Env, Version and Origin are also in Meta, under span.kind, env,
	// version and _dd.origin.
	Kind, Env, Version, Origin string

	Start    time.Time
	Duration time.Duration
	Error    bool
	Meta     map[string]string
	Metrics  map[string]float64
	Struct   map[string][]byte // meta_struct, whose values are MessagePack
	Links    []SpanLink
	Events   []SpanEvent

	// Priority is the sampling priority of the span's chunk, -128 if the chunk
	// has none: of those the agent keeps about one in ten.
	Priority int

	Protocol string // "v0.3", "v0.4" or "v1.0"
}

// SpanLink points to another span.
type SpanLink struct {
	TraceID    string // 32 hexadecimal digits
	SpanID     uint64
	TraceState string
	Flags      uint32 // the W3C flags, with bit 31 set if they are known
	Attributes map[string]string
}

// SpanEvent is something that happened during a span. Attributes are strings,
// booleans, int64s, float64s, and slices and maps of those.
type SpanEvent struct {
	Time       time.Time
	Name       string
	Attributes map[string]any
}

// noPriority is what Datadog's agent has for a chunk without one.
const noPriority = ddpayload.NoPriority

// decode decodes a payload of one version of the protocol.
func decode(version string, body []byte) ([]Span, error) {
	decoded, err := ddpayload.Decode(version, body)
	if err != nil || decoded == nil {
		return nil, err
	}
	spans := make([]Span, len(decoded))
	for i, s := range decoded {
		spans[i] = Span{
			TraceID: s.TraceID, SpanID: s.SpanID, ParentID: s.ParentID,
			Service: s.Service, Name: s.Name, Resource: s.Resource, Type: s.Type,
			Kind: s.Kind, Env: s.Env, Version: s.Version, Origin: s.Origin,
			Start: s.Start, Duration: s.Duration, Error: s.Error,
			Meta: s.Meta, Metrics: s.Metrics, Struct: s.Struct,
			Priority: s.Priority, Protocol: s.Protocol,
		}
		for _, l := range s.Links {
			spans[i].Links = append(spans[i].Links, SpanLink(l))
		}
		for _, e := range s.Events {
			spans[i].Events = append(spans[i].Events, SpanEvent(e))
		}
	}
	return spans, nil
}
