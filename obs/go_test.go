package obs

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// bubble is a pipeline without an agent, for a synctest bubble, and a context
// of its trace.
func bubble(t *testing.T, rec *tracetest.SpanRecorder) (*Telemetry, *lockedBuffer, context.Context) {
	t.Helper()
	out := &lockedBuffer{}
	tel, err := build(t.Context(), Options{Service: "shop", LogFormat: "json", LogWriter: out, SpanProcessors: []sdktrace.SpanProcessor{rec}}, world())
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
	root.End() // a goroutine may outlive its request
	return tel, out, ctx
}

// TestGoIsWaitedFor by Shutdown, whose account then has its span.
func TestGoIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		tel, _, ctx := bubble(t, rec)
		done := false
		Go(ctx, func(ctx context.Context) {
			time.Sleep(2 * time.Second)
			Go(ctx, func(context.Context) { // from within, while Shutdown waits
				time.Sleep(time.Second)
				done = true
			})
		})
		began := time.Now()
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); !done || took != 3*time.Second {
			t.Errorf("shut down after %v, done: %t", took, done)
		}
		spans := rec.Ended()
		if len(spans) != 3 || !strings.HasPrefix(spans[2].Name(), "obs.TestGoIsWaitedFor.") || spans[2].Parent().TraceID() != trace.SpanContextFromContext(ctx).TraceID() {
			t.Errorf("got %v", spans)
		}
	})
}

// TestGoThatDoesNotReturn loses its context in time.
func TestGoThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, _, ctx := bubble(t, tracetest.NewSpanRecorder())
		var cause error
		release := make(chan struct{})
		Go(ctx, func(ctx context.Context) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			<-release
		})
		limited, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		err := tel.Shutdown(limited)
		if err == nil || !strings.Contains(err.Error(), "1 goroutines of obs.Go") {
			t.Errorf("got %v, want what was left", err)
		}
		synctest.Wait()
		if took := time.Since(began); took != 2*time.Second || !errors.Is(cause, obsctx.ErrStopped) {
			t.Errorf("shut down after %v, cause %v", took, cause)
		}
		close(release)
		synctest.Wait()
		ran := false
		Go(ctx, func(context.Context) { ran = true }) // after the end: runs all the same
		synctest.Wait()
		if !ran {
			t.Error("Go after Shutdown does not run")
		}
	})
}

func TestGoContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, _, ctx := bubble(t, tracetest.NewSpanRecorder())
		ctx, cancel := context.WithCancel(With(ctx, slog.String("order", "o7")))
		var ended, on error
		fields := false
		Go(ctx, func(ctx context.Context) { <-ctx.Done(); ended = ctx.Err() })
		Go(context.WithoutCancel(ctx), func(ctx context.Context) {
			time.Sleep(time.Second)
			on, fields = ctx.Err(), obsctx.FieldsFrom(ctx) != nil
		})
		cancel()
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if !errors.Is(ended, context.Canceled) || on != nil || !fields {
			t.Errorf("got %v, %v, fields %t", ended, on, fields)
		}
	})
}

//go:noinline
func explode() { panic("boom at https://a.example/?token=planted") }

func TestGoPanics(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		f         func(context.Context)
		status    codes.Code
		stack     string
		message   string
		hasLogged bool
	}{
		"panic":  {func(context.Context) { explode() }, codes.Error, "obs.explode(...)", "boom at https://a.example/?token=REDACTED", true},
		"nil f":  {nil, codes.Error, "obs.Go.func", "runtime error: invalid memory address or nil pointer dereference", true},
		"abort":  {func(context.Context) { panic(http.ErrAbortHandler) }, codes.Unset, "", "", false},
		"Goexit": {func(context.Context) { new(testing.B).Skip() }, codes.Unset, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rec := tracetest.NewSpanRecorder()
				tel, out, ctx := bubble(t, rec)
				Go(ctx, tt.f)
				if err := tel.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				s := rec.Ended()[1]
				if s.Status().Code != tt.status || s.Status().Description != tt.message {
					t.Errorf("status: got %v", s.Status())
				}
				log := out.String()
				if got := strings.Contains(log, `"message":"panic: `); got != tt.hasLogged || strings.Contains(log, "planted") {
					t.Errorf("log: got %s", log)
				}
				if !tt.hasLogged {
					return
				}
				for _, stack := range []string{attrsOf(s.Events()[0].Attributes)["exception.stacktrace"], log} {
					if !strings.Contains(stack, tt.stack) {
						t.Errorf("got stack %s", stack)
					}
				}
				if stack := attrsOf(s.Events()[0].Attributes)["exception.stacktrace"]; !strings.HasPrefix(stack, "goroutine 1 [running]:\ngithub.com/kumihimo/kumihimo/obs.") {
					t.Errorf("the stack does not begin at the panic: %s", stack)
				}
			})
		})
	}
}

// TestGoWithoutPipeline: the code works before Init, and without a context.
func TestGoWithoutPipeline(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	wg.Add(2)
	Go(nil, func(ctx context.Context) { //nolint:staticcheck // on purpose
		defer wg.Done()
		if ctx == nil {
			t.Error("got no context")
		}
	})
	Go(t.Context(), func(context.Context) { wg.Done() })
	wg.Wait()
}
