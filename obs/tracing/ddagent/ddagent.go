// Package ddagent takes OpenTelemetry spans to a Datadog Agent in the agent's
// own protocol, and accounts for every one of them: an ended span is sent, or
// dropped with a reason, or still on its way.
//
//	exporter := ddagent.NewExporter(ddagent.Options{URL: "http://localhost:8126", Service: "shop"})
//	provider := sdktrace.NewTracerProvider(
//		sdktrace.WithSpanProcessor(ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{})))
//	…
//	err := exporter.Shutdown(ctx)
//
// A program has it from package obs, with authentication. By itself it is for
// those who have OpenTelemetry's SDK and want an agent in place of an OTLP
// receiver; [Exporter.Stats] is the account.
//
// A span's way: [Processor] (processor.go, group.go) groups the spans of one local
// root, as many as can be (forget.go). When a span ends it becomes a record, a few
// hundred bytes that belong to no protocol version (span.go and attributes.go map
// it, keys.go, names.go and normalize.go hold the rules, identity.go what the
// resource says, record.go the format). A finished group is a chunk (chunk.go) in a
// queue bounded in bytes (queue.go, exporter.go, memory.go), unless nobody will
// miss it (thin.go); single.go has the spans that are kept of traces that are not.
// One goroutine (sender.go) takes chunks out, encodes them in the version that the
// agent speaks (protocol.go, payload_v04.go, payload_v1.go and its parts, reduce.go
// where it is too much), posts them (client.go, container.go, freeze.go) and
// decides by the answer what becomes of them (health.go, rates.go). stats.go and
// metrics.go count. probe.go asks, for people, whether spans would be taken, and
// preview.go shows them what a span becomes.
package ddagent

import (
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// Options configure an [Exporter].
type Options struct {
	// URL is the agent's: http(s)://host:port[/prefix] or unix:///path.
	// Empty means http://localhost:8126.
	URL string

	// HTTPClient carries the requests, and brings authentication if the agent
	// wants any. It is copied; redirects are never followed, and its Timeout
	// counts only time in which the process ran, 10 s at most. For a unix:// URL
	// its Transport must dial the socket, whatever the request's host. Nil means
	// a client of the exporter's own.
	HTTPClient *http.Client

	// Hint says what mends a refusal (a status of 401, 403, 404 or 3xx), for the
	// Logger's records; it may know whose token was refused. Nil, or an empty
	// text, means the exporter's own words.
	Hint func(status int) string

	// QueueBytes bounds what waits for the agent, records of unfinished
	// traces included. Zero means 16 MiB, or 5 % of the memory there is
	// (GOMEMLIMIT, the container's limit) if that is less.
	QueueBytes int64

	// FlushInterval is how long a finished chunk waits for company. Zero
	// means 2 s.
	FlushInterval time.Duration

	// UnsampledPerSecond is the number of traces a second with a priority of 0
	// or less that all go to the agent, for its statistics and its sampler of
	// errors, and as many again of those with an error. Above it one of N goes,
	// weighted so that the statistics stay true. Zero means 100, a negative
	// number no limit.
	UnsampledPerSecond int

	// Service, Env and Version stand on every span whose own attributes or
	// resource say nothing else.
	Service, Env, Version string

	// Tags stand on every span that has no attribute of the same key.
	Tags map[string]string

	// ExternalEnv is what Datadog's admission controller on Kubernetes says of
	// the container, by which the agent finds it where cgroups do not tell. What
	// a header cannot hold is left out. Empty means that there is none.
	ExternalEnv string

	// Redactor finds the attributes whose values stay secret. Nil means the
	// default keys.
	Redactor *redact.Redactor

	// MeterProvider gets the account of [Stats] as metrics, until Shutdown. Nil
	// means none.
	MeterProvider metric.MeterProvider

	// Logger gets the exporter's own diagnostics: one record when the agent
	// begins to fail and one when it is back. Nil discards them.
	Logger *slog.Logger
}

// ProcessorOptions configure a [Processor].
type ProcessorOptions struct {
	// PartialFlushSpans is the number of finished spans at which an open
	// trace sends what it has. Zero means 1000.
	PartialFlushSpans int

	// PartialFlushAge is how long finished spans wait for the rest of their
	// trace at most, give or take the same again. Zero means 30 s.
	PartialFlushAge time.Duration

	// Map changes what a span is called in Datadog. It gets the names that the
	// span would have, and returns those it has; one that is empty stays. It
	// runs when a span ends, so it must be quick, and the span is read only. If
	// it panics the names stay. Nil means no change.
	Map func(s sdktrace.ReadOnlySpan, n Names) Names
}

// Names are what Datadog groups spans by.
type Names struct {
	Service   string // "shop"
	Operation string // "http.server.request"
	Resource  string // "GET /users/{id}"
	Type      string // "web"; the agent obfuscates resources by it: sql, redis, …
}

const (
	defaultURL           = "http://localhost:8126"
	defaultQueueBytes    = 16 << 20
	defaultFlushInterval = 2 * time.Second
	defaultUnsampled     = 100

	maxPayload      = 1 << 20          // estimated bytes of one request; the agent gives a body 5 s
	maxAge          = 10 * time.Minute // a chunk the agent did not want for so long expires
	attemptTimeout  = 10 * time.Second
	shutdownTimeout = 8 * time.Second // of the 10 s Cloud Run gives after SIGTERM
)

func (o Options) withDefaults() Options {
	if o.URL == "" {
		o.URL = defaultURL
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueue()
	}
	if o.UnsampledPerSecond == 0 {
		o.UnsampledPerSecond = defaultUnsampled
	}
	if o.FlushInterval <= 0 {
		o.FlushInterval = defaultFlushInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o ProcessorOptions) withDefaults() ProcessorOptions {
	if o.PartialFlushSpans <= 0 {
		o.PartialFlushSpans = 1000
	}
	if o.PartialFlushAge <= 0 {
		o.PartialFlushAge = 30 * time.Second
	}
	return o
}
