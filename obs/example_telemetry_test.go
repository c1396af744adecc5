package obs_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
)

// A server that is stopped: its last request is answered, and Serve returns.
func ExampleTelemetry_Serve() {
	ctx, stop := context.WithCancel(context.Background()) // a program leaves this to SIGTERM
	defer stop()
	tel, err := obs.New(ctx, quiet())
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := &http.Server{
		Addr:    "127.0.0.1:0", // a program: ":8080"
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }),
		BaseContext: func(l net.Listener) context.Context {
			go func() { // the one client
				defer stop()
				resp, err := http.Get("http://" + l.Addr().String())
				if err != nil {
					fmt.Println(err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				fmt.Println(string(body), err)
			}()
			return context.Background()
		},
	}
	fmt.Println("stopped:", tel.Serve(ctx, srv))
	// Output:
	// hello <nil>
	// stopped: <nil>
}

// toAgent runs f in a pipeline that keeps no trace by itself, and prints what
// an agent gets of it, with kinds and priorities: Datadog keeps what is above 0.
func toAgent(f func(context.Context, *obs.Telemetry)) {
	ctx := context.Background()
	agent, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()
	opts, none := printed(), 0.0
	opts.AgentURL, opts.SampleRate, opts.SpanProcessors = agent.URL(), &none, nil
	tel, err := obs.New(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	f(ctx, tel)
	if err := tel.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	for _, s := range agent.Spans() {
		fmt.Println(s.Resource, s.Kind, s.Priority)
	}
}

// What costs money is kept, whatever the sampler says.
func ExampleKeep() {
	toAgent(func(ctx context.Context, tel *obs.Telemetry) {
		for _, name := range []string{"look", "buy"} {
			ctx, span := tel.TracerProvider().Tracer("example").Start(ctx, name)
			if name == "buy" {
				obs.Keep(ctx)
			}
			span.End()
		}
	})
	// Output:
	// look internal -1
	// buy internal 2
}

// What nobody will ever look for is dropped.
func ExampleDrop() {
	toAgent(func(ctx context.Context, tel *obs.Telemetry) {
		ctx, span := tel.TracerProvider().Tracer("example").Start(ctx, "poll")
		obs.Keep(ctx)
		obs.Drop(ctx) // the last one counts
		span.End()
	})
	// Output: poll internal -1
}

// The client's side of a call that obs.Transport does not see.
func ExampleKind() {
	toAgent(func(ctx context.Context, tel *obs.Telemetry) {
		ctx, root := tel.TracerProvider().Tracer("example").Start(ctx, "request")
		defer root.End()
		_, span := obs.Start(ctx, "ask the printer", obs.Kind(trace.SpanKindClient))
		defer span.End(nil)
	})
	// Output:
	// request internal -1
	// ask the printer client -1
}

// A program that is frozen between its tasks sends what it has after each.
func ExampleTelemetry_Flush() {
	ctx := context.Background()
	agent, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()
	opts := printed()
	opts.AgentURL, opts.SpanProcessors = agent.URL(), nil
	tel, err := obs.New(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tel.Shutdown(ctx) //nolint:errcheck // there is nothing left to send

	_, span := tel.TracerProvider().Tracer("example").Start(ctx, "task")
	span.End()
	fmt.Println(tel.Flush(ctx), len(agent.Spans()))
	// Output: <nil> 1
}

// A server that is none of net/http's takes the trace out of what it is sent.
func ExampleTelemetry_IngressPropagator() {
	ctx := context.Background()
	tel, err := obs.New(ctx, quiet())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tel.Shutdown(ctx) //nolint:errcheck // there are no spans

	message := propagation.MapCarrier{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	ctx = tel.IngressPropagator().Extract(ctx, message)
	fmt.Println(trace.SpanContextFromContext(ctx).TraceID())
	// Output: 0af7651916cd43dd8448eb211c80319c
}

// The log filter is changed while the program runs, for ten minutes.
func ExampleTelemetry_LevelHandler() {
	ctx := context.Background()
	opts := obs.Options{Service: "shop", LogFormat: "json", LogWriter: lines{}}
	tel, err := obs.New(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tel.Shutdown(ctx) //nolint:errcheck // there are no spans

	// Behind authentication: mux.Handle("/admin/log", tel.LevelHandler())
	put := func(filter string) {
		w := httptest.NewRecorder()
		tel.LevelHandler().ServeHTTP(w, httptest.NewRequest("PUT", "/admin/log?for=10m", strings.NewReader(filter)))
		fmt.Println(w.Code)
	}
	tel.Logger().Debug("unseen")
	put("debug")
	tel.Logger().Debug("seen")
	put("off") // errors cannot be turned off
	// Output:
	// WARNING log filter changed on this instance
	// 200
	// DEBUG seen
	// 400
}
