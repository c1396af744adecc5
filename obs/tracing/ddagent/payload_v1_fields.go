package ddagent

import (
	"encoding/binary"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// The fields of v1.0 (pkg/proto/pbgo/trace/idx). Fields with a zero value are
// left out, as the agent itself does when it writes this form.
const (
	payloadLanguage        = 3
	payloadLanguageVersion = 4
	payloadTracerVersion   = 5
	payloadRuntimeID       = 6
	payloadEnv             = 7
	payloadAppVersion      = 9
	payloadChunks          = 11

	chunkPriority   = 1
	chunkOrigin     = 2
	chunkAttributes = 3
	chunkSpans      = 4
	chunkTraceID    = 6
	chunkMechanism  = 7

	spanService   = 1
	spanName      = 2
	spanResource  = 3
	spanID        = 4
	spanParent    = 5
	spanStart     = 6
	spanDuration  = 7
	spanError     = 8
	spanAttrs     = 9
	spanTypeField = 10
	spanLinks     = 11
	spanEvents    = 12
	spanEnv       = 13
	spanVersion   = 14
	spanComponent = 15
	spanKind      = 16

	linkTraceID = 1
	linkSpanID  = 2
	linkAttrs   = 3
	linkState   = 4
	linkFlags   = 5

	eventTime  = 1
	eventName  = 2
	eventAttrs = 3
)

func (p *payloadV1) links(links string) {
	n := 0
	for in := (reader{s: links}); ; n++ {
		if _, ok := in.link(); !ok {
			break
		}
	}
	p.b = msgpack.AppendArrayHeader(append(p.b, spanLinks), n)
	in := reader{s: links}
	for l, ok := in.link(); ok; l, ok = in.link() {
		at := p.openMap()
		p.b = append(p.b, linkTraceID, 0xc4, 16)
		p.b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(p.b, l.traceHigh), l.traceLow)
		p.b = msgpack.AppendUint(append(p.b, linkSpanID), l.id)
		p.b = msgpack.AppendUint(append(p.b, linkFlags), uint64(l.flags|knownFlags))
		fields := 3 + p.field(linkState, l.state)
		if l.attrs != "" {
			fields++
			open, n := p.openAttrs(linkAttrs), 0
			attrs := reader{s: l.attrs}
			for a, ok := attrs.attr(); ok; a, ok = attrs.attr() {
				n += p.attr(&a)
			}
			p.closeAttrs(open, n)
		}
		p.b[at] |= byte(fields)
	}
}

func (p *payloadV1) events(events string) {
	n := 0
	for in := (reader{s: events}); ; n++ {
		if _, ok := in.event(); !ok {
			break
		}
	}
	p.b = msgpack.AppendArrayHeader(append(p.b, spanEvents), n)
	in := reader{s: events}
	for e, ok := in.event(); ok; e, ok = in.event() {
		at := p.openMap()
		p.b = msgpack.AppendUint(append(p.b, eventTime), e.time)
		fields := 1 + p.field(eventName, e.name)
		if e.attrs != "" {
			fields++
			open, n := p.openAttrs(eventAttrs), 0
			attrs := reader{s: e.attrs}
			for a, ok := attrs.attr(); ok; a, ok = attrs.attr() {
				p.str(a.key)
				p.value(a)
				n++
			}
			p.closeAttrs(open, n)
		}
		p.b[at] |= byte(fields)
	}
}
