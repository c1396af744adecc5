package obs

import (
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/logging"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// settings are the options once environment and platform have been asked.
type settings struct {
	platform              platform
	service, env, version string
	tags                  map[string]string
	otelNames             bool                 // OTEL_RESOURCE_ATTRIBUTES is set
	cloud                 []attribute.KeyValue // what the platform says of itself
	projectID             string
	json                  bool
	filter                *logging.Filter
	color                 logging.Color
	enabled               bool // tracing
	sampler               tracing.SamplerOptions
	propagator            tracing.PropagatorOptions
	frontEnd              bool // Google's stands before the program
	agent                 agentSettings
	externalEnv           string // what an admission controller says of the container
	metadataHost          string
	grace                 time.Duration
	startupLog            bool
	report                []setting
}

// resolve works out every setting. Its error joins one error a mistake.
func resolve(opts Options, env environment, red *redact.Redactor) (settings, error) {
	r := &reader{environment: env}
	s := settings{platform: detectPlatform(env)}
	r.note("platform", string(s.platform), fromDetected)
	s.identity(r, opts)
	s.cloud = s.platform.attributes(r)
	s.logs(r, opts)
	s.tracing(r, opts)
	s.metadataHost = r.metadata()
	s.agent = r.agent(opts, s.platform, s.metadataHost != "", red)
	s.externalEnv, _ = r.variable("DD_EXTERNAL_ENV")
	s.lifecycle(r, opts)
	s.report = r.report
	return s, errors.Join(r.errs...)
}

// unified is one of Datadog's unified service tags, and the ways to set it.
type unified struct {
	name, field, option      string
	datadog, otel            string // variables
	platform                 []string
	datadogNames, otelsNames []string // of tags
}

// pick returns the unified tag's value: the option's field, then its tag, then
// Datadog's, OpenTelemetry's and the platform's variables, tags of the first
// two after their own variable. The tags of its names are taken out of l.
func (u unified) pick(r *reader, l *tagLayers) string {
	names := append(slices.Clone(u.datadogNames), u.otelsNames...)
	tagged := []tagLayer{l.option, l.datadog, l.otel}
	var values [3]string
	for i, layer := range tagged {
		values[i] = layer.take(names)
	}
	ways := []struct{ value, source string }{{u.option, "Options." + u.field}, {values[0], fromOption}}
	add := func(names ...string) {
		if v, source := r.variable(names...); source != "" {
			ways = append(ways, struct{ value, source string }{v, source})
		}
	}
	add(u.datadog)
	ways = append(ways, struct{ value, source string }{values[1], tagged[1].source})
	if u.otel != "" {
		add(u.otel)
	}
	ways = append(ways, struct{ value, source string }{values[2], tagged[2].source})
	add(u.platform...)
	for _, way := range ways {
		if way.value != "" {
			r.note(u.name, way.value, way.source)
			return way.value
		}
	}
	return ""
}

func (s *settings) identity(r *reader, opts Options) {
	layers := r.tagLayers(opts.Tags)
	s.otelNames = len(layers.otel.tags) > 0
	s.service = unified{
		name: "service", field: "Service", option: opts.Service,
		datadog: "DD_SERVICE", otel: "OTEL_SERVICE_NAME", platform: []string{"K_SERVICE", "CLOUD_RUN_JOB"},
		datadogNames: []string{"service"}, otelsNames: []string{"service.name"},
	}.pick(r, &layers)
	if s.service == "" {
		s.service = strings.TrimSuffix(filepath.Base(r.program), ".exe")
		r.note("service", s.service, fromDefault)
	}
	s.env = unified{
		name: "env", field: "Env", option: opts.Env, datadog: "DD_ENV",
		datadogNames: []string{"env"}, otelsNames: []string{"deployment.environment.name", "deployment.environment"},
	}.pick(r, &layers)
	s.version = unified{
		name: "version", field: "Version", option: opts.Version, datadog: "DD_VERSION", platform: []string{"K_REVISION"},
		datadogNames: []string{"version"}, otelsNames: []string{"service.version"},
	}.pick(r, &layers)
	var source string
	if s.projectID, source = r.pick(opts.ProjectID, "ProjectID", "GOOGLE_CLOUD_PROJECT"); source != "" {
		r.note("project", s.projectID, source)
	}
	if s.tags, source = layers.merge(); len(s.tags) > 0 {
		keys := slices.Sorted(maps.Keys(s.tags))
		r.note("tags", strings.Join(keys, ","), source) // the values may be secrets
	}
}

func (s *settings) logs(r *reader, opts Options) {
	format, source := r.oneOf(opts.LogFormat, "LogFormat", "OBS_LOG_FORMAT", "auto", "json", "text")
	s.json = format == "json" || format == "auto" && s.platform.google()
	if format == "auto" {
		source = fromDetected
	}
	if s.json {
		r.note("log.format", "json", source)
	} else {
		r.note("log.format", "text", source)
	}

	directives, source := r.pick(opts.LogFilter, "LogFilter", "OBS_LOG")
	if source == "" {
		directives, source = "info", fromDefault
	}
	filter, err := logging.ParseFilter(directives)
	if err != nil {
		r.errs = append(r.errs, &settingError{source, err})
	}
	s.filter = filter
	r.note("log.filter", directives, source)

	if opts.FlightRecorder != nil && opts.LoggerProvider != nil && opts.LogWriter == nil {
		r.errs = append(r.errs, errors.New("obs: Options.FlightRecorder: needs a LogWriter to write to, as LoggerProvider takes stdout's place"))
	}

	if v, _ := r.variable("NO_COLOR"); v != "" {
		s.color = logging.ColorNever
	} else if v, _ := r.variable("FORCE_COLOR"); v != "" && v != "0" {
		s.color = logging.ColorAlways
	}
}

func (s *settings) tracing(r *reader, opts Options) {
	enabled, source := r.boolean(true, "DD_TRACE_ENABLED")
	if source == "" {
		var disabled bool
		disabled, source = r.boolean(false, "OTEL_SDK_DISABLED")
		enabled = !disabled
	}
	s.enabled = enabled
	if !enabled {
		r.note("tracing", "off", source)
	}
	s.sampling(r, opts)
	s.propagation(r, opts)
}

func (s *settings) lifecycle(r *reader, opts Options) {
	s.grace = opts.ShutdownGrace
	if s.grace < 0 {
		r.fail("Options.ShutdownGrace", s.grace.String(), "a duration above 0, or 0 for the default")
	}
	source := fromOption
	if s.grace == 0 {
		s.grace, source = defaultGrace, fromDefault
	}
	r.note("shutdown.grace", s.grace.String(), source)
	if opts.QueueBytes < 0 {
		r.fail("Options.QueueBytes", strconv.FormatInt(opts.QueueBytes, 10), "a number of bytes above 0, or 0 for the default")
	}
	s.startupLog, _ = r.boolean(true, "DD_TRACE_STARTUP_LOGS")
}

// attrs is the effective configuration.
func (s *settings) attrs() []slog.Attr {
	config := make([]any, 0, len(s.report))
	for _, line := range s.report {
		config = append(config, slog.String(line.name, line.value+" ("+line.source+")"))
	}
	return []slog.Attr{slog.Group("config", config...)}
}

// settingError says which setting another package could not understand.
type settingError struct {
	source string
	err    error
}

func (e *settingError) Error() string { return "obs: " + e.source + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }
