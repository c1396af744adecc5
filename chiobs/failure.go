package chiobs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/braid"
	"github.com/kumihimo/kumihimo/internal/redact"
)

const (
	// maxStack bounds a panic's stack, in bytes; the innermost frames stay.
	maxStack = 8 << 10

	// maxStackMessage bounds the message before it in the log.
	maxStackMessage = 1 << 10
)

// An exception is a panic as the span and the log tell it.
type exception struct {
	value                any
	kind, message, stack string
}

// newException must be called from the deferred function that recovered p,
// whose stack still holds the frames that panicked.
func newException(p any, red *redact.Redactor) *exception {
	return &exception{
		value:   p,
		kind:    fmt.Sprintf("%T", p),
		message: clean(red.Text(sprint(p))),
		stack:   string(panicStack(debug.Stack())),
	}
}

// panicStack cuts what ran after the panic from a goroutine's stack, so that
// the stack begins, and is grouped by, where it happened. A panic that was
// passed on by deferred functions is followed by several calls of panic, the
// first of them last.
func panicStack(stack []byte) []byte {
	call := bytes.LastIndex(stack, []byte("\npanic("))
	if call >= 0 {
		header, rest := bytes.IndexByte(stack, '\n'), stack[call+1:]
		for range 2 { // the call, and its place
			_, rest, _ = bytes.Cut(rest, []byte("\n"))
		}
		stack = append(stack[:header+1], rest...)
	}
	return stack[:min(len(stack), maxStack)]
}

// sprint prints a panic's value, whatever the value's own methods do.
func sprint(v any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fmt.Sprintf("!PANIC: %T", v)
		}
	}()
	return fmt.Sprint(v)
}

// addTo makes the panic an event of span. One that has passed inner spans on
// its way has its stack there.
func (x *exception) addTo(ctx context.Context, span trace.Span) {
	fresh, first := braid.PanicAt(ctx, span, x.value)
	if !fresh {
		return
	}
	kvs := append(make([]attribute.KeyValue, 0, 3),
		semconv.ExceptionTypeKey.String(x.kind),
		semconv.ExceptionMessageKey.String(x.message))
	if first {
		kvs = append(kvs, semconv.ExceptionStacktraceKey.String(x.stack))
	}
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(kvs...))
}

// logPanic writes the stack in the form of a crash, which Error Reporting
// parses: the message, an empty line, the goroutine.
// https://cloud.google.com/error-reporting/docs/formatting-error-messages
func (q *request) logPanic(x *exception) {
	message := "panic: " + x.message
	stack := message[:min(len(message), maxStackMessage)] + "\n\n" + x.stack
	q.logger.LogAttrs(q.ctx, slog.LevelError, message,
		slog.String("error.kind", x.kind),
		slog.String("error.message", x.message),
		slog.String("stack_trace", stack[:min(len(stack), maxStack)]),
	)
}
