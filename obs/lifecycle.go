package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// defaultDrain bounds Shutdown and Flush where the caller's context does not.
const defaultDrain = 8 * time.Second

// Stats is the account of a pipeline so far.
type Stats struct {
	// Spans is the account of the agent's exporter, or of the queue before
	// Options.SpanExporter; zero without either.
	Spans ddagent.Stats

	// LogErrors is the number of records whose write to Options.LogWriter
	// failed.
	LogErrors int64

	// FlightRecorder is zero without one.
	FlightRecorder FlightStats
}

// Stats returns the account so far.
func (t *Telemetry) Stats() Stats {
	s := Stats{LogErrors: t.failures.Load()}
	if t.flight != nil {
		s.FlightRecorder = FlightStats(t.flight.Stats())
	}
	if t.spans.stats != nil {
		s.Spans = t.spans.stats()
	}
	return s
}

// Flush sends the spans that have ended, those of open traces included, and
// the lines in a logging.BufferedWriter. It returns when all of them are sent or
// dropped, or ctx is done; without a deadline it gives up after 8 s.
func (t *Telemetry) Flush(ctx context.Context) error {
	ctx, cancel := drainContext(ctx)
	defer cancel()
	var lines <-chan error
	if t.buffer != nil {
		lines = guarded(t.buffer.Flush)
	}
	foreign := t.eachProcessor(ctx, "flush", sdktrace.SpanProcessor.ForceFlush)
	var err error
	if t.spans.SpanProcessor != nil {
		err = t.spans.ForceFlush(ctx)
	}
	err = errors.Join(err, foreign(), t.flushLogs(ctx))
	if lines != nil {
		err = errors.Join(err, await(ctx, lines))
	}
	return err
}

// Shutdown waits for the goroutines of [Go], for at most half of the time, sends
// what has ended and stops all that the pipeline runs. At ctx's deadline, or
// after 8 s if it has none, it gives up and returns an error that says what was
// left. Records are still written afterwards; spans that end are
// counted as dropped. Further calls wait for the first and return what it
// returned.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.shutdown.Do(func() {
		ctx, cancel := drainContext(ctx)
		defer cancel()
		t.shutdownErr = t.stopAll(ctx)
		close(t.shutdownDone)
	})
	<-t.shutdownDone
	return t.shutdownErr
}

// unwinding is how long Shutdown waits, past its deadline, for a request for a
// token that it has broken off, and for the last records.
const unwinding = 40 * time.Millisecond

// sharing is how long Shutdown waits, within its deadline, for a token to be put
// into Options.TokenCache: for the next of many jobs that each need one.
const sharing = 500 * time.Millisecond

// timeLeft is until ctx's end, or for ever.
func timeLeft(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	return time.Until(deadline)
}

func (t *Telemetry) stopAll(ctx context.Context) error {
	errs := []error{t.awaitTasks(ctx)}
	t.stop()
	t.level.stop()
	// Not through the SDK's provider: it would take our processor away, and
	// spans that end later would vanish uncounted.
	foreign := t.eachProcessor(ctx, "shutdown", sdktrace.SpanProcessor.Shutdown)
	if t.spans.SpanProcessor != nil {
		errs = append(errs, t.spans.Shutdown(ctx))
	}
	errs = append(errs, foreign())
	if t.tokens != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(max(timeLeft(ctx), unwinding), sharing))
		defer cancel()
		errs = append(errs, t.tokens.Shutdown(ctx))
	}
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
	t.running.Wait() // all of them heed stop
	t.sayFarewell()
	errs = append(errs, t.stopLogs(ctx))
	if t.buffer != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwinding)
		defer cancel()
		errs = append(errs, await(ctx, guarded(t.buffer.Flush)))
	}
	return errors.Join(errs...)
}

// awaitTasks leaves half of the time to what the goroutines' spans need after.
func (t *Telemetry) awaitTasks(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	if left := t.tasks.Wait(ctx); left > 0 {
		return fmt.Errorf("obs: shutdown: %d goroutines of obs.Go had not returned", left)
	}
	return nil
}

// sayFarewell is the last record of our own: what became of the spans.
func (t *Telemetry) sayFarewell() {
	if t.spans.stats == nil {
		return
	}
	s := t.spans.stats()
	level, lost := slog.LevelInfo, s.Dropped.Total()-s.Dropped.Unsampled
	if lost > 0 {
		level = slog.LevelWarn
	} else if !t.settings.startupLog {
		return
	}
	attrs := []slog.Attr{slog.Int64("spans.sent", s.Sent), slog.Int64("spans.lost", lost)}
	for _, reason := range []struct {
		name  string
		spans int64
	}{
		{"queue_full", s.Dropped.QueueFull}, {"rejected", s.Dropped.Rejected}, {"too_large", s.Dropped.TooLarge},
		{"expired", s.Dropped.Expired}, {"shutdown", s.Dropped.Shutdown},
	} {
		if reason.spans > 0 {
			attrs = append(attrs, slog.Int64("lost."+reason.name, reason.spans))
		}
	}
	if n := s.Dropped.Unsampled; n > 0 {
		attrs = append(attrs, slog.Int64("spans.unsampled", n)) // others stand for them in the statistics
	}
	t.internal.LogAttrs(obsctx.Suppress(context.Background()), level, "telemetry stopped", attrs...)
}

func drainContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultDrain)
}

// eachProcessor calls f for each of the program's own processors at once. The
// function it returns waits for them.
func (t *Telemetry) eachProcessor(ctx context.Context, verb string, f func(sdktrace.SpanProcessor, context.Context) error) (wait func() error) {
	var pending []<-chan error
	for _, p := range t.processors {
		pending = append(pending, guarded(func() error { return f(p, ctx) }))
	}
	return func() error {
		var errs []error
		for _, done := range pending {
			if err := await(ctx, done); err != nil {
				errs = append(errs, fmt.Errorf("obs: %s: %w", verb, err))
			}
		}
		return errors.Join(errs...)
	}
}

// guarded runs f in a goroutine. A panic of it is an error.
func guarded(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %s", fault.Text(p))
			}
		}()
		done <- f()
	}()
	return done
}

// await waits until ctx's end at the latest: a processor of the program's may
// heed no context.
func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // both were ready
		return err
	default:
		return ctx.Err()
	}
}
