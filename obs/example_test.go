package obs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// printer prints spans as they end.
type printer struct{}

func (printer) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (printer) Shutdown(context.Context) error                  { return nil }
func (printer) ForceFlush(context.Context) error                { return nil }
func (printer) OnEnd(s sdktrace.ReadOnlySpan) {
	fmt.Println("span", s.Name(), s.Status().Code, strconv.Quote(s.Status().Description))
}

// printed are options whose output is the same in every run.
func printed() obs.Options {
	return obs.Options{
		Service: "shop", LogWriter: io.Discard, AgentURL: "http://127.0.0.1:1", AgentAuth: "none",
		SpanProcessors: []sdktrace.SpanProcessor{printer{}},
	}
}

func ExampleNew() {
	ctx := context.Background()
	tel, err := obs.New(ctx, obs.Options{Service: "shop", LogWriter: os.Stdout, LogFormat: "json", LogFilter: "warn"})
	if err != nil {
		fmt.Println(err)
		return
	}
	tel.Logger().Info("not written")
	fmt.Println("stopped:", tel.Shutdown(ctx))
	// Output: stopped: <nil>
}

func ExampleNew_mistakes() {
	_, err := obs.New(context.Background(), obs.Options{LogFormat: "xml", AgentURL: "agent:8126", LogWriter: io.Discard})
	fmt.Println(err)
	// Output:
	// obs: Options.LogFormat="xml": want auto, json or text
	// obs: Options.AgentURL="agent:8126": want an http, https or unix URL such as https://agent-xyz.a.run.app or http://localhost:8126
}

func ExampleInit() {
	ctx := context.Background()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") }))
	defer agent.Close()
	opts := printed()
	opts.AgentURL = agent.URL
	tel, err := obs.Init(ctx, opts) // in a program: obs.Options{Service: "shop"}
	if err != nil {
		fmt.Println(err)
		return
	}
	err = tel.Run(ctx, func(ctx context.Context) error { // a server: tel.Serve(ctx, &http.Server{…})
		slog.InfoContext(ctx, "at work")
		ctx, span := obs.Start(ctx, "work")
		defer span.End(nil)
		_ = ctx // goes on to what the work calls
		return nil
	})
	fmt.Println("sent:", tel.Stats().Spans.Sent, err)
	// Output:
	// span work Unset ""
	// sent: 1 <nil>
}

var errEmpty = errors.New("shelf is empty")

func ExampleSpan_End() {
	tel, err := obs.New(context.Background(), printed())
	if err != nil {
		fmt.Println(err)
		return
	}
	load := func(ctx context.Context, id string) (err error) {
		ctx, span := obs.Start(ctx, "store.Load", slog.String("user.id", id))
		defer span.End(&err) // err is a named result

		_ = ctx // goes on to what load calls
		return fmt.Errorf("user %s: %w", id, errEmpty)
	}

	// Below a span of tel's, Start needs no globals.
	ctx, root := tel.TracerProvider().Tracer("example").Start(context.Background(), "request")
	fmt.Println(load(ctx, "u7"))
	root.End()
	// Output:
	// span store.Load Error "user u7: shelf is empty"
	// user u7: shelf is empty
	// span request Unset ""
}

func ExampleTransport() {
	tel, err := obs.New(context.Background(), printed())
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("carries a trace:", r.Header.Get("Traceparent") != "", r.Header.Get("X-Datadog-Trace-Id") != "")
	}))
	defer server.Close()
	client := &http.Client{Transport: obs.Transport(nil)}

	ctx, root := tel.TracerProvider().Tracer("example").Start(context.Background(), "request")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	root.End()
	// Output:
	// carries a trace: true true
	// span GET Unset ""
	// span request Unset ""
}

func ExampleWith() {
	tel, err := obs.New(context.Background(), printed())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := obs.With(context.Background(), slog.String("order.id", "o7"))
	_, span := tel.TracerProvider().Tracer("example").Start(ctx, "request")
	fmt.Println(span.(sdktrace.ReadOnlySpan).Attributes()[0])
	// Output: {"order.id":"o7"}
}

// Spans of one queue library, however it names them, are one operation.
func ExampleOptions_spanNames() {
	names := func(s sdktrace.ReadOnlySpan, n ddagent.Names) ddagent.Names {
		if topic, ok := strings.CutPrefix(s.Name(), "publish "); ok {
			n.Service, n.Operation, n.Resource = "shop-queue", "queue.publish", topic
		}
		return n
	}
	agent, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()
	ctx := context.Background()
	opts := printed()
	opts.AgentURL, opts.SpanNames, opts.SpanProcessors = agent.URL(), names, nil
	tel, err := obs.New(ctx, opts)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, span := tel.TracerProvider().Tracer("queue").Start(ctx, "publish orders")
	span.End()
	fmt.Println(tel.Shutdown(ctx))
	s := agent.Spans()[0]
	fmt.Println(s.Service, s.Name, s.Resource)
	// Output:
	// <nil>
	// shop-queue queue.publish orders
}

// Why do no traces arrive? Here the service's account may not call the agent.
func ExampleTelemetry_Check() {
	ctx := context.Background()
	cloud, err := emulator.StartCloud(emulator.CloudOptions{
		Metadata: emulator.MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"},
		FrontEnd: emulator.FrontEndOptions{Invokers: []string{"inventory@acme.iam.gserviceaccount.com"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	tel, err := obs.New(ctx, obs.Options{
		LogWriter: io.Discard, AgentURL: cloud.FrontEnd.URL(),
		// On Google Cloud this is left out.
		TokenSource: gcpauth.Metadata(gcpauth.MetadataOptions{Audience: cloud.FrontEnd.Audience(), Host: cloud.Metadata.Host()}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tel.Shutdown(ctx) //nolint:errcheck // there are no spans to lose

	findings := tel.Check(ctx)
	for _, f := range findings {
		if f.Hint != "" {
			fmt.Println(f.Name, f.State)
			fmt.Println(f.Hint)
		}
	}
	fmt.Println("fine:", findings.Err() == nil)
	// Output:
	// frontend failed
	// gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=serviceAccount:shop@acme.iam.gserviceaccount.com --role=roles/run.invoker
	// fine: false
}
