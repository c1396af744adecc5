// Package collector runs the OpenTelemetry Collector's own OTLP receiver inside
// a test, and keeps what it hands on. The traces can go on to a trace-agent, as
// in Datadog's own Agent, whose OTLP intake is this receiver before the
// trace-agent's gRPC port.
package collector

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// Collector is a running receiver.
type Collector struct {
	// URL is that of OTLP over HTTP.
	URL string

	mu     sync.Mutex // guards what follows
	next   func(context.Context, ptrace.Traces) error
	traces []ptrace.Traces
	logs   []plog.Logs
}

// Start runs a receiver until the test's end.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	// A port is not to be had: the receiver does not tell which it has got.
	socket := filepath.Join(t.TempDir(), "otlp.sock")
	server := confighttp.NewDefaultServerConfig()
	server.NetAddr.Transport, server.NetAddr.Endpoint = confignet.TransportTypeUnix, socket
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	config.Protocols.HTTP = configoptional.Some(otlpreceiver.HTTPConfig{
		ServerConfig: server, TracesURLPath: "/v1/traces", LogsURLPath: "/v1/logs", MetricsURLPath: "/v1/metrics",
	})
	settings := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: component.TelemetrySettings{
		Logger: zap.NewNop(), TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
		Resource: pcommon.NewResource(),
	}}
	traces, err := consumer.NewTraces(c.takeTraces)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := consumer.NewLogs(c.takeLogs)
	if err != nil {
		t.Fatal(err)
	}
	// One receiver stands behind both.
	rt, err := factory.CreateTraces(t.Context(), settings, config, traces)
	if err != nil {
		t.Fatal(err)
	}
	rl, err := factory.CreateLogs(t.Context(), settings, config, logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []component.Component{rt, rl} {
		if err := r.Start(t.Context(), host{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Shutdown(context.Background()); err != nil {
				t.Errorf("collector: %v", err)
			}
		})
	}
	c.URL = proxy(t, socket)
	return c
}

// proxy makes an http URL of a socket; answers pass through it as they are.
func proxy(t testing.TB, socket string) string {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "collector"})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	p.Transport = transport
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
	})
	return s.URL
}

// host is where extensions would be.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

// Forward also hands traces to next, whose error the receiver answers with.
func (c *Collector) Forward(next func(context.Context, ptrace.Traces) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = next
}

func (c *Collector) takeTraces(ctx context.Context, td ptrace.Traces) error {
	kept := ptrace.NewTraces()
	td.CopyTo(kept)
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	if next != nil {
		if err := next(ctx, td); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traces = append(c.traces, kept)
	return nil
}

func (c *Collector) takeLogs(_ context.Context, ld plog.Logs) error {
	kept := plog.NewLogs()
	ld.CopyTo(kept)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs = append(c.logs, kept)
	return nil
}

// Span is a span as the receiver handed it on.
type Span struct {
	ptrace.Span
	Resource map[string]any
}

// Spans returns those that have arrived, in the order of arrival.
func (c *Collector) Spans() (spans []Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, td := range c.traces {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					spans = append(spans, Span{s, rs.Resource().Attributes().AsRaw()})
				}
			}
		}
	}
	return spans
}

// Record is a log record as the receiver handed it on.
type Record struct {
	plog.LogRecord
	Resource map[string]any
}

// Records returns those that have arrived, in the order of arrival.
func (c *Collector) Records() (records []Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ld := range c.logs {
		for _, rl := range ld.ResourceLogs().All() {
			for _, sl := range rl.ScopeLogs().All() {
				for _, r := range sl.LogRecords().All() {
					records = append(records, Record{r, rl.Resource().Attributes().AsRaw()})
				}
			}
		}
	}
	return records
}
