//go:build unix

package benchmarks

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ddchi "github.com/DataDog/dd-trace-go/contrib/go-chi/chi.v5/v2"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/go-chi/httplog/v3"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// Run it with
//
//	go test -run=TestLoad -v -timeout=10m . -load
var load = flag.Bool("load", false, "serve a fixed rate of requests over loopback, each stack in a process of its own")

const (
	stackVariable = "BENCHMARKS_STACK"
	sinkVariable  = "BENCHMARKS_SINK"

	loadRate    = 2000 // requests a second
	loadTime    = 10 * time.Second
	loadClients = 8
)

// stacks are the services under load: with their spans sent to the sink, and
// an access record with the trace's ids written to nowhere.
var stacks = []struct {
	name string
	new  func(tb testing.TB, sink string, w io.Writer) (http.Handler, func())
}{
	{"chi alone", func(testing.TB, string, io.Writer) (http.Handler, func()) { return router(), func() {} }},
	{"kumihimo", func(tb testing.TB, sink string, w io.Writer) (http.Handler, func()) {
		tel := newTelemetry(tb, obs.Options{LogWriter: w, Sampler: sdktrace.AlwaysSample(), AgentURL: sink, AgentAuth: "none"})
		return router(chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger()}.Middleware), func() {
			if err := tel.Flush(context.Background()); err != nil {
				tb.Error(err)
			}
		}
	}},
	{"otelchi + httplog + otlptracehttp", func(tb testing.TB, sink string, w io.Writer) (http.Handler, func()) {
		exp, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(sink+"/v1/traces"))
		if err != nil {
			tb.Fatal(err)
		}
		tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithBatcher(exp))
		return otelchiRouter(tp, w), func() {
			if err := tp.ForceFlush(context.Background()); err != nil {
				tb.Error(err)
			}
		}
	}},
	{"dd-trace-go's chi + httplog", func(tb testing.TB, sink string, w io.Writer) (http.Handler, func()) {
		tb.Setenv("DD_REMOTE_CONFIGURATION_ENABLED", "false")
		tb.Setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
		if err := tracer.Start(tracer.WithAgentURL(sink), tracer.WithService(service), tracer.WithLogStartup(false)); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(tracer.Stop)
		schema := httplog.SchemaGCP
		logger := slog.New(&datadogIDs{slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: schema.ReplaceAttr})})
		return router(ddchi.Middleware(ddchi.WithService(service)),
			httplog.RequestLogger(logger, &httplog.Options{Level: slog.LevelInfo, Schema: schema})), tracer.Flush
	}},
}

// datadogIDs adds the ids as Datadog's own handler for slog does.
type datadogIDs struct{ slog.Handler }

func (h *datadogIDs) Handle(ctx context.Context, r slog.Record) error {
	if span, ok := tracer.SpanFromContext(ctx); ok {
		r.AddAttrs(slog.String("dd.trace_id", span.Context().TraceID()), slog.String("dd.span_id", strconv.FormatUint(span.Context().SpanID(), 10)))
	}
	return h.Handler.Handle(ctx, r)
}

// TestLoad prints the CPU time that a request costs the process that serves
// it, the net's included, where requests come at the same rate for all.
func TestLoad(t *testing.T) {
	if !*load {
		t.Skip("takes a minute; run with -load")
	}
	var table strings.Builder
	out := io.MultiWriter(os.Stdout, &table)
	fmt.Fprintf(out, "| service | CPU a request | over chi alone | of kumihimo's | requests served | bytes exported |\n|---|---|---|---|---|---|\n")
	var bare, ours time.Duration
	for _, s := range stacks {
		sink := newSink(t)
		cpu, n := underLoad(t, s.name, sink.URL)
		switch s.name {
		case "chi alone":
			bare = cpu
		case "kumihimo":
			ours = cpu
		}
		ratio := "–"
		if ours > 0 {
			ratio = fmt.Sprintf("%.2f×", float64(cpu-bare)/float64(ours-bare))
		}
		if s.name != "chi alone" && sink.bytes.Load() == 0 {
			t.Errorf("%s exported nothing", s.name)
		}
		fmt.Fprintf(out, "| %s | %.1f µs | %.1f µs | %s | %d | %d |\n", s.name,
			float64(cpu.Nanoseconds())/1000, float64((cpu-bare).Nanoseconds())/1000, ratio, n, sink.bytes.Load())
	}
	if *update {
		writeSection(t, benchmarksDoc, "load", table.String())
	}
}

// underLoad returns what a request has cost the child, and how many it served.
func underLoad(t *testing.T, stack, sink string) (cpu time.Duration, served int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoadedService$", "-test.cpu=1", "-test.v")
	child.Env = append(os.Environ(), stackVariable+"="+stack, sinkVariable+"="+sink)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("%s: %v", stack, err)
		}
	}()
	url := ""
	lines := bufio.NewScanner(stdout)
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "serving ")
	}
	if url == "" {
		t.Fatalf("%s did not start", stack)
	}
	go io.Copy(io.Discard, stdout) //nolint:errcheck // ends with the child
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadClients}}
	press(t, client, url, 500*time.Millisecond) // warm
	before := childCPU(t, client, url)
	served = press(t, client, url, loadTime)
	return (childCPU(t, client, url) - before) / time.Duration(served), served
}

// press keeps to loadRate as far as the service does, and never to more clients.
func press(t *testing.T, client *http.Client, url string, d time.Duration) (served int) {
	t.Helper()
	tickets := make(chan struct{}, loadRate)
	var wg sync.WaitGroup
	counts := make([]int, loadClients)
	for i := range loadClients {
		wg.Go(func() {
			for range tickets {
				if text := get(t, client, url+"/api/v1/users/42?page=2"); !strings.Contains(text, "Ada") {
					t.Errorf("answered %q", text)
					return
				}
				counts[i]++
			}
		})
	}
	begin := time.Now()
	for sent := 0; ; time.Sleep(2 * time.Millisecond) {
		run := min(time.Since(begin), d)
		for due := int(run * loadRate / time.Second); sent < due; sent++ {
			select {
			case tickets <- struct{}{}:
			default: // a second behind: the rate is what it can do
			}
		}
		if run == d {
			break
		}
	}
	close(tickets)
	wg.Wait()
	for _, n := range counts {
		served += n
	}
	return served
}

func get(t *testing.T, client *http.Client, url string) string {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Error(err)
		return ""
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func childCPU(t *testing.T, client *http.Client, url string) time.Duration {
	t.Helper()
	cpu, err := time.ParseDuration(get(t, client, url+"/cpu"))
	if err != nil {
		t.Fatal(err)
	}
	return cpu
}

// TestLoadedService is the child. It ends when its input does.
func TestLoadedService(t *testing.T) {
	for _, s := range stacks {
		if s.name != os.Getenv(stackVariable) {
			continue
		}
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		h, flush := s.new(t, os.Getenv(sinkVariable), null)
		mux := http.NewServeMux()
		mux.Handle("/api/", h)
		mux.HandleFunc("/cpu", func(w http.ResponseWriter, _ *http.Request) {
			flush()
			io.WriteString(w, cpuTime(t).String()) //nolint:errcheck // the parent sees it
		})
		srv := httptest.NewServer(mux)
		defer srv.Close()
		fmt.Printf("serving %s\n", srv.URL)
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is all that matters
		return
	}
	t.Skip("not a child")
}
