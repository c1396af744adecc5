package obs

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// environment is all that obs reads of the world around the program. This is
// the one file of the module that touches it.
type environment struct {
	lookup   func(name string) (string, bool)
	readFile func(path string) ([]byte, error)
	isSocket func(path string) bool
	program  string // os.Args[0]
}

// quiet is what a test's environment has unless it says otherwise: no records
// but the test's.
var quiet = map[string]string{"DD_TRACE_STARTUP_LOGS": "false"}

// environmentOf returns the process's, or the one of a test's pipeline, which
// must not depend on where the test runs.
func environmentOf(ctx context.Context) environment {
	if vars, ok := obsctx.Environment(ctx); ok {
		return environment{
			lookup: func(name string) (string, bool) {
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
		lookup:   os.LookupEnv,
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
