package obs

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/braid"
	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/internal/spanattr"
)

// scope is the instrumentation scope of the spans obs starts.
const scope = "github.com/kumihimo/kumihimo/obs"

// A Span times one piece of work. It is safe for concurrent use; all methods of
// a nil Span do nothing.
type Span struct {
	span   trace.Span
	state  *obsctx.Trace
	flight *flight.Flight // nil if the span did not begin it
}

// Start starts a span named name under the one in ctx, with attrs and the
// fields of [With] as its attributes, and returns it with a context that
// carries it. An empty name stands for the function that calls Start. Among
// attrs may be [Kind] and [Link]. The span belongs to the pipeline of ctx's
// trace, else to the global one; a nil ctx is an empty one.
//
// End it with a deferred call, as in the example of [Span.End].
func Start(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	if name == "" {
		name = callerName()
	}
	var opts []trace.SpanStartOption
	p := obsctx.PipelineFrom(ctx)
	if len(attrs) > 0 {
		opts = startOptions(redactor(p), attrs)
	}
	s := &Span{}
	ctx, s.span = tracer(p).Start(ctx, name, opts...)
	s.state = obsctx.TraceFrom(ctx)
	if p != nil && p.Flight != nil {
		ctx, s.flight = p.Flight.Begin(ctx)
	}
	return ctx, s
}

func tracer(p *obsctx.Pipeline) trace.Tracer {
	if p != nil {
		return p.Provider.Tracer(scope)
	}
	return otel.GetTracerProvider().Tracer(scope)
}

// redactor returns the pipeline's, or nil, which knows the default keys.
func redactor(p *obsctx.Pipeline) *redact.Redactor {
	if p != nil {
		return p.Redactor
	}
	return nil
}

func (s *Span) redactor() *redact.Redactor {
	if s.state != nil {
		return redactor(s.state.Pipeline)
	}
	return nil
}

// Kind is an attribute of [Start] that sets the span's kind: an RPC's client or
// server, a message's producer or consumer.
func Kind(k trace.SpanKind) slog.Attr { return slog.Any("span.kind", k) }

// Link is an attribute of [Start], or [Span.Set], that links the span to
// another one: the message that is worked on, say.
func Link(to trace.SpanContext, attrs ...slog.Attr) slog.Attr {
	return slog.Any("span.link", trace.Link{SpanContext: to, Attributes: spanattr.Append(nil, nil, attrs...)})
}

func startOptions(red *redact.Redactor, attrs []slog.Attr) []trace.SpanStartOption {
	opts := make([]trace.SpanStartOption, 1, 2)
	kvs := make([]attribute.KeyValue, 0, len(attrs))
	for _, a := range attrs {
		if a.Value.Kind() == slog.KindAny {
			switch v := a.Value.Any().(type) {
			case trace.SpanKind:
				opts = append(opts, trace.WithSpanKind(v))
				continue
			case trace.Link:
				opts = append(opts, trace.WithLinks(v))
				continue
			}
		}
		kvs = spanattr.Append(red, kvs, a)
	}
	opts[0] = trace.WithAttributes(kvs...)
	return opts
}

// Set adds attrs to the span while it runs; an attribute set before is
// replaced. Those that are to stand on the spans below too are given by [With].
func (s *Span) Set(attrs ...slog.Attr) {
	if s == nil || s.span == nil || !s.span.IsRecording() {
		return
	}
	kvs := make([]attribute.KeyValue, 0, len(attrs))
	for _, a := range attrs {
		if a.Value.Kind() == slog.KindAny {
			switch v := a.Value.Any().(type) {
			case trace.SpanKind:
				continue // a span has it from its start
			case trace.Link:
				s.span.AddLink(v)
				continue
			}
		}
		kvs = spanattr.Append(s.redactor(), kvs, a)
	}
	s.span.SetAttributes(kvs...)
}

// End ends the span. If *err is an error, or the function panics, End records
// it as an exception event, with its type, text, causes and stack, and sets the
// span's status to Error; the panic goes on. An error that the span has an
// event of already, because it was logged, gets no second one, and its stack
// stands on the innermost span alone. [http.ErrAbortHandler] is not an error.
//
// End must itself be deferred, and err must point to a named result:
//
//	func load(ctx context.Context) (err error) {
//		ctx, span := obs.Start(ctx, "load")
//		defer span.End(&err)
//
// In defer func() { span.End(&err) }() a panic would pass unseen, and without
// a named result so would the error. End(nil) just ends the span. End may be
// called on another goroutine than Start; after the first call it does no
// more than pass a panic on.
func (s *Span) End(err *error) {
	if s == nil || s.span == nil {
		return
	}
	p := recover()
	failed := false
	switch {
	case p != nil:
		failed = p != any(http.ErrAbortHandler)
		braid.Panicked(s.span, s.state, p)
	case err != nil && *err != nil:
		failed = true
		braid.Returned(s.span, s.state, *err)
	}
	s.span.End()
	s.flight.End(failed)
	if p != nil {
		panic(p)
	}
}
