package ddpayload

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// The keys of v1.0, which has numbers for names, from
// https://github.com/DataDog/datadog-agent/tree/main/pkg/proto/datadog/trace/idx.
const (
	payloadEnv     = 7
	payloadVersion = 9
	payloadChunks  = 11

	chunkPriority  = 1
	chunkOrigin    = 2
	chunkSpans     = 4
	chunkTraceID   = 6
	chunkMechanism = 7

	spanService    = 1
	spanName       = 2
	spanResource   = 3
	spanID         = 4
	spanParentID   = 5
	spanStart      = 6
	spanDuration   = 7
	spanError      = 8
	spanAttributes = 9
	spanType       = 10
	spanLinks      = 11
	spanEvents     = 12
	spanEnv        = 13
	spanVersion    = 14
	spanComponent  = 15
	spanKind       = 16

	linkTraceID    = 1
	linkSpanID     = 2
	linkAttributes = 3
	linkState      = 4
	linkFlags      = 5

	eventTime       = 1
	eventName       = 2
	eventAttributes = 3
)

// readerV1 reads a v1.0 payload. Its strings come in full once and by number
// from then on; 0 is the empty string. So every string must be read, wanted or
// not, in the order in which it was written.
type readerV1 struct {
	*decoder
	strings []string

	env, version string
	taken        []Span
}

// tracesV1 decodes the body of /v1.0/traces.
func tracesV1(d *decoder) ([]Span, error) {
	r := &readerV1{decoder: d, strings: []string{""}}
	r.each(func(key uint64) {
		switch key {
		case 2, 3, 4, 5, 6, 8: // container, language, tracer, process, host
			r.str()
		case payloadEnv:
			r.env = r.str()
		case payloadVersion:
			r.version = r.str()
		case 10:
			r.attributes(func(string, any) {})
		case payloadChunks:
			r.eachElement(r.chunk)
		default:
			r.unknown(key)
		}
	})
	if r.More() {
		r.Fail("more after the payload")
	}
	r.fillIn()
	return r.taken, r.Err()
}

// fillIn gives spans without an environment and a version the payload's, which
// may come after them.
func (r *readerV1) fillIn() {
	for i := range r.taken {
		s := &r.taken[i]
		for _, f := range []struct {
			field    *string
			key, all string
		}{{&s.Env, keyEnv, r.env}, {&s.Version, keyVersion, r.version}} {
			if *f.field == "" && f.all != "" {
				*f.field = f.all
				s.setMeta(f.key, f.all)
			}
		}
	}
}

// unknown refuses a key, as the agent does: what cannot be read may have
// brought strings.
func (r *readerV1) unknown(key uint64) { r.Fail("unknown field " + strconv.FormatUint(key, 10)) }

// each calls f for each key of a map; f reads the value.
func (r *readerV1) each(f func(key uint64)) {
	for n := r.MapHeader(); n > 0 && r.Err() == nil; n-- {
		key := r.Uint()
		if r.Err() == nil {
			f(key)
		}
	}
}

func (r *readerV1) eachElement(f func()) { eachElement(r.decoder, f) }

func (r *readerV1) str() string {
	if r.Kind() != msgpack.Uint {
		s := r.Text()
		if r.Err() == nil {
			r.strings = append(r.strings, s)
		}
		return s
	}
	i := r.Uint()
	if i >= uint64(len(r.strings)) {
		r.Fail(fmt.Sprintf("string %d of %d before this", i, len(r.strings)))
		return ""
	}
	return r.strings[i]
}

func (r *readerV1) chunk() {
	first := len(r.taken)
	priority, mechanism := int64(NoPriority), uint64(0)
	var origin, trace string
	r.each(func(key uint64) {
		switch key {
		case chunkPriority:
			priority = r.Int()
		case chunkOrigin:
			origin = r.str()
		case 3:
			r.attributes(func(string, any) {})
		case chunkSpans:
			r.eachElement(r.takeSpan)
		case chunkTraceID:
			trace = r.traceID()
		case chunkMechanism:
			mechanism = r.Uint()
		default:
			r.unknown(key) // 5 too: droppedTrace is the agent's to set
		}
	})
	for i := range r.taken[first:] {
		s := &r.taken[first+i]
		s.TraceID, s.Priority, s.Origin = trace, clampPriority(float64(priority)), origin
		if origin != "" {
			s.setMeta(keyOrigin, origin)
		}
		if i == 0 && priority > 0 {
			s.setMeta(keyDecisionMaker, "-"+strconv.FormatUint(mechanism, 10))
		}
	}
}

// traceID reads 16 bytes.
func (r *readerV1) traceID() string {
	b := r.Bytes()
	if r.Err() == nil && len(b) != 16 {
		r.Fail("a trace id that is not 16 bytes before this")
	}
	if r.Err() != nil {
		return ""
	}
	return hexID(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]))
}

func (r *readerV1) takeSpan() {
	if !r.span() {
		return
	}
	s := Span{Protocol: V10}
	r.each(func(key uint64) {
		switch key {
		case spanID:
			s.SpanID = r.Uint()
		case spanParentID:
			s.ParentID = r.Uint()
		case spanStart:
			s.Start = time.Unix(0, r.Int()).UTC()
		case spanDuration:
			s.Duration = time.Duration(r.Int())
		case spanError:
			s.Error = r.Bool()
		case spanAttributes:
			r.attributes(s.setAttribute)
		case spanLinks:
			r.eachElement(func() { s.Links = append(s.Links, r.link()) })
		case spanEvents:
			r.eachElement(func() { s.Events = append(s.Events, r.event()) })
		case spanKind:
			r.kind(&s)
		default:
			r.text(&s, key)
		}
	})
	r.taken = append(r.taken, s)
}

// text reads the fields of a span that are strings. Some are tags in v0.4.
func (r *readerV1) text(s *Span, key uint64) {
	var component string
	var field *string
	var tag string
	switch key {
	case spanService:
		field = &s.Service
	case spanName:
		field = &s.Name
	case spanResource:
		field = &s.Resource
	case spanType:
		field = &s.Type
	case spanEnv:
		field, tag = &s.Env, keyEnv
	case spanVersion:
		field, tag = &s.Version, keyVersion
	case spanComponent:
		field, tag = &component, keyComponent
	default:
		r.unknown(key)
		return
	}
	if *field = r.str(); tag != "" && *field != "" {
		s.setMeta(tag, *field)
	}
}

func (r *readerV1) kind(s *Span) {
	kinds := [...]string{"", "internal", "server", "client", "producer", "consumer"}
	n := r.Uint()
	if n >= uint64(len(kinds)) {
		r.Fail("unknown kind of span before this")
		return
	}
	if s.Kind = kinds[n]; n > 0 {
		s.setMeta(keyKind, s.Kind)
	}
}

func (r *readerV1) link() (l Link) {
	r.each(func(key uint64) {
		switch key {
		case linkTraceID:
			l.TraceID = r.traceID()
		case linkSpanID:
			l.SpanID = r.Uint()
		case linkAttributes:
			r.attributes(func(key string, v any) {
				if l.Attributes == nil {
					l.Attributes = make(map[string]string)
				}
				l.Attributes[key] = Text(v)
			})
		case linkState:
			l.TraceState = r.str()
		case linkFlags:
			l.Flags = uint32(r.Uint())
		default:
			r.unknown(key)
		}
	})
	return l
}

func (r *readerV1) event() (e Event) {
	r.each(func(key uint64) {
		switch key {
		case eventTime:
			e.Time = time.Unix(0, int64(r.Uint())).UTC()
		case eventName:
			e.Name = r.str()
		case eventAttributes:
			r.attributes(func(key string, v any) {
				if e.Attributes == nil {
					e.Attributes = make(map[string]any)
				}
				e.Attributes[key] = v
			})
		default:
			r.unknown(key)
		}
	})
	return e
}

// attributes reads a flat array of keys, types and values.
func (r *readerV1) attributes(f func(key string, v any)) { r.pairs(maxNesting, f) }

func (r *readerV1) pairs(depth int, f func(key string, v any)) {
	n := arrayHeader(r.decoder)
	if n%3 != 0 {
		r.Fail("attributes that do not come in threes")
	}
	for ; n > 0 && r.Err() == nil; n -= 3 {
		key := r.str()
		v := r.value(depth)
		if r.Err() == nil {
			f(key, v)
		}
	}
}

// value reads a type and a value of it.
func (r *readerV1) value(depth int) any {
	if depth == 0 {
		r.Fail("attributes too deep in each other")
		return nil
	}
	switch kind := r.Uint(); kind {
	case 1:
		return r.str()
	case 2:
		return r.Bool()
	case 3:
		return r.Float()
	case 4:
		return r.Int()
	case 5:
		return slices.Clone(r.Bytes())
	case 6:
		return r.list(depth - 1)
	case 7:
		m := make(map[string]any)
		r.pairs(depth-1, func(key string, v any) { m[key] = v })
		return m
	default:
		r.Fail("unknown type of attribute before this")
		return nil
	}
}

// list reads a flat array of types and values.
func (r *readerV1) list(depth int) []any {
	n := r.ArrayHeader()
	if n%2 != 0 {
		r.Fail("elements that do not come in twos")
	}
	list := []any{}
	for ; n > 0 && r.element(); n -= 2 {
		list = append(list, r.value(depth))
	}
	return list
}
