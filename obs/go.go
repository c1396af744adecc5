package obs

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// Go calls f on a goroutine of its own, in a span that is named by f, under the
// span of ctx. [Telemetry.Shutdown] waits for f; when it waits no longer, the
// context of f ends.
//
// f's context carries on what ctx does, its end among it. Work that is to go on
// after the request it came from is started with
// obs.Go(context.WithoutCancel(ctx), f).
//
// A panic of f ends f and not the program, as net/http has it for handlers: it
// is recorded on the span, with its stack, and logged at ERROR. A program that
// must not go on after one starts its goroutines itself.
func Go(ctx context.Context, f func(context.Context)) {
	if ctx == nil {
		ctx = context.Background()
	}
	p := obsctx.PipelineFrom(ctx)
	if p == nil {
		p = &obsctx.Pipeline{Logger: slog.Default()}
	}
	ctx, end := p.Tasks.Begin(ctx)
	ctx, span := Start(ctx, nameOf(f))
	go func() {
		defer end()
		defer func() { logPanic(ctx, p, recover()) }()
		defer span.End(nil)
		f(ctx)
	}()
}

// maxPanicMessage bounds a panic's text before its stack.
const maxPanicMessage = 1 << 10

// logPanic logs a panic's value in the form of a crash, which Error Reporting
// parses: the message, an empty line, the goroutine. It must be called from the
// deferred function that recovered it.
// https://cloud.google.com/error-reporting/docs/formatting-error-messages
func logPanic(ctx context.Context, p *obsctx.Pipeline, value any) {
	if value == nil || value == any(http.ErrAbortHandler) || p.Logger == nil {
		return
	}
	var pcs [128]uintptr
	stack := fault.Stack(pcs[:runtime.Callers(0, pcs[:])])
	text := p.Redactor.Text(fault.Text(value))
	message := "panic: " + text
	p.Logger.LogAttrs(ctx, slog.LevelError, message,
		slog.String("error.kind", fault.TypeOf(value)),
		slog.String("error.message", text),
		slog.String("stack_trace", message[:min(len(message), maxPanicMessage)]+"\n\n"+string(stack)),
	)
}
