package obs

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/tracing"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// Options configure [New] and [Init]. The zero value is the production
// default: what is not set here comes from the environment, and what is not
// there is detected. A set field always wins. Options are copied, never
// written to.
type Options struct {
	// Service, Env and Version are Datadog's unified service tags. Service
	// defaults to DD_SERVICE, OTEL_SERVICE_NAME, K_SERVICE, CLOUD_RUN_JOB, then
	// the program's name.
	Service, Env, Version string

	// Tags stand on every span. They are merged over DD_TAGS and
	// OTEL_RESOURCE_ATTRIBUTES.
	Tags map[string]string

	// ProjectID is the Google Cloud project that trace ids in logs refer to.
	// Default: GOOGLE_CLOUD_PROJECT, else asked of the metadata server in the
	// background, on Google Cloud only.
	ProjectID string

	// LogFormat is "auto" (the default: JSON on Google Cloud, text elsewhere),
	// "json" or "text".
	LogFormat string

	// LogFilter says which records are written, as logging.ParseFilter reads
	// it: "info,github.com/acme/shop/db=debug". Default: OBS_LOG, else "info".
	LogFilter string

	// LogSource adds the source location to every record.
	LogSource bool

	// LogBareTrace has trace ids written in logs without the project, though it
	// be known. Default: with it, as Cloud Run's request log has them, below which
	// Logs Explorer then nests a request's records.
	LogBareTrace bool

	// LogSpanName adds "span.name" to the records of LogWriter: the name that
	// the span of their context has by then.
	LogSpanName bool

	// LogSitePerSecond is how many records below WARN one place of the code may
	// write in a second; the next one has the count of those withheld. The
	// flight recorder keeps these too. Default: any number.
	LogSitePerSecond int

	// SpanEventLevel is the lowest level of records that become exception
	// events of the span they are logged in, whatever the filter says; of one
	// error a span has one event. It is read once. Default: slog.LevelError; a
	// level above all makes none. Where a LoggerProvider takes stdout's place
	// there are none: its records carry the trace themselves.
	SpanEventLevel slog.Leveler

	// SpanEventStatus lets these records also set the status of their span to
	// Error, save a server span's: a request may fail a call and succeed.
	SpanEventStatus bool

	// FlightRecorder, if not nil, keeps what the filter withholds until its
	// request is known to have gone well. It is LogWriter's, and stdout's: with
	// a LoggerProvider alone it is an error.
	FlightRecorder *FlightRecorder

	// LogWriter receives one Write a record. Default: os.Stdout. A
	// logging.BufferedWriter gathers them; Shutdown flushes it.
	LogWriter io.Writer

	// LogHandlers receive records as LogWriter does, each what its own Enabled
	// lets through: LogFilter is not asked.
	LogHandlers []slog.Handler

	// LoggerProvider receives every record over OpenTelemetry's Logs API, in
	// place of os.Stdout: set LogWriter too for both. Flush and Shutdown flush
	// it and shut it down, if it can be. One with a method
	// WithResource(*resource.Resource) log.LoggerProvider is asked for a provider
	// of the spans' resource, and one with ReportTo(*slog.Logger) is given
	// kumihimo's own logger; obs/otlp's has both.
	LoggerProvider log.LoggerProvider

	// AgentURL is the Datadog Agent's: http, https or unix. Default:
	// DD_TRACE_AGENT_URL, then DD_AGENT_HOST and DD_TRACE_AGENT_PORT, then the
	// agent's socket where it exists, then, on Google Cloud,
	// http://localhost:8126; elsewhere there is no agent.
	AgentURL string

	// AgentAuth is "auto" (the default: "google" for an https agent on Google
	// Cloud or with a TokenSource, else "none"), "google" or "none".
	AgentAuth string

	// Audience is the audience of the agent's ID tokens, sent verbatim.
	// Default: OBS_AGENT_AUDIENCE, else the origin of a run.app AgentURL. A
	// TokenSource has its own.
	Audience string

	// TokenSource replaces the metadata server as the source of ID tokens:
	// gcpauth/adc off Google Cloud, gcpauth.File or gcpauth/command while
	// developing. It is used as it is: wrap it in gcpauth.Cached unless it
	// caches itself.
	TokenSource gcpauth.TokenSource

	// TokenCache is shared with other instances, behind the memory of this one.
	// It is used where the tokens come from the metadata server.
	TokenCache gcpauth.Cache

	// HTTPClient carries traces to the agent, unless that is a unix socket. Its
	// Transport is wrapped by authentication where that is needed. Default: a
	// client of our own. Where tokens must travel over http to another machine,
	// set AgentAuth to "none" and bring a gcpauth.Transport that allows it.
	HTTPClient *http.Client

	// Sampler replaces the Datadog sampler. SampleRate, SamplingRules,
	// SpanSamplingRules, RateLimit and their variables then count for nothing.
	Sampler sdktrace.Sampler

	// SampleRate is the share of new traces kept, 0 to 1; nil means unset:
	// DD_TRACE_SAMPLE_RATE, then, where no variable of Datadog's asks for
	// sampling, OTEL_TRACES_SAMPLER, then what the agent asks for, else all.
	SampleRate *float64

	// SamplingRules decide new traces, the first that matches, before
	// SampleRate does. Default: DD_TRACE_SAMPLING_RULES.
	SamplingRules []tracing.SamplingRule

	// SpanSamplingRules keep single spans of traces that are not kept.
	// Default: DD_SPAN_SAMPLING_RULES.
	SpanSamplingRules []tracing.SamplingRule

	// RateLimit is how many new traces a second SamplingRules and SampleRate
	// keep at most; nil means unset: DD_TRACE_RATE_LIMIT, then 100.
	RateLimit *float64

	// IDGenerator replaces the generator of span and trace ids. Default: ids as
	// Datadog's tracers make them, 128 bits of which the first 32 are the time.
	IDGenerator sdktrace.IDGenerator

	// MeterProvider gets the account of the spans as metrics, until Shutdown.
	// Default: none.
	MeterProvider metric.MeterProvider

	// SpanProcessors see every span, after what sends them to the agent. Flush
	// flushes them, and Shutdown shuts them down.
	SpanProcessors []sdktrace.SpanProcessor

	// SpanNames changes what Datadog calls a span: it gets the service,
	// operation, resource and type that the span would have, and returns those it
	// has; an empty one stays. It runs at every span's end, so it must be quick.
	// Sampling rules see the names as they were, and a SpanExporter none of them.
	// Default: no change.
	SpanNames func(s sdktrace.ReadOnlySpan, n ddagent.Names) ddagent.Names

	// UnsampledPerSecond is how many traces a second that are not kept go to the
	// agent nevertheless, for its statistics and its sampler of errors, and as
	// many again with an error. Above it one of N goes and counts for N.
	// Default: 100; a negative number means all.
	UnsampledPerSecond int

	// SpanExporter takes the agent's place. It gets the spans of traces that are
	// kept, in batches, from a queue of QueueBytes that tries again, for ten
	// minutes, what it has failed with. An error may have methods that say more:
	// Permanent() bool that it is final, Rejected() int how many spans it is final
	// for, the others being sent, TooLarge() bool that fewer spans may pass, and
	// RetryAfter() time.Duration when. Shutdown shuts it down. obs/otlp has one.
	SpanExporter sdktrace.SpanExporter

	// Propagators replaces the propagator of DD_TRACE_PROPAGATION_STYLE.
	Propagators propagation.TextMapPropagator

	// FrontEnd says whether requests come through Google's front end, which
	// puts a trace of its own on each, one that Datadog never sees: "auto" (the
	// default: on Cloud Run and Cloud Functions), "google" or "none". Set it
	// where a load balancer of Google's stands before the program elsewhere.
	FrontEnd string

	// BaggageHosts are the hosts to which [Transport] sends baggage: a name
	// stands for itself and its subdomains. Default: none.
	BaggageHosts []string

	// PropagationHosts, if not nil, are the only hosts to which [Transport]
	// sends trace headers. Default: all.
	PropagationHosts []string

	// Redact are keys whose values are never written, besides the default list
	// (authorization, cookie, password, secret, token, api_key, …). Each stands
	// for keys that end in its words, in any case and with any of "_", "-" and
	// "." between them: "api_key" for apiKey and x-api-key too.
	Redact []string

	// QueueBytes bounds the spans waiting for the agent or the SpanExporter, in
	// bytes. Default: 16 MiB, or 5 % of the memory there is (GOMEMLIMIT, the
	// container's limit) if that is less.
	QueueBytes int64

	// ShutdownGrace is the time between SIGTERM and the end of Run or Serve,
	// all included. Default: 9 s, inside Cloud Run's 10.
	ShutdownGrace time.Duration

	// InternalLevel is the lowest level of kumihimo's own records, whatever
	// LogFilter says. Default: LogFilter's, for the logger named kumihimo; it
	// can silence what says, once, that a backend fails.
	InternalLevel slog.Leveler
}
