package ddpayload

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Span is a span as it was received. What the protocol's versions say in
// different places stands in one, that of v0.4.
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
	Links    []Link
	Events   []Event

	// Priority is the sampling priority of the span's chunk, or NoPriority.
	Priority int

	Protocol string // the version
}

// Link points to another span.
type Link struct {
	TraceID    string // 32 hexadecimal digits
	SpanID     uint64
	TraceState string
	Flags      uint32 // the W3C flags, with bit 31 set if they are known
	Attributes map[string]string
}

// Event is something that happened during a span. Attributes are strings,
// booleans, int64s, float64s, and slices and maps of those.
type Event struct {
	Time       time.Time
	Name       string
	Attributes map[string]any
}

// NoPriority is what Datadog's agent has for a chunk without one.
const NoPriority = math.MinInt8

// Keys with a meaning to the agent.
const (
	keyKind          = "span.kind"
	keyEnv           = "env"
	keyVersion       = "version"
	keyComponent     = "component"
	keyOrigin        = "_dd.origin"
	keyTraceHigh     = "_dd.p.tid"
	keyDecisionMaker = "_dd.p.dm"
	keyPriority      = "_sampling_priority_v1"
)

func (s *Span) setMeta(key, value string) {
	if s.Meta == nil {
		s.Meta = make(map[string]string)
	}
	s.Meta[key] = value
}

func (s *Span) setMetric(key string, value float64) {
	if s.Metrics == nil {
		s.Metrics = make(map[string]float64)
	}
	s.Metrics[key] = value
}

func (s *Span) setStruct(key string, value []byte) {
	if s.Struct == nil {
		s.Struct = make(map[string][]byte)
	}
	s.Struct[key] = value
}

// setAttribute files a v1.0 attribute where v0.4 has it.
func (s *Span) setAttribute(key string, value any) {
	switch v := value.(type) {
	case float64:
		s.setMetric(key, v)
	case int64:
		s.setMetric(key, float64(v))
	case []byte:
		s.setStruct(key, v)
	default:
		s.setMeta(key, Text(v))
	}
}

// Text makes a string of the value of an attribute.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, el := range v {
			parts[i] = Text(el)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+":"+Text(v[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(v)
}

// fromMeta fills the fields that v0.4 has in meta alone.
func (s *Span) fromMeta() {
	s.Kind, s.Env, s.Version = s.Meta[keyKind], s.Meta[keyEnv], s.Meta[keyVersion]
}

// joinChunk gives the spans of one v0.4 trace what the agent takes from one of
// them for all: the id of the last, so that a chunk of two traces comes out
// wrong as it does there; the priority of the root, else of the last that has
// one.
func joinChunk(spans []Span, low uint64) {
	var high, origin string
	priority, decided := NoPriority, false
	for i := range spans {
		s := &spans[i]
		if v := s.Meta[keyTraceHigh]; v != "" {
			high = v
		}
		if v := s.Meta[keyOrigin]; v != "" {
			origin = v
		}
		if v, ok := s.Metrics[keyPriority]; ok && !decided {
			priority, decided = clampPriority(v), s.ParentID == 0
		}
	}
	id := traceID(high, low)
	for i := range spans {
		spans[i].TraceID, spans[i].Origin, spans[i].Priority = id, origin, priority
	}
}

// clampPriority makes the conversion defined for any number, NaN included.
func clampPriority(v float64) int {
	if v >= math.MinInt8 && v <= math.MaxInt8 {
		return int(v)
	}
	return NoPriority
}

// hexID makes 32 digits of the two halves.
func hexID(high, low uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], high)
	binary.BigEndian.PutUint64(b[8:], low)
	return hex.EncodeToString(b[:])
}

// traceID is hexID with a high half in digits; one that is no number counts as 0.
func traceID(high string, low uint64) string {
	n, err := strconv.ParseUint(high, 16, 64)
	if err != nil || len(high) != 16 {
		n = 0
	}
	return hexID(n, low)
}

// lowOf returns the low half of an id that hexID has made.
func lowOf(id string) uint64 {
	n, err := strconv.ParseUint(id[16:], 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// setMissing files the tags that s does not have.
func (s *Span) setMissing(tags map[string]string) {
	for key, value := range tags {
		if _, has := s.Meta[key]; !has && value != "" {
			s.setMeta(key, value)
		}
	}
}
