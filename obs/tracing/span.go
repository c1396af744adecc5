package tracing

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	rt "runtime/trace"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// span is the SDK's span without two things that cost a third of it.
//
// At its end the SDK looks, with a map, for attributes that replace earlier
// ones: here that is done as they come. And it copies the span for the
// processors: here they get the span itself, which nobody can change any more.
// So the SDK knows no processors, and it has attributes only if they are not
// ordinary: many, or of a kind to which its limits apply.
type span struct {
	sdktrace.ReadWriteSpan // the SDK's

	provider *Provider
	children atomic.Int64

	mu        sync.Mutex // guards what follows
	attrs     []attribute.KeyValue
	seen      uint64 // bit n is set if a key in attrs has the hash n
	delegated bool   // attributes are the SDK's
	ended     bool
}

// maxOwnAttributes is how many attributes a span may have before the SDK gets
// them: to look through more takes longer than its map.
const maxOwnAttributes = 64

// ownAttributes is how many a span may have under the SDK's limits. There are
// none where the sampler is another's, which must be asked about them all.
func ownAttributes(s sdktrace.Sampler) int {
	_, ours := s.(*sampler)
	limits := sdktrace.NewSpanLimits()
	switch {
	case !ours && !keepsNothing(s), limits.AttributeValueLengthLimit >= 0:
		return 0
	case limits.AttributeCountLimit >= 0:
		return min(limits.AttributeCountLimit, maxOwnAttributes)
	}
	return maxOwnAttributes
}

// newSpan starts a span under ctx. root is its state if it is a local root.
func (t *tracer) newSpan(ctx context.Context, name string, opts []trace.SpanStartOption, root *obsctx.Trace) (context.Context, trace.Span) {
	s := &span{provider: t.provider}
	opts = s.takeAttributes(opts, root)
	sdkCtx, made := t.sdk.Start(ctx, name, opts...)
	out := ctx
	if rt.IsEnabled() {
		out = sdkCtx // which carries the task
	}
	recording, ok := made.(sdktrace.ReadWriteSpan)
	if !ok {
		dropped := &unrecorded{made, t.provider}
		return trace.ContextWithSpan(out, dropped), dropped
	}
	s.ReadWriteSpan = recording
	if parent, ok := trace.SpanFromContext(ctx).(*span); ok {
		parent.children.Add(1)
	}
	for _, p := range t.provider.processors {
		p.OnStart(ctx, s)
	}
	return trace.ContextWithSpan(out, s), s
}

// takeAttributes takes the attributes out of opts if they are ordinary ones and
// the sampler need not see them, or finds them in root's state.
func (s *span) takeAttributes(opts []trace.SpanStartOption, root *obsctx.Trace) []trace.SpanStartOption {
	if s.provider.maxOwn == 0 {
		s.delegated = true
		return opts
	}
	attrs, rest := splitAttributes(opts)
	s.attrs = attrs[:0]
	for i := range attrs {
		if !s.add(&attrs[i]) {
			s.attrs, s.delegated = nil, true
			return opts
		}
	}
	if root != nil {
		root.Starting = s.attrs
	} else if _, ok := manual(s.attrs); ok {
		s.attrs, s.delegated = nil, true
		return opts
	}
	return rest
}

// splitAttributes returns a copy of the attributes in opts, and the other
// options.
func splitAttributes(opts []trace.SpanStartOption) (attrs []attribute.KeyValue, rest []trace.SpanStartOption) {
	take := func(some []attribute.KeyValue) {
		if attrs == nil { // most often: it is a copy already
			attrs = some
		} else {
			attrs = append(attrs, some...)
		}
	}
	for len(opts) > 0 { // mostly they come first, and then nothing is copied
		some := attributesOf(opts[:1])
		if len(some) == 0 {
			break
		}
		take(some)
		opts = opts[1:]
	}
	rest = opts
	for i := range opts {
		some := attributesOf(opts[i : i+1])
		left := len(rest) < len(opts) // something out
		switch {
		case len(some) == 0 && left:
			rest = append(rest, opts[i])
		case len(some) > 0 && !left:
			rest = opts[:i:i] // an append copies
		}
		take(some)
	}
	return attrs, rest
}

// attributesOf returns a copy of the attributes in an option.
func attributesOf(one []trace.SpanStartOption) []attribute.KeyValue {
	switch o := one[0].(type) {
	case *obsctx.StartAttributes:
		// A request's span gets six more at its end: with room for fewer it
		// would grow to twice its size.
		return append(make([]attribute.KeyValue, 0, len(o.Attrs)+7), o.Attrs...)
	default: // also an option of another's type around it
		c := trace.NewSpanStartConfig(one...)
		return c.Attributes()
	}
}

// add adds kv or reports that it is for the SDK to add. The caller holds the
// lock or is alone.
func (s *span) add(kv *attribute.KeyValue) bool {
	if t := kv.Value.Type(); !kv.Valid() || t == attribute.SLICE || t == attribute.MAP {
		return false
	}
	n := len(kv.Key) // more than 0: it is valid
	bit := uint64(1) << ((uint8(n*7) + kv.Key[n-1] + kv.Key[n/2]*5) & 63)
	if s.seen&bit != 0 {
		for i := range s.attrs {
			if s.attrs[i].Key == kv.Key {
				s.attrs[i] = *kv
				return true
			}
		}
	}
	if len(s.attrs) == s.provider.maxOwn {
		return false
	}
	s.seen |= bit
	s.attrs = append(s.attrs, *kv)
	return true
}

func (s *span) SetAttributes(kvs ...attribute.KeyValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if !s.delegated {
		s.attrs = slices.Grow(s.attrs, min(len(kvs), maxOwnAttributes))
		for len(kvs) > 0 && s.add(&kvs[0]) {
			kvs = kvs[1:]
		}
		if len(kvs) == 0 {
			return
		}
		s.ReadWriteSpan.SetAttributes(s.attrs...)
		s.attrs, s.delegated = nil, true
	}
	s.ReadWriteSpan.SetAttributes(kvs...)
}

func (s *span) Attributes() []attribute.KeyValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.delegated:
		return s.ReadWriteSpan.Attributes()
	case s.ended:
		return s.attrs[:len(s.attrs):len(s.attrs)]
	default:
		return slices.Clone(s.attrs)
	}
}

func (s *span) ChildSpanCount() int { return int(s.children.Load()) }

// TracerProvider returns ours: spans that the SDK's own starts would reach
// nobody.
func (s *span) TracerProvider() trace.TracerProvider { return s.provider }

// End ends the span. Deferred, it records a panic as the SDK does, which only
// the deferred function itself can see.
func (s *span) End(opts ...trace.SpanEndOption) {
	s.mu.Lock()
	ended := s.ended
	s.ended = true
	s.mu.Unlock()
	if ended {
		return
	}
	if r := recover(); r != nil {
		defer panic(r)
		s.addPanic(r, opts)
	}
	s.ReadWriteSpan.End(opts...)
	for _, p := range s.provider.processors {
		p.OnEnd(s)
	}
}

func (s *span) addPanic(r any, opts []trace.SpanEndOption) {
	typ := reflect.TypeOf(r).String()
	if t := reflect.TypeOf(r); t.PkgPath() != "" || t.Name() != "" {
		typ = t.PkgPath() + "." + t.Name()
	}
	attrs := []attribute.KeyValue{attribute.String("exception.type", typ), attribute.String("exception.message", fmt.Sprint(r))}
	if c := trace.NewSpanEndConfig(opts...); c.StackTrace() {
		attrs = append(attrs, attribute.String("exception.stacktrace", string(debug.Stack())))
	}
	s.AddEvent("exception", trace.WithAttributes(attrs...))
}

// unrecorded is a span that the sampler has dropped.
type unrecorded struct {
	trace.Span
	provider *Provider
}

func (s *unrecorded) TracerProvider() trace.TracerProvider { return s.provider }
