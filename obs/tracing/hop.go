package tracing

import (
	"context"
	"encoding/binary"

	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A hop is what one service tells the next of a trace. Each style writes it
// and reads it in its own form; a context has it as a SpanContext and an
// obsctx.Trace.
type hop struct {
	style  style
	trace  trace.TraceID
	parent trace.SpanID // zero where only the trace's id is taken on
	flags  trace.TraceFlags

	decision obsctx.Decision
	decided  bool // false: whoever comes next decides

	origin     string
	tags       string // as in obsctx.Trace
	problem    string // as in obsctx.Trace
	left       bool   // tags did not fit into x-datadog-tags
	lastParent trace.SpanID

	state  trace.TraceState // other vendors' members of tracestate
	member string           // the dd member as it came; see readMember
	others string           // the other members as they came
}

// outgoing sets h, which is zero, to the hop that leaves the span of ctx. It
// returns the state of the span's trace, or nil.
func (h *hop) outgoing(ctx context.Context, sc trace.SpanContext) *obsctx.Trace {
	s := obsctx.TraceFrom(ctx)
	if s == nil || s.ID != sc.TraceID() {
		s, *h = nil, hopOf(sc)
	} else {
		h.trace, h.parent, h.flags, h.state = sc.TraceID(), sc.SpanID(), sc.TraceFlags(), sc.TraceState()
		h.origin, h.lastParent = s.Origin, s.LastParent
		h.decision, h.decided = s.Settle()
		h.tags = h.decision.TagsWith(s.Tags)
	}
	if !sc.IsRemote() {
		h.lastParent = h.parent // our own span, which Datadog sees
	}
	return s
}

// hopOf returns what a SpanContext alone tells: the flag, and the dd member of
// its tracestate where another propagator has left it there.
func hopOf(sc trace.SpanContext) hop {
	h := hop{
		trace: sc.TraceID(), parent: sc.SpanID(), flags: sc.TraceFlags(), state: sc.TraceState(),
		member: sc.TraceState().Get(vendor),
	}
	h.readMember()
	return h
}

// into returns ctx with the hop as a remote span's.
func (h *hop) into(ctx context.Context, links []trace.Link, frontEnd trace.TraceID) context.Context {
	ctx, s := obsctx.NewTrace(trace.ContextWithRemoteSpanContext(ctx, h.spanContext()))
	s.ID, s.Remote = h.trace, true
	s.Origin, s.Tags, s.LastParent = h.origin, h.tags, h.lastParent
	s.FrontEnd, s.Links, s.Problem = frontEnd, links, h.problem
	if h.decided {
		s.Init(h.decision)
	}
	return ctx
}

// restarted returns ctx such that the next span begins a trace of its own, with
// a link to h.
func (h *hop) restarted(ctx context.Context, frontEnd trace.TraceID) context.Context {
	s := &obsctx.Trace{Remote: true, FrontEnd: frontEnd}
	if h.parent.IsValid() { // else it is the front end's alone
		s.Links = []trace.Link{h.link("propagation_behavior_extract")}
	}
	return obsctx.WithTrace(ctx, s)
}

func (h *hop) spanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: h.trace, SpanID: h.parent, TraceState: h.state, Remote: true,
		TraceFlags: h.flags.WithSampled(h.kept()),
	})
}

func (h *hop) kept() bool { return h.decided && h.decision.Priority > 0 }

// mechanism returns who decided to keep the trace; Datadog's tracers name no
// one for a trace that is not kept.
func (h *hop) mechanism() (m obsctx.Mechanism, ok bool) {
	return h.decision.Mechanism, h.kept() && h.decision.Mechanism != obsctx.MechanismUnknown
}

// keep sets a decision that came as yes or no.
func (h *hop) keep(yes bool) {
	h.decision = obsctx.Decision{Priority: ext.PriorityAutoReject, Mechanism: obsctx.MechanismUnknown}
	if yes {
		h.decision.Priority = ext.PriorityAutoKeep
	}
	h.decided = true
}

// unhex fills dst from exactly as many digits of either case, as Datadog's
// tracers take them.
func unhex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	var wrong byte
	for i := range dst {
		high, low := nibbles[s[2*i]], nibbles[s[2*i+1]]
		dst[i] = high<<4 | low&15
		wrong |= high | low
	}
	return wrong < notHex
}

// notHex is set in what nibbles has for a byte that is no digit.
const notHex = 0x80

var nibbles = func() (n [256]byte) {
	for c := range n {
		n[c] = notHex
	}
	for v, c := range []byte("0123456789abcdef") {
		n[c] = byte(v)
	}
	for v, c := range []byte("ABCDEF") {
		n[c] = byte(10 + v)
	}
	return n
}()

// appendHex appends the digits of an id, eight at a time: 16 bytes take 11 ns,
// and hex.AppendEncode 21. len(src) is a multiple of 4.
func appendHex(b, src []byte) []byte {
	for ; len(src) >= 4; src = src[4:] {
		b = binary.BigEndian.AppendUint64(b, hexDigits(binary.BigEndian.Uint32(src)))
	}
	return b
}

// hexDigits returns the digits of x as eight bytes: its nibbles are moved apart,
// and those that are letters, which 6 carries beyond 15, get the letters' offset.
func hexDigits(x uint32) uint64 {
	const each = 0x0101010101010101
	v := uint64(x)
	v = (v | v<<16) & 0x0000ffff0000ffff
	v = (v | v<<8) & 0x00ff00ff00ff00ff
	v = (v | v<<4) & (each * 15)
	letters := (v + each*6) >> 4 & each
	return v + each*'0' + letters*('a'-'0'-10)
}
