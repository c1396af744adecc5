package obs

import (
	"errors"
	"log/slog"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/logging"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// settings are the options once environment and platform have been asked.
type settings struct {
	platform              platform
	service, env, version string
	tags                  map[string]string
	cloud                 []attribute.KeyValue // what the platform says of itself
	projectID             string
	json                  bool
	filter                *logging.Filter
	color                 logging.Color
	enabled               bool // tracing
	rate                  *float64
	extract, inject       []string
	extractFirst          bool
	agent                 agentSettings
	metadataHost          string
	grace                 time.Duration
	startupLog            bool
	report                []setting
	ignored               []string
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
	s.metadataHost, _ = r.variable("GCE_METADATA_HOST")
	s.agent = r.agent(opts, s.platform, s.metadataHost != "", red)
	s.lifecycle(r, opts)
	s.ignored = unsupported(r)
	s.report = r.report
	return s, errors.Join(r.errs...)
}

func (s *settings) identity(r *reader, opts Options) {
	var source string
	s.tags, source = r.tags(opts.Tags)
	pick := func(name, option, optionName string, tags []string, vars ...string) string {
		v, source := r.pick(option, optionName, vars...)
		for _, tag := range tags {
			if tagged := s.tags[tag]; tagged != "" && source == "" {
				v, source = tagged, "tags"
			}
			delete(s.tags, tag)
		}
		if source != "" {
			r.note(name, v, source)
		}
		return v
	}
	s.service = pick("service", opts.Service, "Service", []string{"service", "service.name"},
		"DD_SERVICE", "OTEL_SERVICE_NAME", "K_SERVICE", "CLOUD_RUN_JOB")
	if s.service == "" {
		s.service = strings.TrimSuffix(filepath.Base(r.program), ".exe")
		r.note("service", s.service, fromDefault)
	}
	s.env = pick("env", opts.Env, "Env", []string{"env", "deployment.environment.name", "deployment.environment"}, "DD_ENV")
	s.version = pick("version", opts.Version, "Version", []string{"version", "service.version"}, "DD_VERSION", "K_REVISION")
	s.projectID = pick("project", opts.ProjectID, "ProjectID", nil, "GOOGLE_CLOUD_PROJECT")
	if len(s.tags) > 0 {
		keys := make([]string, 0, len(s.tags))
		for k := range s.tags {
			keys = append(keys, k)
		}
		sort.Strings(keys)
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

func (s *settings) sampling(r *reader, opts Options) {
	if opts.Sampler != nil {
		r.note("sampling", opts.Sampler.Description(), fromOption)
		return
	}
	if opts.SampleRate != nil {
		text := strconv.FormatFloat(*opts.SampleRate, 'g', -1, 64)
		s.rate = r.rate("Options.SampleRate", text)
		r.note("sample.rate", text, fromOption)
		return
	}
	if v, source := r.variable("DD_TRACE_SAMPLE_RATE"); source != "" {
		s.rate = r.rate(source, v)
		r.note("sample.rate", v, source)
		return
	}
	v, source := r.variable("OTEL_TRACES_SAMPLER")
	switch strings.TrimPrefix(v, "parentbased_") {
	case "":
		return
	case "always_on":
		s.rate = r.rate(source, "1")
	case "always_off":
		s.rate = r.rate(source, "0")
	case "traceidratio":
		arg, argSource := r.variable("OTEL_TRACES_SAMPLER_ARG")
		if argSource == "" {
			arg, argSource = "1", source
		}
		s.rate = r.rate(argSource, arg)
		v += " " + arg
	default:
		r.fail(source, v, "always_on, always_off, traceidratio, or one of these after parentbased_")
	}
	r.note("sampling", v, source)
}

func (s *settings) propagation(r *reader, opts Options) {
	if opts.Propagators != nil {
		r.note("propagation", strings.Join(opts.Propagators.Fields(), ","), fromOption)
		return
	}
	styles := func(direction string) []string {
		v, source := r.variable("DD_TRACE_PROPAGATION_STYLE_"+direction, "DD_TRACE_PROPAGATION_STYLE", "OTEL_PROPAGATORS")
		if source == "" {
			return nil
		}
		list, err := tracing.ParseStyles(v)
		if err != nil {
			r.errs = append(r.errs, &settingError{source, err})
		}
		r.note("propagation."+strings.ToLower(direction), strings.Join(list, ","), source)
		return list
	}
	s.extract, s.inject = styles("EXTRACT"), styles("INJECT")
	var source string
	if s.extractFirst, source = r.boolean(false, "DD_TRACE_PROPAGATION_EXTRACT_FIRST"); source != "" {
		r.note("propagation.extract.first", strconv.FormatBool(s.extractFirst), source)
	}
}

// ingress is the propagator for requests from outside.
func (s *settings) ingress(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if s.platform.hasFrontEnd() {
		return tracing.NewIngress(p)
	}
	return p
}

func (s *settings) lifecycle(r *reader, opts Options) {
	s.grace = opts.ShutdownGrace
	if s.grace < 0 {
		r.fail("Options.ShutdownGrace", s.grace.String(), "a duration above 0, or 0 for the default")
	}
	if s.grace == 0 {
		s.grace = defaultGrace
	}
	if opts.QueueBytes < 0 {
		r.fail("Options.QueueBytes", strconv.FormatInt(opts.QueueBytes, 10), "a number of bytes above 0, or 0 for the default")
	}
	s.startupLog, _ = r.boolean(true, "DD_TRACE_STARTUP_LOGS")
}

// unsupported lists the variables of Datadog's tracers that are set and that
// this version does not read, so that the start-up line can say so.
func unsupported(r *reader) []string {
	var set []string
	for _, name := range []string{
		"DD_TRACE_SAMPLING_RULES", "DD_SPAN_SAMPLING_RULES", "DD_TRACE_RATE_LIMIT",
		"DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT",
	} {
		if v, _ := r.variable(name); v != "" {
			set = append(set, name)
		}
	}
	return set
}

// attrs is the effective configuration.
func (s *settings) attrs() []slog.Attr {
	config := make([]any, 0, len(s.report))
	for _, line := range s.report {
		config = append(config, slog.String(line.name, line.value+" ("+line.source+")"))
	}
	attrs := []slog.Attr{slog.Group("config", config...)}
	if len(s.ignored) > 0 {
		attrs = append(attrs, slog.String("ignored", strings.Join(s.ignored, ",")))
	}
	return attrs
}

// settingError says which setting another package could not understand.
type settingError struct {
	source string
	err    error
}

func (e *settingError) Error() string { return "obs: " + e.source + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }
