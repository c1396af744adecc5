// Package braid is the one place that decides how the errors of a program
// become exception events of its spans: those that a function returned, those
// it panicked with, and those it logged.
//
// Of one error a span has one event, however often it is logged and returned.
// Its stack is on the first, which is the innermost span's. What is recorded
// here is OpenTelemetry's event "exception", which OTEP 4430 deprecates in
// favour of log records; when the agent reads those, this package changes and
// its callers do not.
//
// https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
package braid

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// causesKey is the attribute of an event that has an error's causes, by the
// name that the log has for them.
const causesKey = attribute.Key("error.causes")

// A Policy says what becomes of the errors that are logged.
type Policy struct {
	// Level is the lowest level of records that become events.
	Level slog.Level

	// Status says whether they also set the status of their span, unless that
	// is a server's: a logged and retried error is no failed request.
	Status bool
}

// Takes reports whether a record of level, logged with ctx, becomes an event.
func (p *Policy) Takes(ctx context.Context, level slog.Level) bool {
	return p != nil && level >= p.Level && trace.SpanFromContext(ctx).IsRecording() && !obsctx.Suppressed(ctx)
}

// Logged makes an event of a record with message and, unless nil, err.
// stack returns where it was logged, or where the error came from.
func (p *Policy) Logged(ctx context.Context, message string, err error, stack func() []byte) {
	span := trace.SpanFromContext(ctx)
	s := newSite(span, obsctx.TraceFrom(ctx))
	if s.state == nil {
		return // nothing would tell that Span.End records the same
	}
	if err == nil {
		message = s.red.Text(message)
		s.event(textError(message), "", message, stack)
	} else {
		message = s.text(err)
		s.event(err, fault.Kind(err), message, stack)
	}
	if !p.Status {
		return
	}
	if k, ok := span.(interface{ SpanKind() trace.SpanKind }); ok && k.SpanKind() != trace.SpanKindServer {
		span.SetStatus(codes.Error, message)
	}
}

// Returned records that what span times has failed with err, and sets the
// status. Unless err brings one along, the stack begins at the caller's caller.
func Returned(span trace.Span, state *obsctx.Trace, err error) {
	if !span.IsRecording() || isAbort(err) {
		return
	}
	s := newSite(span, state)
	message := s.text(err)
	s.event(err, fault.Kind(err), message, func() []byte {
		if pcs := fault.Callers(err); len(pcs) > 0 {
			return append([]byte(fault.Header), fault.Frames(pcs)...)
		}
		var pcs [maxFrames]uintptr
		return fault.Stack(pcs[:runtime.Callers(5, pcs[:])]) // less Callers, this, event, Returned and its caller
	})
	span.SetStatus(codes.Error, message)
}

// Panicked records that what span times has panicked with p, and sets the
// status. It must be called from the deferred function that recovered p.
func Panicked(span trace.Span, state *obsctx.Trace, p any) {
	if !span.IsRecording() || p == any(http.ErrAbortHandler) {
		return
	}
	s := newSite(span, state)
	message := s.red.Text(fault.Text(p))
	s.event(panicError(p), fault.TypeOf(p), message, panicStack)
	span.SetStatus(codes.Error, message)
}

// PanicAt is for who makes the event of a panic itself: fresh reports whether
// span has none of it yet, first whether no span of the trace has.
func PanicAt(ctx context.Context, span trace.Span, p any) (fresh, first bool) {
	s := newSite(span, obsctx.TraceFrom(ctx))
	if s.state == nil {
		return true, true
	}
	return s.state.Sight(panicError(p), span.SpanContext().SpanID())
}

func panicError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	return panicValue{p}
}

// maxFrames bounds what is read of a stack; a panic that passes many spans has
// two frames for each.
const maxFrames = 128

func panicStack() []byte {
	var pcs [maxFrames]uintptr
	return fault.Stack(pcs[:runtime.Callers(0, pcs[:])])
}

// panicValue makes an error of a panic's value, one that is the same at each
// span that the panic passes.
type panicValue struct{ value any }

func (p panicValue) Error() string { return fault.Text(p.value) }

// textError is the error of a record that has none: equal messages are equal.
type textError string

func (e textError) Error() string { return string(e) }

// isAbort reports whether err is, or wraps, http.ErrAbortHandler, by which a
// handler asks for the connection to be closed.
func isAbort(err error) (abort bool) {
	defer func() {
		if recover() != nil { // err's own Is or Unwrap
			abort = false
		}
	}()
	return errors.Is(err, http.ErrAbortHandler)
}

// A site is a span to which errors come.
type site struct {
	span  trace.Span
	state *obsctx.Trace // nil if the span is no trace's of ours
	red   *redact.Redactor
}

func newSite(span trace.Span, state *obsctx.Trace) site {
	s := site{span: span}
	if state != nil && state.ID == span.SpanContext().TraceID() {
		s.state = state
		if state.Pipeline != nil {
			s.red = state.Pipeline.Redactor
		}
	}
	return s
}

func (s *site) text(err error) string { return s.red.Text(fault.Text(err)) }

// event adds the event of err, if the span has none yet.
func (s *site) event(err error, kind, message string, stack func() []byte) {
	fresh, first := true, true
	if s.state != nil {
		fresh, first = s.state.Sight(err, s.span.SpanContext().SpanID())
	}
	if !fresh {
		return
	}
	kvs := make([]attribute.KeyValue, 0, 4)
	if kind != "" {
		kvs = append(kvs, semconv.ExceptionType(kind))
	}
	kvs = append(kvs, semconv.ExceptionMessage(message))
	if causes := fault.Causes(err, s.text); len(causes) > 0 {
		list := make([]string, len(causes))
		for i, c := range causes {
			list[i] = strings.Repeat("  ", c.Depth) + c.Kind + ": " + c.Text
		}
		kvs = append(kvs, causesKey.StringSlice(list))
	}
	if first {
		kvs = append(kvs, semconv.ExceptionStacktrace(string(fault.Bounded(stack()))))
	}
	s.span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(kvs...))
}
