package logging_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs/logging"
)

// fixedTime makes an example's lines the same every day.
type fixedTime struct{ slog.Handler }

func (h fixedTime) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Date(2026, 3, 1, 12, 30, 5, 0, time.UTC)
	return h.Handler.Handle(ctx, r)
}

func (h fixedTime) WithAttrs(attrs []slog.Attr) slog.Handler {
	return fixedTime{h.Handler.WithAttrs(attrs)}
}

func ExampleNewHandler() {
	logger := slog.New(fixedTime{logging.NewHandler(os.Stdout, &logging.Options{Service: "shop", ProjectID: "acme"})})

	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 2}, TraceFlags: trace.FlagsSampled,
	}))
	logger.InfoContext(ctx, "loading user", "user.id", 7, "password", "hunter2")
	// Output:
	// {"severity":"INFO","time":"2026-03-01T12:30:05.000000000Z","message":"loading user","logging.googleapis.com/trace":"projects/acme/traces/00000000000000000000000000000001","logging.googleapis.com/spanId":"0000000000000002","logging.googleapis.com/trace_sampled":true,"dd.trace_id":"00000000000000000000000000000001","dd.span_id":"2","dd.service":"shop","user.id":7,"password":"[REDACTED]"}
}

func ExampleNewTextHandler() {
	logger := slog.New(fixedTime{logging.NewTextHandler(os.Stdout, nil)})

	logger.Info("listening", "addr", ":8080")
	logger.Warn("cache is cold", "took", 1534*time.Microsecond, "err", fmt.Errorf("warm up: %w", errors.Join(errors.New("timeout"), io.EOF)))
	// Output:
	// 12:30:05.000 INFO  listening                     addr=:8080
	// 12:30:05.000 WARN  cache is cold                 took=1.53ms err="warm up: [timeout; EOF]"
	//     ↳ timeout  *errors.errorString
	//     ↳ EOF  *errors.errorString
}

func ExampleColor() {
	logger := slog.New(fixedTime{logging.NewTextHandler(os.Stdout, &logging.Options{Color: logging.ColorNever})})
	logger.Warn("plain on a terminal too")
	// Output: 12:30:05.000 WARN  plain on a terminal too
}

func ExampleParseFilter() {
	filter, err := logging.ParseFilter("warn,payments=debug")
	if err != nil {
		panic(err)
	}
	logger := slog.New(fixedTime{logging.NewTextHandler(os.Stdout, &logging.Options{Filter: filter})})

	logger.Info("not written")
	logger.With("logger", "payments").Debug("written")

	_, err = logging.ParseFilter("info,net/http=loud")
	fmt.Println(err)
	// Output:
	// 12:30:05.000 DEBUG written                       logger=payments
	// logging: filter directive 2, "net/http=loud": unknown level "loud": want debug, info, notice, warn, error, critical, alert, emergency or off
}

func ExampleBufferedWriter() {
	out := &logging.BufferedWriter{W: os.Stdout}
	logger := slog.New(fixedTime{logging.NewTextHandler(out, nil)})

	logger.Info("first, and kept")
	fmt.Println("nothing is written yet")
	if err := out.Flush(); err != nil { // at a request's end, where the CPU stands still after it
		fmt.Println(err)
	}
	fmt.Fprintln(out, "a line of something else's")
	if err := out.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("lost:", out.Dropped())
	// Output:
	// nothing is written yet
	// 12:30:05.000 INFO  first, and kept
	// a line of something else's
	// lost: 0
}

func ExampleFilter_Set() {
	var filter logging.Filter
	logger := slog.New(fixedTime{logging.NewTextHandler(os.Stdout, &logging.Options{Filter: &filter})})

	logger.Debug("not written")
	fmt.Println(filter.Set("debug,net/http=off"))
	logger.Debug("written")
	fmt.Println(filter.Set("debug,net/http=loud"))
	fmt.Println(filter.String())
	// Output:
	// <nil>
	// 12:30:05.000 DEBUG written
	// logging: filter directive 2, "net/http=loud": unknown level "loud": want debug, info, notice, warn, error, critical, alert, emergency or off
	// debug,net/http=off
}

func ExampleNewHandler_labels() {
	logger := slog.New(fixedTime{logging.NewHandler(os.Stdout, &logging.Options{Service: "shop", Labels: map[string]string{"team": "cart"}})})

	logger.Info("step", slog.Group("logging.googleapis.com/labels", "cell", 7),
		slog.Group("logging.googleapis.com/operation", "id", "import-7", "first", true))
	// Output:
	// {"severity":"INFO","time":"2026-03-01T12:30:05.000000000Z","message":"step","logging.googleapis.com/labels":{"team":"cart","cell":"7"},"dd.service":"shop","logging.googleapis.com/operation":{"id":"import-7","first":true}}
}

func ExampleHTTPRequest() {
	request := &logging.HTTPRequest{
		Method: "GET", URL: "https://shop.example/orders/7", Status: 200, ResponseSize: 512, Latency: 12 * time.Millisecond,
	}
	for _, h := range []slog.Handler{logging.NewHandler(os.Stdout, &logging.Options{Service: "shop"}), logging.NewTextHandler(os.Stdout, nil)} {
		slog.New(fixedTime{h}).Info("served", "httpRequest", request)
	}
	// Output:
	// {"severity":"INFO","time":"2026-03-01T12:30:05.000000000Z","message":"served","dd.service":"shop","httpRequest":{"requestMethod":"GET","requestUrl":"https://shop.example/orders/7","status":200,"responseSize":"512","latency":"0.012s"}}
	// 12:30:05.000 INFO  served                        GET /orders/7 200 12ms
}

func ExampleNewSecret() {
	key := logging.NewSecret("hunter2")
	fmt.Printf("%v %q %x\n", key, key, key)
	fmt.Println(key.Reveal() == "hunter2")
	// Output:
	// [REDACTED] [REDACTED] [REDACTED]
	// true
}
