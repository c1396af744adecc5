package tracing

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/spanattr"
)

// Provider is a trace.TracerProvider over the SDK's. It registers itself
// nowhere, starts nothing, and has nothing to shut down: whoever made the
// processors does that.
type Provider struct {
	embedded.TracerProvider

	pipeline obsctx.Pipeline
	sdk      *sdktrace.TracerProvider // nil if disabled
	sampler  *sampler                 // nil if it is another's

	processors []sdktrace.SpanProcessor
	maxOwn     int // attributes a span of ours may have before they are the SDK's

	byName  atomic.Pointer[map[string]*tracer] // those asked for by name alone; replaced, never written
	mu      sync.Mutex                         // guards tracers and the replacing of byName
	tracers map[trace.Tracer]*tracer           // by the SDK's
}

var (
	_ trace.TracerProvider = (*Provider)(nil)
	_ obsctx.Source        = (*Provider)(nil)
)

// NewProvider returns a Provider.
func NewProvider(opts Options) *Provider {
	opts = opts.withDefaults()
	p := &Provider{tracers: make(map[trace.Tracer]*tracer)}
	p.byName.Store(&map[string]*tracer{})
	p.pipeline = obsctx.Pipeline{
		Provider: p, Propagator: opts.Propagator, Ingress: opts.Ingress,
		Logger: opts.Logger, Redactor: opts.Redactor, Disabled: opts.Disabled,
	}
	if opts.Disabled {
		return p
	}
	sdkOpts := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(recorded(opts.Sampler)),
		sdktrace.WithIDGenerator(writingGenerator{opts.IDGenerator}),
	}
	if opts.Resource != nil {
		sdkOpts = append(sdkOpts, sdktrace.WithResource(opts.Resource))
	}
	p.sampler, _ = opts.Sampler.(*sampler)
	p.processors, p.maxOwn = withSpanRules(p.sampler, opts.SpanProcessors), ownAttributes(opts.Sampler)
	p.sdk = sdktrace.NewTracerProvider(sdkOpts...)
	return p
}

// Pipeline returns the pipeline the provider belongs to, always the same one.
// Instrumentation finds its propagators and its logger there.
func (p *Provider) Pipeline(context.Context) *obsctx.Pipeline { return &p.pipeline }

// Tracer returns the tracer of a name and options, the same one each time.
func (p *Provider) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	if len(opts) == 0 {
		// Two lookups without a lock or an allocation: obs.Start comes here
		// for every span.
		if t := (*p.byName.Load())[name]; t != nil {
			return t
		}
	}
	var sdk trace.Tracer
	if p.sdk != nil {
		sdk = p.sdk.Tracer(name, opts...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tracers[sdk]
	if t == nil {
		t = &tracer{provider: p, sdk: sdk}
		p.tracers[sdk] = t
	}
	if len(opts) == 0 {
		next := maps.Clone(*p.byName.Load())
		next[name] = t
		p.byName.Store(&next)
	}
	return t
}

type tracer struct {
	embedded.Tracer

	provider *Provider
	sdk      trace.Tracer // nil if disabled
}

// Start starts a span. At a local root it first makes the trace's state, so
// that the sampler and the processors find it in their contexts.
func (t *tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	if t.sdk == nil || obsctx.Suppressed(ctx) {
		return startNothing(ctx)
	}
	parent := trace.SpanContextFromContext(ctx)
	if parent.TraceID().IsValid() && newRoot(opts) {
		parent = trace.SpanContext{}
	}
	state := obsctx.TraceFrom(ctx)
	var root *obsctx.Trace
	switch {
	case !parent.IsValid() || parent.IsRemote():
		ctx, root = t.provider.newState(ctx, state, parent)
		opts = withLinks(opts, root.Links)
	case state != nil && state.ID == parent.TraceID() && state.Pipeline != &t.provider.pipeline:
		// A span of another provider's trace, or one started by a provider
		// that knows no states: the first of ours below it.
		ctx, root = t.provider.newState(ctx, state, parent)
	}
	if f := obsctx.FieldsFrom(ctx); f != nil {
		opts = withFields(opts, f, t.provider)
	}
	ctx, span := t.newSpan(ctx, name, opts, root)
	if root != nil {
		root.Starting = nil
		if root.Pending != nil {
			t.provider.watch(root, span)
		}
	}
	return ctx, span
}

// watch lets a decision that is pending go by what the local root turns out
// to be. The state is published with the context that Start returns.
func (p *Provider) watch(s *obsctx.Trace, root trace.Span) {
	if span, ok := root.(sdktrace.ReadOnlySpan); ok && p.sampler != nil {
		s.Pending.Decide = func() obsctx.Decision { return p.sampler.settle(s.ID, span) }
	}
}

// startNothing returns the span of ctx if that records nothing, else one with
// the same ids that does not.
func startNothing(ctx context.Context) (context.Context, trace.Span) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		ctx = trace.ContextWithSpanContext(ctx, span.SpanContext())
		span = trace.SpanFromContext(ctx)
	}
	return ctx, span
}

// newRoot reports whether opts ask for a new trace. Options that serve events
// too, attributes above all, are left out: they cannot ask for it, and to
// apply them is to copy them.
func newRoot(opts []trace.SpanStartOption) bool {
	for i, o := range opts {
		if _, ok := o.(trace.EventOption); ok {
			continue
		}
		if c := trace.NewSpanStartConfig(opts[i : i+1]...); c.NewRoot() {
			return true
		}
	}
	return false
}

// newState returns ctx with the state of a local root of ours under parent.
// found is the state ctx came with, or nil: facts of the same trace, or of a
// request that continues no trace.
func (p *Provider) newState(ctx context.Context, found *obsctx.Trace, parent trace.SpanContext) (context.Context, *obsctx.Trace) {
	ctx, s := obsctx.NewTrace(ctx)
	s.ID, s.Pipeline = parent.TraceID(), &p.pipeline
	switch {
	case found != nil && found.Remote && !found.ID.IsValid():
		s.FrontEnd, s.Links = found.FrontEnd, found.Links
	case found != nil && found.ID == s.ID && s.ID.IsValid():
		s.Origin, s.Tags, s.LastParent, s.FrontEnd = found.Origin, found.Tags, found.LastParent, found.FrontEnd
		s.Problem = found.PropagationError()
		if found.Remote {
			s.Links = found.Links
		}
		if d, ok := found.Decision(); ok {
			s.Init(d)
		}
	case parent.IsValid():
		// A propagator that knows no states has been here; the SpanContext has
		// what its headers said.
		h := hopOf(parent)
		s.Origin, s.Tags, s.LastParent = h.origin, h.tags, h.lastParent
		s.Init(h.decision)
	}
	return ctx, s
}

func withLinks(opts []trace.SpanStartOption, links []trace.Link) []trace.SpanStartOption {
	if len(links) == 0 {
		return opts
	}
	return append(opts[:len(opts):len(opts)], trace.WithLinks(links...))
}

// withFields puts the fields of a context in front of opts, whose attributes
// win. The fields are encoded once a context and provider.
func withFields(opts []trace.SpanStartOption, f *obsctx.Fields, p *Provider) []trace.SpanStartOption {
	attrs, ok := f.Form(p).(trace.SpanStartEventOption)
	if !ok {
		attrs = trace.WithAttributes(spanattr.AppendFields(p.pipeline.Redactor, nil, f)...)
		f.Keep(p, attrs)
	}
	return append(append(make([]trace.SpanStartOption, 0, len(opts)+1), attrs), opts...)
}
