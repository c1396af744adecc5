package archtest

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// An arrow says what the packages under a folder may import of this module in
// production code, beside the leaves that all may import.
type arrow struct {
	from string
	to   []string
	why  string
}

// leaves are open to every package except the examples and commands.
var leaves = []string{"internal/braid", "internal/fault", "internal/flight", "internal/obsctx", "internal/redact", "internal/jsonscan"}

var arrows = []arrow{
	{"obs", []string{"obs/logging", "obs/tracing", "obs/tracing/ddagent", "obs/gcpauth", "internal/spanattr", "internal/spanqueue"},
		"obs is the only composition root, and whoever imports it links what it imports: the viewer, the emulator, Redis and OTLP stay out"},
	{"obs/logging", nil,
		"a handler is of use without traces or Google; what it knows of a trace comes through the context"},
	{"obs/tracing", []string{"internal/spanattr"},
		"a provider is of use without logs or Google; the parts meet in obs alone"},
	{"obs/tracing/ddagent", []string{"obs/tracing", "internal/msgpack"},
		"authentication arrives as an *http.Client, so the exporter works with any or none"},
	{"obs/gcpauth", nil,
		"tokens are of use to any HTTP client, without our telemetry"},
	{"obs/gcpauth/command", []string{"obs/gcpauth"},
		"what starts processes is linked by who asks for it"},
	{"obs/gcpauth/rediscache", []string{"obs/gcpauth"},
		"Redis is linked by who asks for it"},
	{"obs/devui", []string{"internal/msgpack", "internal/ddpayload", "internal/spanattr", "obs/tracing/ddagent"},
		"the viewer sees spans and records through the SDK's and slog's interfaces; of the exporter it knows the mapping alone, so that what it shows is what the agent gets"},
	{"obs/emulator", []string{"internal/ddpayload"},
		"the emulator must not share code with what it checks"},
	{"obs/obstest", []string{"obs", "obs/emulator", "internal/spanqueue"},
		"users' tests get production's wiring, through obs"},
	{"chiobs", []string{"obs/tracing", "obs/logging", "internal/spanattr"},
		"the middleware takes its pipeline from the context or the globals, so it needs no composition root"},
	{"cmd", []string{"obs/devui"},
		"the command is the viewer, standing alone"},
	{"examples", []string{"obs", "chiobs", "obs/devui", "obs/emulator", "obs/gcpauth/rediscache"},
		"an example is what a user can write, so it imports nothing internal"},
	{"internal/spanqueue", []string{"obs/tracing/ddagent"},
		"it stands in the agent exporter's place, with the same account"},
	{"internal/spanattr", nil, "one vocabulary for all, so it stands below all"},
	{"internal/payloadtest", []string{"internal/msgpack"}, "what tests a decoder shares no code with an encoder"},
	{"internal/msgpack", nil, "an encoding knows no domain"},
	{"internal/ddpayload", []string{"internal/msgpack"}, "it reads what the exporter writes, so it shares no code with it"},
	{"internal/braid", []string{"internal/fault", "internal/obsctx", "internal/redact"}, "the log and the spans meet in it, so it stands below both"},
	{"internal/flight", nil, "whoever begins a request begins a flight"},
	{"internal/obsctx", []string{"internal/flight", "internal/redact"}, "what everything imports imports next to nothing"},
	{"internal/fault", nil, "the log and the spans say the same of an error, so it stands below both"},
	{"internal/redact", []string{"internal/jsonscan"}, "what everything imports imports nothing but how to read JSON"},
	{"internal/jsonscan", nil, "an encoding knows no domain"},
	{"internal/archtest", nil, "rules stand outside of what they rule"},
}

// A ban says that no file of some folders imports a package.
type ban struct {
	pkg    string   // the import path, and what lies under it
	except []string // import paths under pkg that are allowed
	in     []string // folders the ban holds for; nil: the whole module
	not    []string // folders it does not hold for
	tests  bool     // holds for test files too
	why    string
}

var bans = []ban{
	{pkg: "testing", not: []string{"obs/obstest"},
		why: "it registers flags in the user's program; obs/obstest is the one package made for tests"},
	{pkg: "text/template", why: "linking it keeps every exported method of the program alive"},
	{pkg: "html/template", why: "linking it keeps every exported method of the program alive"},
	{pkg: "net/http/pprof", tests: true, why: "it registers handlers on the default mux"},
	{pkg: "expvar", tests: true, why: "it registers handlers on the default mux"},
	{pkg: "os/exec", not: []string{"obs/gcpauth/command"},
		why: "a library starts no processes; gcpauth/command exists to do so"},
	{pkg: "unsafe", why: "nothing here is fast enough to need it"},
	{pkg: "github.com/go-chi/chi/v5/middleware", tests: true,
		why: "importing it registers pprof and expvar on the default mux"},
	{pkg: "github.com/DataDog/dd-trace-go", except: []string{"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"}, tests: true,
		why: "the tracer costs 5 MB and 268 packages; ext has the tag names and costs nothing. Oracle tests live in conformance/"},
	{pkg: "github.com/google/go-cmp", why: "it is for tests: it panics on purpose and reflects"},
	{pkg: "github.com/alicebob/miniredis", why: "it is for tests"},
	{pkg: "github.com/go-chi/cors", not: []string{"examples"}, why: "it is the example's"},
	{pkg: "github.com/redis/go-redis", not: []string{"obs/gcpauth/rediscache", "examples"},
		why: "Redis is linked by who asks for it"},
	{pkg: "github.com/go-chi/chi", not: []string{"chiobs", "examples"},
		why: "the router is chiobs's affair: other routers must not link it"},
	{pkg: "cloud.google.com/go", not: []string{"obs/gcpauth", "obs"},
		why: "Google's platform is met in gcpauth, and by obs for the project id"},
	{pkg: "go.opentelemetry.io/otel/sdk", in: []string{"obs/logging", "obs/gcpauth", "chiobs", "internal/obsctx", "internal/spanattr", "internal/redact"},
		why: "instrumentation speaks to OpenTelemetry's API; the SDK is tracing's choice"},
	{pkg: "go.opentelemetry.io/contrib", not: []string{"obs"}, why: "bridges are wired by the composition root"},
	{pkg: "go.opentelemetry.io/otel", in: []string{"obs/gcpauth", "obs/emulator"},
		why: "tokens and the emulator know nothing of spans"},
}

// checkArrows holds the module's own import graph to the arrows.
func checkArrows(files []*source) (violations []string) {
	for _, f := range production(files) {
		a := arrowOf(f.dir())
		if a == nil {
			violations = append(violations, fmt.Sprintf("%s: the package has no arrow; add one to imports_test.go, with its reason", f.name))
			continue
		}
		for p, pos := range f.importsOf() {
			to, ours := strings.CutPrefix(p, modulePath+"/")
			if !ours || a.allows(to) {
				continue
			}
			violations = append(violations, fmt.Sprintf("%s: %s must not import %s: %s", f.at(pos), f.dir(), to, a.why))
		}
	}
	return violations
}

// programs are the folders whose arrow also holds for what lies under them.
var programs = []string{"cmd", "examples"}

func arrowOf(dir string) *arrow {
	for i, a := range arrows {
		if a.from == dir || slices.Contains(programs, a.from) && within(dir, a.from) {
			return &arrows[i]
		}
	}
	return nil
}

func (a *arrow) allows(to string) bool {
	if slices.Contains(programs, a.from) {
		return slices.Contains(a.to, to) || within(to, a.from)
	}
	if slices.Contains(leaves, to) && !slices.Contains(leaves, a.from) {
		return true
	}
	return slices.Contains(a.to, to)
}

func checkBans(files []*source) (violations []string) {
	for _, f := range files {
		for p, pos := range f.importsOf() {
			for _, b := range bans {
				if b.hits(f, p) {
					violations = append(violations, fmt.Sprintf("%s: %s must not import %s: %s", f.at(pos), f.dir(), p, b.why))
				}
			}
		}
	}
	return violations
}

func (b *ban) hits(f *source, imported string) bool {
	if f.test && !b.tests || !within(imported, b.pkg) {
		return false
	}
	if slices.ContainsFunc(b.except, func(e string) bool { return within(imported, e) }) {
		return false
	}
	if slices.Contains(b.not, f.dir()) || slices.ContainsFunc(b.not, func(n string) bool { return n == "examples" && within(f.dir(), n) }) {
		return false
	}
	return b.in == nil || slices.Contains(b.in, f.dir())
}

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	report(t, checkArrows(tree(t)))
}

func TestImportsAreNotBanned(t *testing.T) {
	t.Parallel()
	report(t, checkBans(tree(t)))
}

// A linked ban is about everything a program links by importing a package,
// other modules' packages included.
var linkedBans = []struct {
	roots []string
	pkg   string
	why   string
}{
	{[]string{"obs", "chiobs"}, "testing", "it registers flags in the user's program"},
	{[]string{"obs", "chiobs"}, "net/http/pprof", "it registers handlers on the default mux"},
	{[]string{"obs", "chiobs"}, "expvar", "it registers handlers on the default mux"},
	{[]string{"obs", "chiobs"}, "text/template", "linking it keeps every exported method of the program alive"},
	{[]string{"obs", "chiobs"}, "html/template", "linking it keeps every exported method of the program alive"},
	{[]string{"obs", "chiobs"}, "google.golang.org/protobuf", "it costs megabytes that no protocol of ours needs"},
	{[]string{"obs", "chiobs"}, "google.golang.org/grpc", "it costs megabytes that no protocol of ours needs"},
	{[]string{"obs", "chiobs"}, "github.com/redis/go-redis", "Redis is linked by who asks for it"},
	{[]string{"obs", "chiobs"}, "os/exec", "what starts processes is linked by who asks for it"},
	{[]string{"obs", "chiobs"}, modulePath + "/obs/emulator", "production links no emulator"},
	{[]string{"obs", "chiobs"}, modulePath + "/obs/devui", "the viewer is linked by who asks for it"},
	{[]string{"obs"}, "github.com/go-chi/chi", "the router is chiobs's affair"},
	{[]string{"obs/logging"}, "go.opentelemetry.io/otel/sdk", "a handler is of use without our traces"},
	{[]string{"obs/gcpauth"}, "go.opentelemetry.io/otel/sdk", "tokens are of use without telemetry"},
	{[]string{"obs/emulator"}, "testing", "the example runs it outside of any test"},
}

// TestWhatProgramsLink asks the go command, which knows other modules too.
func TestWhatProgramsLink(t *testing.T) {
	t.Parallel()
	dirs := packageDirs(production(tree(t)))
	deps := make(map[string][]string)
	for _, b := range linkedBans {
		for _, r := range b.roots {
			if !slices.Contains(dirs, r) {
				t.Logf("%s: not there yet", r)
				continue
			}
			if deps[r] == nil {
				deps[r] = linkedBy(t, r)
			}
			for _, d := range deps[r] {
				if within(d, b.pkg) {
					t.Errorf("a program that imports %s links %s: %s", r, d, b.why)
				}
			}
		}
	}
}

func linkedBy(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+dir)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	return strings.Fields(string(out))
}
