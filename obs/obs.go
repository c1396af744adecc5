// Package obs is kumihimo's front door: one call wires logs and traces of a
// service on Google Cloud, one call sends what is left and stops.
//
//	tel, err := obs.Init(ctx, obs.Options{Service: "shop"}) // all else from the environment
//	if err != nil {
//		log.Fatal(err)
//	}
//	router := chi.NewRouter()
//	router.Use(chiobs.Middleware)
//	router.Get("/users/{id}", user)
//	err = tel.Serve(ctx, &http.Server{Addr: ":8080", Handler: router})
//
// Afterwards log/slog writes Cloud Logging JSON that carries the trace (or text,
// on a laptop), and OpenTelemetry's globals lead to a Datadog Agent. What a
// handler calls finds its trace in the context, and has spans of its own by
// [Start]:
//
//	func load(ctx context.Context, id string) (u *User, err error) {
//		ctx, span := obs.Start(ctx, "load", slog.String("user.id", id))
//		defer span.End(&err)
//		slog.InfoContext(ctx, "asking the database")
//		…
//
// [With] puts fields on all that happens under a context, [Transport] takes the
// trace along to other services, [Go] starts goroutines that are waited for, and
// [Telemetry.Run] is Serve for jobs. [New] makes a pipeline without globals.
// Where nothing arrives, [Telemetry.Check] says why. docs/configuration.md has
// every option and variable.
//
// Read obs.go for how the parts are put together, options.go, env.go,
// settings.go and sampling.go for the configuration, platform.go, project.go and
// resource.go for where the program runs, agent.go for the agent and its
// authentication, lifecycle.go and serve.go for the end of a program, and
// span.go, name.go, go.go, context.go and transport.go for what code calls while
// it runs. flight.go has the flight recorder's options. check.go, checkcloud.go
// and checkagent.go ask every part on a person's behalf, and hints.go has what
// they tell. diagnostics.go has our own records, level.go the filter while the
// program runs, stdlog.go the log package's output, bridge.go the way to
// OpenTelemetry's logs.
package obs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/braid"
	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/internal/spanqueue"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/logging"
	"github.com/kumihimo/kumihimo/obs/tracing"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// Telemetry is one pipeline of logs and traces. All its methods are safe for
// concurrent use.
type Telemetry struct {
	logger     *slog.Logger
	internal   *slog.Logger // our own records
	provider   *tracing.Provider
	propagator propagation.TextMapPropagator
	spans      spanSink                 // where ended spans go; zero without an agent
	logs       log.LoggerProvider       // Options.LoggerProvider, with our resource; nil without
	processors []sdktrace.SpanProcessor // the program's own
	source     gcpauth.TokenSource      // of the agent's tokens; nil if it takes none
	tokens     *gcpauth.CachedSource    // around source; nil if it is not ours
	cache      gcpauth.Cache            // behind tokens, or nil
	auth       *gcpauth.Transport       // to the agent; nil if it takes no tokens
	transport  *http.Transport          // under auth; nil if it is not ours
	settings   settings
	project    project
	failures   atomic.Int64 // failed log writes
	level      levels
	buffer     *logging.BufferedWriter // Options.LogWriter, if it is one
	flight     *flight.Recorder        // nil if not asked for
	tasks      *obsctx.Tasks

	stop    context.CancelFunc // ends the goroutines below
	running sync.WaitGroup

	shutdown     sync.Once
	shutdownErr  error
	shutdownDone chan struct{}
}

// New makes a pipeline and changes nothing outside it: what it returns is used
// through its methods, or passed to chiobs.Config. The error names every
// mistake in opts and the environment; an agent, a metadata server or a Redis
// that is down is no mistake. ctx bounds New alone.
func New(ctx context.Context, opts Options) (*Telemetry, error) {
	return build(ctx, opts, environmentOf(ctx))
}

// initialized guards the process-wide globals of slog and OpenTelemetry.
var initialized atomic.Bool

// Init is [New], and makes the pipeline the process's own: slog's default
// logger, the log package's output (log.Fatal's at CRITICAL, and it waits up to
// 2 s for spans to be sent), and OpenTelemetry's tracer provider, propagator and
// error handler. A second Init is an error and changes nothing.
func Init(ctx context.Context, opts Options) (*Telemetry, error) {
	if !initialized.CompareAndSwap(false, true) {
		return nil, errors.New("obs: Init has been called before; the first pipeline stays")
	}
	t, err := New(ctx, opts)
	if err != nil {
		initialized.Store(false)
		return nil, err
	}
	slog.SetDefault(t.logger)
	takeStandardLog(t)
	otel.SetTracerProvider(t.provider)
	otel.SetTextMapPropagator(t.propagator)
	otel.SetErrorHandler(newErrorHandler(t.internal, t.provider.Pipeline(ctx).Redactor))
	return t, nil
}

func build(ctx context.Context, opts Options, env environment) (*Telemetry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	red := redact.New(opts.Redact)
	s, err := resolve(opts, env, red)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &Telemetry{settings: s, stop: stop, shutdownDone: make(chan struct{}),
		flight: opts.FlightRecorder.recorder(), tasks: obsctx.NewTasks()}
	t.buildLogs(opts, red)
	t.buildTraces(opts, red)
	if s.projectID == "" && (s.platform.google() || s.metadataHost != "") {
		t.running.Go(func() { t.project.fetch(ctx, s.metadataHost, t.internal) })
	}
	if s.startupLog {
		t.internal.LogAttrs(ctx, slog.LevelInfo, "telemetry started", s.attrs()...)
	}
	return t, nil
}

func (t *Telemetry) buildLogs(opts Options, red *redact.Redactor) {
	s := t.settings
	w := opts.LogWriter
	if w == nil {
		w = os.Stdout
	}
	logOpts := &logging.Options{
		Filter: s.filter, AddSource: opts.LogSource, SitePerSecond: opts.LogSitePerSecond,
		ProjectID: s.projectID, LookupProjectID: t.project.ID, BareTrace: opts.LogBareTrace, SpanName: opts.LogSpanName,
		Service: s.service, Env: s.env, Version: s.version,
		Redactor: red, Color: s.color,
		Braid: newBraid(opts), Flight: t.flight,
		OnError: func(error) { t.failures.Add(1) },
	}
	t.buffer, _ = w.(*logging.BufferedWriter)
	handlers := append([]slog.Handler{newHandler(w, s.json, logOpts)}, opts.LogHandlers...)
	if opts.LoggerProvider != nil {
		t.logs = withResource(opts.LoggerProvider, s.resource())
		handlers = append(handlers, s.filter.Handler(newBridge(t.logs, red)))
	}
	t.internal = newInternal(handlers, opts.InternalLevel)
	reportTo(t.logs, t.internal)
	if opts.LoggerProvider != nil && opts.LogWriter == nil {
		handlers = handlers[1:] // our own records still say on stdout what fails
	}
	t.logger = slog.New(join(handlers))
	t.level = levels{filter: s.filter, configured: s.filter.String(), service: s.service, logger: t.internal}
}

func newBraid(opts Options) *braid.Policy {
	p := &braid.Policy{Level: slog.LevelError, Status: opts.SpanEventStatus}
	if opts.SpanEventLevel != nil {
		p.Level = opts.SpanEventLevel.Level()
	}
	return p
}

func newHandler(w io.Writer, json bool, opts *logging.Options) slog.Handler {
	if json {
		return logging.NewHandler(w, opts)
	}
	return logging.NewTextHandler(w, opts)
}

func join(handlers []slog.Handler) slog.Handler {
	if len(handlers) == 1 {
		return handlers[0]
	}
	return slog.NewMultiHandler(handlers...)
}

// spanSink is where ended spans go, with their account.
type spanSink struct {
	sdktrace.SpanProcessor
	stats func() ddagent.Stats
	probe func(context.Context) ddagent.Probe // nil without an agent
}

func (t *Telemetry) buildTraces(opts Options, red *redact.Redactor) {
	s := t.settings
	t.processors = slices.Clone(opts.SpanProcessors)
	processors := t.processors
	switch {
	case !s.enabled:
	case opts.SpanExporter != nil:
		q := spanqueue.New(spanqueue.Options{
			Exporter: opts.SpanExporter, QueueBytes: opts.QueueBytes, Logger: t.internal, Redactor: red,
		})
		t.spans = spanSink{SpanProcessor: q, stats: q.Stats}
	case s.agent.url != "":
		e := ddagent.NewExporter(ddagent.Options{
			URL: s.agent.url, HTTPClient: t.exporterClient(opts, s), QueueBytes: opts.QueueBytes,
			Hint: t.refusalHint, Logger: t.internal, Redactor: red, MeterProvider: opts.MeterProvider,
			Service: s.service, Env: s.env, Version: s.version, Tags: s.tags,
			UnsampledPerSecond: opts.UnsampledPerSecond, ExternalEnv: s.externalEnv,
		})
		t.spans = spanSink{ddagent.NewProcessor(e, ddagent.ProcessorOptions{Map: opts.SpanNames}), e.Stats, e.Probe}
		s.sampler.AgentRate = e.Rate
	}
	if t.spans.SpanProcessor != nil {
		processors = append([]sdktrace.SpanProcessor{t.spans.SpanProcessor}, processors...)
	}
	t.propagator = opts.Propagators
	if t.propagator == nil {
		t.propagator = tracing.NewPropagator(s.propagator)
	}
	sampler := opts.Sampler
	if sampler == nil {
		sampler = tracing.NewSampler(s.sampler)
	}
	t.provider = tracing.NewProvider(tracing.Options{
		Resource: s.resource(), Sampler: sampler, IDGenerator: opts.IDGenerator,
		SpanProcessors: processors, Propagator: t.propagator, Ingress: s.ingress(t.propagator),
		Logger: t.logger, Redactor: red, Disabled: !s.enabled,
	})
	p := t.provider.Pipeline(context.Background())
	p.Flight, p.Tasks = t.flight, t.tasks
	p.Flush = t.Flush
	p.SendBaggage = hostPolicy(opts.BaggageHosts)
	if opts.PropagationHosts != nil {
		if p.SendTrace = hostPolicy(opts.PropagationHosts); p.SendTrace == nil {
			p.SendTrace = func(string) bool { return false }
		}
	}
}

// Logger returns the pipeline's logger; after [Init] it is slog.Default().
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// TracerProvider returns the pipeline's provider; after [Init] it is the
// global one.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.provider }

// IngressPropagator returns the propagator for requests that come through the
// platform's front end. chiobs uses it by itself; it is for other servers.
func (t *Telemetry) IngressPropagator() propagation.TextMapPropagator {
	return t.provider.Pipeline(context.Background()).Ingress
}

var _ obsctx.Source = (*tracing.Provider)(nil)
