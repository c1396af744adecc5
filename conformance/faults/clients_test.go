//go:build unix

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// work is what a client is to send: root spans, one after the other.
type work struct {
	Client string
	URL    string // the agent's
	Spans  int
	Over   time.Duration // the time they take
	Grace  time.Duration // of the shutdown

	Invalid int // every so manieth span has invalid UTF-8; 0: none
	Huge    int // bytes of one span's attribute; 0: none
}

// sent is a client's account of its work.
type sent struct {
	IDs      []uint64       // of the spans that ended
	Reports  map[string]int // what it said, and how often
	Stopping time.Duration  // the shutdown took

	// What the library counts itself, if it does.
	Counted int64
	Dropped map[string]int64 `json:",omitempty"`
}

// A client does work. It calls begin when it is set up, and shuts down when
// done is closed.
type client func(ctx context.Context, w work, begin func(), done <-chan struct{}) (sent, error)

const kumihimo = "kumihimo"

// The libraries, as they are without options. None waits for longer than Grace
// in its shutdown where that can be said.
var clients = []struct {
	name string
	run  client
}{
	{kumihimo, runKumihimo},
	{"dd-trace-go", runDDTrace},
	{"otlptracehttp", runOTLP},
}

// value is the attribute of span i.
func (w work) value(i int) string {
	switch {
	case w.Invalid > 0 && i%w.Invalid == 0:
		return "a\xff\xfeb"
	case w.Huge > 0 && i == w.Spans/4:
		return strings.Repeat("x", w.Huge)
	}
	return "GET"
}

// each calls f for each span, in time.
func (w work) each(f func(value string) uint64) (ids []uint64) {
	tick := time.NewTicker(w.Over / time.Duration(w.Spans))
	defer tick.Stop()
	for i := range w.Spans {
		ids = append(ids, f(w.value(i)))
		<-tick.C
	}
	return ids
}

func eachOTel(w work, p trace.TracerProvider) []uint64 {
	tracer := p.Tracer("faults")
	return w.each(func(value string) uint64 {
		_, span := tracer.Start(context.Background(), "request", trace.WithAttributes(attribute.String("value", value)))
		span.End()
		return number(span.SpanContext().SpanID())
	})
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}

// port4 is one that differs each time.
var port4 = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// reports counts kumihimo's own records, but for those of a normal life.
func (l *lines) reports() (map[string]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := make(map[string]int)
	for line := range bytes.Lines(l.buf.Bytes()) {
		var r struct{ Severity, Message, Error string }
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		if r.Message != "telemetry started" && (r.Message != "telemetry stopped" || r.Severity != "INFO") {
			if r.Message == cacheReport {
				r.Message += ": " + port4.ReplaceAllString(r.Error, "127.0.0.1:…")
			}
			said[r.Message]++
		}
	}
	return said, nil
}

func runKumihimo(ctx context.Context, w work, begin func(), done <-chan struct{}) (s sent, err error) {
	var log lines
	tel, err := obs.New(ctx, obs.Options{Service: "shop", ProjectID: "acme", AgentURL: w.URL, LogFormat: "json", LogWriter: &log})
	if err != nil {
		return s, err
	}
	begin()
	s.IDs = eachOTel(w, tel.TracerProvider())
	<-done
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Grace)
	defer cancel()
	tel.Shutdown(ctx) //nolint:errcheck // an agent that takes nothing is an error here; the account has it
	s.Stopping = time.Since(began)
	account := tel.Stats().Spans
	s.Counted = account.Sent
	s.Dropped = map[string]int64{
		"queue_full": account.Dropped.QueueFull, "rejected": account.Dropped.Rejected, "too_large": account.Dropped.TooLarge,
		"expired": account.Dropped.Expired, "unsampled": account.Dropped.Unsampled, "shutdown": account.Dropped.Shutdown,
	}
	maps.DeleteFunc(s.Dropped, func(_ string, n int64) bool { return n == 0 })
	s.Reports, err = log.reports()
	return s, err
}

// counter counts what dd-trace-go and OpenTelemetry say.
type counter struct {
	mu   sync.Mutex
	said map[string]int
}

func (c *counter) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[text]++
}

func (c *counter) Log(text string) { c.add(text) }

func (c *counter) Handle(err error) { c.add(err.Error()) }

func runDDTrace(_ context.Context, w work, begin func(), done <-chan struct{}) (s sent, err error) {
	log := &counter{said: make(map[string]int)}
	if err := tracer.Start(tracer.WithAgentURL(w.URL), tracer.WithService("shop"), tracer.WithLogger(log)); err != nil {
		return s, err
	}
	begin()
	s.IDs = w.each(func(value string) uint64 {
		span := tracer.StartSpan("request", tracer.Tag("value", value))
		span.Finish()
		return span.Context().SpanID()
	})
	<-done
	began := time.Now()
	tracer.Stop()
	s.Stopping, s.Reports = time.Since(began), log.said
	return s, nil
}

func runOTLP(ctx context.Context, w work, begin func(), done <-chan struct{}) (s sent, err error) {
	log := &counter{said: make(map[string]int)}
	otel.SetErrorHandler(log)
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(w.URL+"/v1/traces"))
	if err != nil {
		return s, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	begin()
	s.IDs = eachOTel(w, provider)
	<-done
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Grace)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		log.add(err.Error())
	}
	s.Stopping, s.Reports = time.Since(began), log.said
	return s, nil
}

const (
	workVariable = "KUMIHIMO_FAULTS_WORK" // JSON, for a process of its own
	beginLine    = "BEGIN"
	resultPrefix = "RESULT "
)

// TestMain is a client where the environment says so: dd-trace-go and the
// error handler of OpenTelemetry are there once a process.
func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(workVariable)
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(text string) error {
	var w work
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { // until the parent closes the pipe
		defer close(done)
		io.Copy(io.Discard, os.Stdin)
	}()
	for _, c := range clients {
		if c.name != w.Client {
			continue
		}
		s, err := c.run(context.Background(), w, func() { fmt.Println(beginLine) }, done)
		if err != nil {
			return err
		}
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		fmt.Println(resultPrefix + string(b))
		return nil
	}
	return fmt.Errorf("no client %q", w.Client)
}
