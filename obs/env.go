package obs

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// environment is all that obs reads of the world around the program. This is
// the one file of the module that touches it.
type environment struct {
	vars     func(name string) (string, bool)
	readFile func(path string) ([]byte, error)
	isSocket func(path string) bool
	program  string // os.Args[0]
}

// A variable is what the environment may say of one setting.
type variable struct {
	names  string // divided by blanks; the first that is set counts, unless sets says otherwise
	option string // the field of Options that counts before them
	sets   string
	absent string // what holds if none is set
}

// variables are all that is read, in the order of the documents: README.md and
// docs/configuration.md are made of this table.
var variables = [...]variable{
	{"DD_SERVICE OTEL_SERVICE_NAME K_SERVICE CLOUD_RUN_JOB", "Service", "service", "the program's name"},
	{"DD_ENV", "Env", "environment", "none"},
	{"DD_VERSION K_REVISION", "Version", "version", "none"},
	{"DD_TAGS OTEL_RESOURCE_ATTRIBUTES DD_GIT_REPOSITORY_URL DD_GIT_COMMIT_SHA", "Tags", "tags of every span: `key:value,…`, in OpenTelemetry's `key=value,…`, percent-encoded; all count, Datadog's first", "none"},
	{"GOOGLE_CLOUD_PROJECT", "ProjectID", "project in log entries' traces", "asked of the metadata server"},
	{"DD_TRACE_AGENT_URL DD_AGENT_HOST DD_TRACE_AGENT_PORT", "AgentURL", "agent: `http`, `https` or `unix` URL, or host and port", "`/var/run/datadog/apm.socket` if there; on Google Cloud `http://localhost:8126`; else no agent"},
	{"OBS_AGENT_AUTH", "AgentAuth", "`auto`, `google`, `none`", "`auto`: ID tokens for an `https` agent on Google Cloud"},
	{"OBS_AGENT_AUDIENCE", "Audience", "audience of the ID tokens", "the origin of a `run.app` agent"},
	{"GCE_METADATA_HOST", "", "metadata server, `host:port`", "Google's"},
	{"DD_EXTERNAL_ENV", "", "the container, in the words of Datadog's admission controller on Kubernetes", "none"},
	{"DD_TRACE_ENABLED OTEL_SDK_DISABLED", "", "tracing on or off", "on"},
	{"DD_TRACE_SAMPLING_RULES", "SamplingRules", "JSON: which new traces are kept, by service, name, resource, tags", "none"},
	{"DD_TRACE_SAMPLE_RATE OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG", "SampleRate", "share of new traces kept, 0 to 1; OpenTelemetry's where no variable of Datadog's asks for sampling", "what the agent asks for, else all"},
	{"DD_TRACE_RATE_LIMIT", "RateLimit", "traces a second that rules and rate keep at most", "100"},
	{"DD_SPAN_SAMPLING_RULES", "SpanSamplingRules", "JSON: single spans kept of traces that are not", "none"},
	{"DD_TRACE_PROPAGATION_STYLE_EXTRACT DD_TRACE_PROPAGATION_STYLE_INJECT DD_TRACE_PROPAGATION_STYLE OTEL_PROPAGATORS", "Propagators", "`datadog`, `tracecontext`, `baggage`, `b3multi`, `b3 single header`, `none`; `b3` is the first of B3's in Datadog's variables and the second in OpenTelemetry's", "`datadog,tracecontext,baggage`"},
	{"DD_TRACE_PROPAGATION_EXTRACT_FIRST", "", "look no further than the first style that finds a trace", "off"},
	{"DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT", "", "`continue`, `restart` (a new trace that links to the caller's), `ignore`", "`continue`"},
	{"OBS_LOG", "LogFilter", "filter: `info,github.com/acme/shop/db=debug`", "`info`"},
	{"OBS_LOG_FORMAT", "LogFormat", "`auto`, `json`, `text`", "`auto`: JSON on Google Cloud, else text"},
	{"NO_COLOR FORCE_COLOR", "", "colour of text", "on a terminal"},
	{"DD_TRACE_STARTUP_LOGS", "", "the lines at start-up and at the end", "on"},
	{"K_SERVICE CLOUD_RUN_JOB FUNCTION_TARGET KUBERNETES_SERVICE_HOST", "", "that the program runs on Cloud Run, as a job, as a function or, on a machine of Google's, on GKE; set by the platform", "by the machine's firmware"},
	{"CLOUD_RUN_EXECUTION CLOUD_RUN_TASK_INDEX HOSTNAME", "", "a job's execution and task, a pod's name, on every span; set by the platform", "none"},
}

// lookup returns the value of a variable. One that is not in the table has none:
// so the documents name all that are read.
func (e environment) lookup(name string) (string, bool) {
	for _, v := range variables {
		if slices.Contains(strings.Fields(v.names), name) {
			return e.vars(name)
		}
	}
	return "", false
}

// quiet is what a test's environment has unless it says otherwise: no records
// but the test's.
var quiet = map[string]string{"DD_TRACE_STARTUP_LOGS": "false"}

// environmentOf returns the process's, or the one of a test's pipeline, which
// must not depend on where the test runs.
func environmentOf(ctx context.Context) environment {
	if vars, ok := obsctx.Environment(ctx); ok {
		return environment{
			vars: func(name string) (string, bool) {
				if v, ok := vars[name]; ok {
					return v, true
				}
				v, ok := quiet[name]
				return v, ok
			},
			readFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist },
			isSocket: func(string) bool { return false },
			program:  os.Args[0],
		}
	}
	return environment{
		vars:     os.LookupEnv,
		readFile: os.ReadFile,
		isSocket: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.Mode()&os.ModeSocket != 0
		},
		program: os.Args[0],
	}
}

// Where a setting came from, when it was not a variable.
const (
	fromOption   = "option"
	fromDetected = "detected"
	fromDefault  = "default"
)

// setting is one line of the effective configuration.
type setting struct {
	name, value, source string
}

// reader resolves settings in the order of precedence and collects what is
// wrong with them, so that one error can name every mistake.
type reader struct {
	environment
	errs   []error
	report []setting
}

// pick returns option if it is set, else the first of vars that is not empty.
// An empty source says that neither was.
func (r *reader) pick(option, optionName string, vars ...string) (value, source string) {
	if option != "" {
		return option, "Options." + optionName
	}
	for _, name := range vars {
		if v, _ := r.lookup(name); v != "" {
			return v, name
		}
	}
	return "", ""
}

// variable is pick without an option.
func (r *reader) variable(names ...string) (value, source string) {
	return r.pick("", "", names...)
}

// fail records that the value from source is not what it should be.
func (r *reader) fail(source, value, want string) {
	r.errs = append(r.errs, fmt.Errorf("obs: %s=%q: want %s", source, value, want))
}

// addOnce adds an error unless there is one of the same text: one variable may
// be read for two purposes.
func (r *reader) addOnce(err error) {
	for _, e := range r.errs {
		if e.Error() == err.Error() {
			return
		}
	}
	r.errs = append(r.errs, err)
}

// failPair is fail for a tag, whose value may be a secret. One without a key
// is not shown at all: it may be the value of one before it.
func (r *reader) failPair(source, pair, sep, want string) {
	key, _, found := strings.Cut(pair, sep)
	if !found {
		key = redact.Placeholder
	}
	r.fail(source, key, want)
}

// note adds a line to the effective configuration.
func (r *reader) note(name, value, source string) {
	if strings.HasPrefix(source, "Options.") {
		source = fromOption
	}
	r.report = append(r.report, setting{name, value, source})
}

// boolean reads a switch in any of the forms Datadog's and OpenTelemetry's
// variables take.
func (r *reader) boolean(def bool, name string) (value bool, source string) {
	s, source := r.variable(name)
	if source == "" {
		return def, ""
	}
	v, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		r.fail(source, s, "true or false")
		return def, source
	}
	return v, source
}

// rate reads a share; negated comparisons refuse NaN as well.
func (r *reader) rate(source, s string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v >= 0 && v <= 1) {
		r.fail(source, s, "a number from 0 to 1")
		return nil
	}
	return &v
}

// oneOf reads a word of a fixed set, in any case; the first word is the default.
func (r *reader) oneOf(option, optionName, variable string, words ...string) (value, source string) {
	s, source := r.pick(option, optionName, variable)
	if source == "" {
		return words[0], fromDefault
	}
	for _, w := range words {
		if strings.EqualFold(s, w) {
			return w, source
		}
	}
	last := len(words) - 1
	r.fail(source, s, strings.Join(words[:last], ", ")+" or "+words[last])
	return words[0], source
}

// tagLayer is the tags of one source.
type tagLayer struct {
	source string
	tags   map[string]string
}

// tagLayers are the tags by source, the one that wins first.
type tagLayers struct {
	option, datadog, otel tagLayer
}

func (r *reader) tagLayers(option map[string]string) tagLayers {
	l := tagLayers{
		option:  tagLayer{fromOption, maps.Clone(option)},
		datadog: tagLayer{"DD_TAGS", map[string]string{}},
		otel:    tagLayer{"OTEL_RESOURCE_ATTRIBUTES", map[string]string{}},
	}
	if s, source := r.variable("DD_TAGS"); source != "" {
		r.datadogTags(l.datadog.tags, source, s)
	}
	for _, git := range []struct{ name, tag string }{
		{"DD_GIT_REPOSITORY_URL", "git.repository_url"},
		{"DD_GIT_COMMIT_SHA", "git.commit.sha"},
	} {
		if s, source := r.variable(git.name); source != "" {
			l.datadog.tags[git.tag] = s
		}
	}
	if s, source := r.variable("OTEL_RESOURCE_ATTRIBUTES"); source != "" {
		r.resourceAttributes(l.otel.tags, source, s)
	}
	return l
}

// merge returns the tags of all layers, and where they come from.
func (l *tagLayers) merge() (tags map[string]string, sources string) {
	tags = map[string]string{}
	var from []string
	for _, layer := range []tagLayer{l.otel, l.datadog, l.option} {
		maps.Copy(tags, layer.tags)
		if len(layer.tags) > 0 {
			from = append(from, layer.source)
		}
	}
	return tags, strings.Join(from, "+")
}

// take removes tags of the given names from the layer and returns the first
// there is.
func (l tagLayer) take(names []string) (value string) {
	for _, name := range names {
		if value == "" {
			value = l.tags[name]
		}
		delete(l.tags, name)
	}
	return value
}

// datadogTags reads "key:value" pairs, divided by commas or, where there is no
// comma, by blanks.
func (r *reader) datadogTags(tags map[string]string, source, s string) {
	divide := func(c rune) bool { return c == ',' }
	if !strings.Contains(s, ",") {
		divide = func(c rune) bool { return c == ' ' }
	}
	for _, pair := range strings.FieldsFunc(s, divide) {
		k, v, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok || k == "" {
			r.failPair(source, pair, ":", "key:value pairs divided by commas")
			continue
		}
		tags[k] = v
	}
}

// resourceAttributes reads OpenTelemetry's "key=value,…" with percent-encoded
// values.
func (r *reader) resourceAttributes(tags map[string]string, source, s string) {
	for pair := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(v))
		if k = strings.TrimSpace(k); !ok || k == "" || err != nil {
			r.failPair(source, pair, "=", "key=value pairs divided by commas, values percent-encoded")
			continue
		}
		tags[k] = value
	}
}
