package obs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/logging"
	"github.com/kumihimo/kumihimo/obs/tracing"
)

// world is an environment of "NAME=value" pairs. The pair "dmi=…" is the
// firmware's product name, "socket=…" the path of a unix socket.
func world(pairs ...string) environment {
	vars := make(map[string]string)
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		vars[k] = v
	}
	return environment{
		vars: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		readFile: func(string) ([]byte, error) {
			if v, ok := vars["dmi"]; ok {
				return []byte(v + "\n"), nil
			}
			return nil, fs.ErrNotExist
		},
		isSocket: func(path string) bool { return path == vars["socket"] },
		program:  "/usr/local/bin/shopd",
	}
}

func TestPlatform(t *testing.T) {
	t.Parallel()
	const google = "dmi=Google Compute Engine"
	tests := []struct {
		env  []string
		want platform
		json bool
	}{
		{nil, platformLocal, false},
		{[]string{"K_SERVICE=shop", "K_REVISION=shop-00001"}, platformCloudRun, true},
		{[]string{"CLOUD_RUN_JOB=nightly"}, platformJob, true},
		{[]string{"K_SERVICE=f", "FUNCTION_TARGET=Hello"}, platformFunctions, true},
		{[]string{google}, platformGCE, true},
		{[]string{google, "KUBERNETES_SERVICE_HOST=10.0.0.1"}, platformGKE, true},
		{[]string{"KUBERNETES_SERVICE_HOST=10.0.0.1"}, platformLocal, false}, // somebody else's cluster
		{[]string{"dmi=Amazon EC2"}, platformLocal, false},
		{[]string{"K_SERVICE="}, platformLocal, false},
	}
	for _, tt := range tests {
		s, err := resolve(Options{}, world(tt.env...), redact.New(nil))
		if err != nil {
			t.Errorf("%v: %v", tt.env, err)
		}
		if s.platform != tt.want || s.json != tt.json {
			t.Errorf("%v: got %q, json %t, want %q, %t", tt.env, s.platform, s.json, tt.want, tt.json)
		}
	}
}

// unset are lines of the report that all cases have if they say nothing of it.
var unset = []string{"sampling", "propagation.extract", "propagation.inject", "shutdown.grace"}

type precedenceCase struct {
	name string
	opts Options
	env  []string
	want string // lines of the report, without platform, in their order
}

// TestPrecedence: a set field, then the environment, then what is detected.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	tests := []precedenceCase{
		{"nothing", Options{}, nil,
			"service=shopd (default); log.format=text (detected); log.filter=info (default); agent=none (default)"},
		{"option over environment", Options{Service: "a", Env: "b", LogFormat: "json", AgentURL: "http://x:1"},
			[]string{"DD_SERVICE=z", "DD_ENV=z", "OBS_LOG_FORMAT=text", "DD_TRACE_AGENT_URL=http://z:1"},
			"service=a (option); env=b (option); log.format=json (option); log.filter=info (default); agent=http://x:1 (option); agent.auth=none (detected)"},
		{"Datadog's over OpenTelemetry's over the platform's", Options{},
			[]string{"OTEL_SERVICE_NAME=o", "K_SERVICE=k", "K_REVISION=r", "DD_VERSION=1", "OBS_LOG=warn"},
			"service=o (OTEL_SERVICE_NAME); version=1 (DD_VERSION); log.format=json (detected); log.filter=warn (OBS_LOG); agent=http://localhost:8126 (default); agent.auth=none (detected)"},
		{"tags", Options{Tags: map[string]string{"team": "opt"}},
			[]string{"DD_TAGS=team:dd,zone:a", "OTEL_RESOURCE_ATTRIBUTES=service.name=res,zone=b%20c"},
			"service=res (OTEL_RESOURCE_ATTRIBUTES); tags=team,zone (OTEL_RESOURCE_ATTRIBUTES+DD_TAGS+option); log.format=text (detected); log.filter=info (default); agent=none (default)"},
		{"tags over the platform", Options{}, []string{"K_SERVICE=k", "K_REVISION=r", "DD_TAGS=version:9,env:t", "OTEL_RESOURCE_ATTRIBUTES=service.name=res,env=u"},
			"service=res (OTEL_RESOURCE_ATTRIBUTES); env=t (DD_TAGS); version=9 (DD_TAGS); log.format=json (detected); log.filter=info (default); agent=http://localhost:8126 (default); agent.auth=none (detected)"},
		{"an option's tag over variables, its field over both", Options{Service: "f", Tags: map[string]string{"env": "o", "service": "o"}}, []string{"DD_ENV=e", "DD_SERVICE=e"},
			"service=f (option); env=o (option); log.format=text (detected); log.filter=info (default); agent=none (default)"},
		{"Datadog's b3", Options{}, []string{"DD_TRACE_PROPAGATION_STYLE=B3,none"},
			"service=shopd (default); log.format=text (detected); log.filter=info (default); propagation.extract=b3multi (DD_TRACE_PROPAGATION_STYLE); propagation.inject=b3multi (DD_TRACE_PROPAGATION_STYLE); agent=none (default)"},
		{"OpenTelemetry's b3", Options{}, []string{"OTEL_PROPAGATORS=b3"},
			"service=shopd (default); log.format=text (detected); log.filter=info (default); propagation.extract=b3 single header (OTEL_PROPAGATORS); propagation.inject=b3 single header (OTEL_PROPAGATORS); agent=none (default)"},
		{"host and port", Options{}, []string{"DD_AGENT_HOST=::1", "DD_TRACE_AGENT_PORT=9126"},
			"service=shopd (default); log.format=text (detected); log.filter=info (default); agent=http://[::1]:9126 (DD_AGENT_HOST+DD_TRACE_AGENT_PORT); agent.auth=none (detected)"},
		{"socket", Options{}, []string{"socket=/var/run/datadog/apm.socket"},
			"service=shopd (default); log.format=text (detected); log.filter=info (default); agent=unix:///var/run/datadog/apm.socket (detected); agent.auth=none (detected)"},
		{"agent on Cloud Run", Options{}, []string{"K_SERVICE=k", "DD_TRACE_AGENT_URL=https://agent-x.a.run.app"},
			"service=k (K_SERVICE); log.format=json (detected); log.filter=info (default); agent=https://agent-x.a.run.app (DD_TRACE_AGENT_URL); agent.auth=google (detected); agent.audience=https://agent-x.a.run.app (DD_TRACE_AGENT_URL)"},
		{"custom audience", Options{Audience: "mine"}, []string{"K_SERVICE=k", "DD_TRACE_AGENT_URL=https://agent.example"},
			"service=k (K_SERVICE); log.format=json (detected); log.filter=info (default); agent=https://agent.example (DD_TRACE_AGENT_URL); agent.auth=google (detected); agent.audience=mine (option)"},
		{"switches and rates", Options{}, []string{"DD_TRACE_ENABLED=False", "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25"},
			"service=shopd (default); log.format=text (detected); log.filter=info (default); tracing=off (DD_TRACE_ENABLED); sampling=parentbased_traceidratio 0.25 (OTEL_TRACES_SAMPLER); agent=none (default)"},
	}
	for _, tt := range append(tests, samplingPrecedence...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := resolve(tt.opts, world(tt.env...), redact.New(nil))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, l := range s.report[1:] {
				if l.source == fromDefault && slices.Contains(unset, l.name) {
					continue
				}
				lines = append(lines, l.name+"="+l.value+" ("+l.source+")")
			}
			if diff := cmp.Diff(strings.Split(tt.want, "; "), lines); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestMistakes: each names the variable or field and what it takes.
func TestMistakes(t *testing.T) {
	t.Parallel()
	minusOne := -1.0
	tests := []struct {
		name string
		opts Options
		env  []string
		want []string
	}{
		{"format", Options{}, []string{"OBS_LOG_FORMAT=xml"}, []string{"OBS_LOG_FORMAT", `"xml"`, "auto, json or text"}},
		{"filter", Options{}, []string{"OBS_LOG=db=loud"}, []string{"OBS_LOG", `"db=loud"`, "debug"}},
		{"URL", Options{}, []string{"DD_TRACE_AGENT_URL=agent:8126"}, []string{"DD_TRACE_AGENT_URL", "http, https or unix URL"}},
		{"URL with a password", Options{}, []string{"DD_TRACE_AGENT_URL=ftp://u:planted@agent"}, []string{"DD_TRACE_AGENT_URL"}},
		{"unparsable URL with a password", Options{}, []string{"DD_TRACE_AGENT_URL=http://u:planted@ag ent"}, []string{"DD_TRACE_AGENT_URL"}},
		{"opaque URL with a password", Options{}, []string{"DD_TRACE_AGENT_URL=u:planted@agent:8126"}, []string{"DD_TRACE_AGENT_URL", "REDACTED"}},
		{"URL without a host", Options{AgentURL: "https://"}, nil, []string{"Options.AgentURL", "https://agent-xyz.a.run.app"}},
		{"URL of a path", Options{AgentURL: "/var/run/datadog/apm.socket"}, nil, []string{"Options.AgentURL", "unix URL"}},
		{"socket on another host", Options{AgentURL: "unix://host/apm.socket"}, nil, []string{"Options.AgentURL", "unix URL"}},
		{"port", Options{}, []string{"DD_TRACE_AGENT_PORT=abc"}, []string{`DD_TRACE_AGENT_PORT="abc"`, "1 to 65535"}},
		{"port in the URL", Options{}, []string{"DD_TRACE_AGENT_URL=http://localhost:99999"}, []string{"DD_TRACE_AGENT_URL"}},
		{"metadata host", Options{}, []string{"GCE_METADATA_HOST=http://u:planted@foo"}, []string{"GCE_METADATA_HOST", "host:port"}},
		{"tag without a key", Options{}, []string{"DD_TAGS=a:b,planted"}, []string{"DD_TAGS", "key:value"}},
		{"tag with a bad value", Options{}, []string{"OTEL_RESOURCE_ATTRIBUTES=password=%zzplanted"}, []string{`OTEL_RESOURCE_ATTRIBUTES="password"`}},
		{"half a sampler", Options{}, []string{"OTEL_TRACES_SAMPLER=parentbased_"}, []string{"OTEL_TRACES_SAMPLER", "always_on"}},
		{"no audience", Options{}, []string{"K_SERVICE=k", "DD_TRACE_AGENT_URL=https://agent.example"}, []string{"OBS_AGENT_AUDIENCE", "cannot be derived"}},
		{"auth off Google Cloud", Options{AgentURL: "https://a.run.app", AgentAuth: "google"}, nil, []string{"AgentAuth", "Options.TokenSource", "gcpauth/adc"}},
		{"token over http", Options{AgentURL: "http://agent.example", AgentAuth: "google", Audience: "a"}, []string{"K_SERVICE=k"}, []string{"AgentURL", "https"}},
		{"auth word", Options{}, []string{"OBS_AGENT_AUTH=basic", "DD_AGENT_HOST=x"}, []string{"OBS_AGENT_AUTH", "auto, google or none"}},
		{"negative rate", Options{SampleRate: &minusOne}, nil, []string{"Options.SampleRate", "0 to 1"}},
		{"rate", Options{}, []string{"DD_TRACE_SAMPLE_RATE=NaN"}, []string{"DD_TRACE_SAMPLE_RATE", "0 to 1"}},
		{"sampler", Options{}, []string{"OTEL_TRACES_SAMPLER=xray"}, []string{"OTEL_TRACES_SAMPLER", "always_on"}},
		{"rules", Options{}, []string{`DD_TRACE_SAMPLING_RULES=[{"service":}]`}, []string{"DD_TRACE_SAMPLING_RULES", "at byte 13"}},
		{"span rules", Options{}, []string{`DD_SPAN_SAMPLING_RULES=[{"sample_rate":7}]`}, []string{"DD_SPAN_SAMPLING_RULES", "at byte 2", "from 0 to 1"}},
		{"rules as an option", Options{SamplingRules: []tracing.SamplingRule{{}, {Rate: 2}}}, nil, []string{"Options.SamplingRules[1].Rate", "from 0 to 1"}},
		{"limit", Options{}, []string{"DD_TRACE_RATE_LIMIT=-1"}, []string{"DD_TRACE_RATE_LIMIT", "a number from 0"}},
		{"limit as an option", Options{RateLimit: &minusOne}, nil, []string{"Options.RateLimit", "a number from 0"}},
		{"behavior", Options{}, []string{"DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT=reset"}, []string{"DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT", "continue, restart or ignore"}},
		{"front end", Options{FrontEnd: "cloudflare"}, nil, []string{"Options.FrontEnd", "auto, google or none"}},
		{"style", Options{}, []string{"DD_TRACE_PROPAGATION_STYLE=zipkin"}, []string{"DD_TRACE_PROPAGATION_STYLE", "zipkin", "tracecontext"}},
		{"switch", Options{}, []string{"DD_TRACE_ENABLED=maybe"}, []string{"DD_TRACE_ENABLED", "true or false"}},
		{"tags", Options{}, []string{"DD_TAGS=noColon"}, []string{"DD_TAGS", "key:value"}},
		{"grace", Options{ShutdownGrace: -1}, nil, []string{"Options.ShutdownGrace"}},
		{"queue", Options{QueueBytes: -1}, nil, []string{"Options.QueueBytes"}},
		{"all at once", Options{QueueBytes: -1}, []string{"OBS_LOG_FORMAT=xml", "OBS_LOG=x=y", "DD_TRACE_SAMPLE_RATE=2", "DD_TRACE_AGENT_URL=:"},
			[]string{"OBS_LOG_FORMAT", "OBS_LOG:", "DD_TRACE_SAMPLE_RATE", "DD_TRACE_AGENT_URL", "QueueBytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, err := build(t.Context(), tt.opts, world(tt.env...))
			if err == nil {
				t.Fatalf("got %v, want an error", tel)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("got %q, which shows a password", err)
			}
		})
	}
}

// TestOptionsAreNotWritten to.
func TestOptionsAreNotWritten(t *testing.T) {
	t.Parallel()
	opts := Options{Tags: map[string]string{"service": "tagged", "a": "b"}, LogWriter: &bytes.Buffer{}}
	tel, err := build(t.Context(), opts, world("DD_TAGS=c:d"))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	if diff := cmp.Diff(map[string]string{"service": "tagged", "a": "b"}, opts.Tags); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// noTokens is a source that must not be asked.
type noTokens struct{}

func (noTokens) Token(context.Context) (gcpauth.Token, error) {
	return gcpauth.Token{}, errors.New("asked for a token")
}
func (noTokens) Invalidate(gcpauth.Token) {}

// TestStartUpLine says what is in effect and where it came from, and keeps
// secrets.
func TestStartUpLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel, err := build(t.Context(), Options{
		LogWriter: &out, LogFormat: "json", Service: "shop", TokenSource: noTokens{},
		AgentURL: "https://agent-x.a.run.app", AgentAuth: "google",
		Tags: map[string]string{"password": "planted"},
	}, world("DD_ENV=prod", `DD_TRACE_SAMPLING_RULES=[{"service":"shop"},{"sample_rate":0.5}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	line := out.String()
	for _, want := range []string{
		`"message":"telemetry started"`, `"service":"shop (option)"`, `"env":"prod (DD_ENV)"`, `"log.format":"json (option)"`,
		`"agent":"https://agent-x.a.run.app (option)"`, `"agent.auth":"google (option)"`, `"sampling.rules":"2 (DD_TRACE_SAMPLING_RULES)"`, `"logger":"kumihimo"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("the line lacks %s", want)
		}
	}
	if strings.Contains(line, "planted") || strings.Count(line, "\n") != 1 {
		t.Errorf("got %s", line)
	}
	if t.Failed() {
		t.Log(line)
	}
}

func TestStartUpLineOff(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel, err := build(t.Context(), Options{LogWriter: &out}, world("DD_TRACE_STARTUP_LOGS=false"))
	if err != nil {
		t.Fatal(err)
	}
	shutDown(t, tel)
	if out.Len() > 0 {
		t.Errorf("got %q, want nothing", out.String())
	}
}

// TestInternalLevel: our own records have a level of their own, if set.
func TestInternalLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		opts  Options
		debug bool
	}{
		{"default", Options{}, false},
		{"option", Options{InternalLevel: slog.LevelDebug}, true},
		{"filter", Options{LogFilter: "info,kumihimo=debug"}, true},
		{"option over filter", Options{LogFilter: "off", InternalLevel: slog.LevelDebug, LogHandlers: []slog.Handler{slog.DiscardHandler}}, true},
		{"off", Options{LogFilter: "debug,kumihimo=off"}, false},
	} {
		var out bytes.Buffer
		tt.opts.LogWriter = &out
		tel, err := build(t.Context(), tt.opts, world())
		if err != nil {
			t.Fatal(err)
		}
		tel.internal.Debug("inside")
		if got := strings.Contains(out.String(), "inside"); got != tt.debug {
			t.Errorf("%s: a debug record is written: got %t, want %t", tt.name, got, tt.debug)
		}
		shutDown(t, tel)
	}
}

func shutDown(t *testing.T, tel *Telemetry) {
	t.Helper()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestColorVariables: of the two, the one that wants less wins.
func TestColorVariables(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  []string
		want logging.Color
	}{
		{nil, logging.ColorAuto},
		{[]string{"NO_COLOR=1"}, logging.ColorNever},
		{[]string{"NO_COLOR="}, logging.ColorAuto}, // as https://no-color.org has it
		{[]string{"FORCE_COLOR=1"}, logging.ColorAlways},
		{[]string{"FORCE_COLOR=0"}, logging.ColorAuto},
		{[]string{"FORCE_COLOR=1", "NO_COLOR=1"}, logging.ColorNever},
	} {
		s, err := resolve(Options{}, world(tt.env...), redact.New(nil))
		if err != nil || s.color != tt.want {
			t.Errorf("%v: got %v, %v, want %v", tt.env, s.color, err, tt.want)
		}
	}
}

func TestLogBareTrace(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tel, err := New(t.Context(), Options{LogFormat: "json", LogWriter: &out, ProjectID: "acme", LogBareTrace: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "s")
	tel.Logger().InfoContext(ctx, "m")
	if want := `"logging.googleapis.com/trace":"` + span.SpanContext().TraceID().String() + `"`; !strings.Contains(out.String(), want) {
		t.Errorf("want %s in %s", want, &out)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLogSpanName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ format, want, own string }{
		{"json", `"span.name":"order.load"`, `"span.name":"mine"`},
		{"text", "span.name=order.load", "span.name=mine"},
	} {
		var out strings.Builder
		tel, err := build(t.Context(), Options{LogFormat: tt.format, LogWriter: &out, LogSpanName: true}, world("DD_TRACE_STARTUP_LOGS=false"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tel.TracerProvider().Tracer("t").Start(t.Context(), "first")
		span.SetName("order.load")
		tel.Logger().InfoContext(ctx, "m", "n", 1)
		tel.Logger().InfoContext(ctx, "m", "n", 1)
		if n := strings.Count(out.String(), tt.want); n != 2 {
			t.Errorf("%s: %d of 2 records have %s: %s", tt.format, n, tt.want, &out)
		}
		out.Reset()
		tel.Logger().With("span.name", "mine").InfoContext(ctx, "m")
		tel.Logger().InfoContext(ctx, "m", "span.name", "mine")
		if n := strings.Count(out.String(), tt.own); n != 2 || strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: want %s alone: %s", tt.format, tt.own, &out)
		}
		out.Reset()
		tel.Logger().Info("m")
		if strings.Contains(out.String(), "span.name") {
			t.Errorf("%s: a name without a span: %s", tt.format, &out)
		}
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
