package obs_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// request runs f below a span of a pipeline of its own, and then shuts it down.
func request(opts obs.Options, f func(context.Context, *slog.Logger)) {
	ctx := context.Background()
	tel, err := obs.New(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, root := tel.TracerProvider().Tracer("example").Start(ctx, "request")
	f(ctx, tel.Logger())
	root.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
}

// quiet are the options of printed without an agent.
func quiet() obs.Options {
	opts := printed()
	opts.AgentURL, opts.AgentAuth = "", ""
	return opts
}

// What cannot work: End does not see the panic unless it is itself deferred,
// nor the error unless it is a named result.
func ExampleSpan_End_mistakes() {
	request(quiet(), func(ctx context.Context, _ *slog.Logger) {
		closure := func() (err error) {
			_, span := obs.Start(ctx, "closure")
			defer func() { span.End(&err) }() // recover works in the deferred function alone
			panic("unseen")
		}
		unnamed := func() error {
			var err error
			_, span := obs.Start(ctx, "unnamed")
			defer span.End(&err)
			return errEmpty // is not put into err
		}
		func() {
			defer func() { fmt.Println("panic:", recover()) }()
			fmt.Println(closure())
		}()
		fmt.Println(unnamed())
	})
	// Output:
	// span closure Unset ""
	// panic: unseen
	// span unnamed Unset ""
	// shelf is empty
	// span request Unset ""
}

func ExampleSpan_Set() {
	request(quiet(), func(ctx context.Context, _ *slog.Logger) {
		_, span := obs.Start(ctx, "cache.Get", slog.String("key", "u7"))
		span.Set(slog.Bool("hit", true)) // what is known only now
		span.End(nil)
	})
	// Output:
	// span cache.Get Unset ""
	// span request Unset ""
}

// consumed prints the kind and the links of spans.
type consumed struct{ printer }

func (consumed) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanKind() == trace.SpanKindConsumer {
		fmt.Println(s.Name(), s.SpanKind(), "of", s.Links()[0].SpanContext.TraceID())
	}
}

// A message's consumer links to where the message came from.
func ExampleLink() {
	opts := quiet()
	opts.SpanProcessors = []sdktrace.SpanProcessor{consumed{}}
	request(opts, func(ctx context.Context, _ *slog.Logger) {
		message := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 7}, SpanID: trace.SpanID{7: 1}})
		_, span := obs.Start(ctx, "orders process", obs.Kind(trace.SpanKindConsumer), obs.Link(message))
		span.End(nil)
	})
	// Output: orders process consumer of 00000000000000000000000000000007
}

func ExampleGo() {
	request(quiet(), func(ctx context.Context, _ *slog.Logger) {
		ctx, cancel := context.WithCancel(ctx)
		obs.Go(context.WithoutCancel(ctx), func(ctx context.Context) { // goes on after the request
			fmt.Println("mail sent:", ctx.Err())
		})
		cancel()
	}) // Shutdown waits for it
	// Unordered output:
	// mail sent: <nil>
	// span request Unset ""
	// span obs_test.ExampleGo.func1.1 Unset ""
}

// lines prints the severity and the message of JSON records.
type lines struct{}

func (lines) Write(p []byte) (int, error) {
	_, severity, _ := strings.Cut(string(p), `"severity":"`)
	severity, _, _ = strings.Cut(severity, `"`)
	_, message, _ := strings.Cut(string(p), `"message":"`)
	message, _, _ = strings.Cut(message, `"`)
	if !strings.HasPrefix(message, "telemetry ") {
		fmt.Println(severity, message)
	}
	return len(p), nil
}

// The records below the filter are written if something goes wrong.
func ExampleFlightRecorder() {
	opts := obs.Options{Service: "shop", LogFormat: "json", LogFilter: "warn", LogWriter: lines{}, FlightRecorder: &obs.FlightRecorder{}}
	request(opts, func(ctx context.Context, logger *slog.Logger) {
		for _, stock := range []int{3, 0} {
			ctx, span := obs.Start(ctx, "order")
			logger.DebugContext(ctx, fmt.Sprintf("stock is %d", stock))
			logger.InfoContext(ctx, "order taken")
			if stock == 0 {
				logger.ErrorContext(ctx, "cannot deliver")
			}
			span.End(nil)
		}
	})
	// Output:
	// DEBUG stock is 0
	// INFO order taken
	// ERROR cannot deliver
}
