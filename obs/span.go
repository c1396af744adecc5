package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/internal/spanattr"
)

// scope is the instrumentation scope of the spans obs starts.
const scope = "github.com/kumihimo/kumihimo/obs"

// maxStack bounds the stack recorded with an error.
const maxStack = 8 << 10

// A Span times one piece of work. It is safe for concurrent use.
type Span struct {
	span  trace.Span
	state *obsctx.Trace
}

// Start starts a span named name under the one in ctx, with attrs and the
// fields of [With] as its attributes, and returns it with a context that
// carries it. The span belongs to the pipeline of ctx's trace, else to the
// global one.
//
// End it with a deferred call, as in the example of [Span.End].
func Start(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, *Span) {
	var opts []trace.SpanStartOption
	p := obsctx.PipelineFrom(ctx)
	if len(attrs) > 0 {
		opts = append(opts, trace.WithAttributes(spanattr.Append(redactor(p), nil, attrs...)...))
	}
	ctx, span := tracer(p).Start(ctx, name, opts...)
	return ctx, &Span{span: span, state: obsctx.TraceFrom(ctx)}
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

// Set adds attrs to the span; an attribute set before is replaced.
func (s *Span) Set(attrs ...slog.Attr) {
	if s.span.IsRecording() {
		s.span.SetAttributes(spanattr.Append(s.redactor(), nil, attrs...)...)
	}
}

// End ends the span. If *err is an error, or the function panics, End records
// it as an exception event and sets the span's status to Error; the panic goes
// on. [http.ErrAbortHandler] is not an error.
//
// End must itself be deferred, and err must point to a named result:
//
//	func load(ctx context.Context) (err error) {
//		ctx, span := obs.Start(ctx, "load")
//		defer span.End(&err)
//
// In defer func() { span.End(&err) }() a panic would pass unseen, and without
// a named result so would the error. End(nil) just ends the span.
func (s *Span) End(err *error) {
	p := recover()
	switch {
	case p != nil && p != any(http.ErrAbortHandler):
		s.recordPanic(p)
	case err != nil && *err != nil && !isAbort(*err):
		s.recordError(*err)
	}
	s.span.End()
	if p != nil {
		panic(p)
	}
}

func (s *Span) recordPanic(p any) {
	if !s.span.IsRecording() {
		return
	}
	err, isError := p.(error)
	if !isError {
		s.record(panicValue{p}, fmt.Sprintf("%T", p), sprint(p))
		return
	}
	s.record(err, errorType(err), sprint(err))
}

func (s *Span) recordError(err error) {
	if s.span.IsRecording() {
		s.record(err, errorType(err), sprint(err))
	}
}

// panicValue makes an error of a panic's value, one that is the same at each
// span that the panic passes.
type panicValue struct{ value any }

func (p panicValue) Error() string { return sprint(p.value) }

// record makes the exception event. The stack is put on the innermost span
// alone, since the outer ones see the same error on its way up.
func (s *Span) record(err error, kind, message string) {
	message = s.redactor().Text(message)
	kvs := []attribute.KeyValue{
		semconv.ExceptionType(kind),
		semconv.ExceptionMessage(message),
	}
	if s.state == nil || s.state.FirstSight(err) {
		kvs = append(kvs, semconv.ExceptionStacktrace(stack()))
	}
	s.span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(kvs...))
	s.span.SetStatus(codes.Error, message)
}

func stack() string {
	b := debug.Stack()
	return string(b[:min(len(b), maxStack)])
}

// isAbort reports whether err is, or wraps, http.ErrAbortHandler.
func isAbort(err error) (abort bool) {
	defer func() {
		if recover() != nil { // err's own Is or Unwrap
			abort = false
		}
	}()
	return errors.Is(err, http.ErrAbortHandler)
}

// errorType is the type of err beneath the wrappers that say nothing of it.
func errorType(err error) (kind string) {
	kind = fmt.Sprintf("%T", err)
	defer func() {
		_ = recover() // of err's own Unwrap: the type found so far stands
	}()
	for kind == "*fmt.wrapError" {
		if err = errors.Unwrap(err); err == nil {
			break
		}
		kind = fmt.Sprintf("%T", err)
	}
	return kind
}

// sprint prints v, whatever v's own methods do.
func sprint(v any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	if err, ok := v.(error); ok {
		return err.Error()
	}
	return fmt.Sprint(v)
}
