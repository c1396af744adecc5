package obs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/redact"
)

var update = flag.Bool("update", false, "write docs/configuration.md and README.md's table of variables")

// module is the repository's folder.
const module = ".."

// documented are the structs of docs/configuration.md, by their package's
// folder: those of obs and chiobs first, then those of the parts.
var documented = []struct {
	dir   string
	types []string
}{
	{"obs", []string{"Options", "FlightRecorder"}},
	{"obs/tracing", []string{"SamplingRule"}},
	{"chiobs", []string{"Config", "Trust", "Access"}},
	{"obs/otlp", []string{"Options"}},
	{"obs/gcpauth", []string{"MetadataOptions", "CacheOptions", "Transport"}},
	{"obs/gcpauth/adc", []string{"Options"}},
	{"obs/gcpauth/rediscache", []string{"Options"}},
	{"obs/devui", []string{"Options"}},
	{"obs/logging", []string{"Options"}},
	{"obs/tracing", []string{"Options", "SamplerOptions", "PropagatorOptions"}},
	{"obs/tracing/ddagent", []string{"Options", "ProcessorOptions"}},
}

// elsewhere are the variables that others read: names, who, what for.
var elsewhere = [][3]string{
	{"OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "`obs/otlp`", "the receiver; those of one signal are taken as they are, the general one gets `/v1/traces` or `/v1/logs`"},
	{"OTEL_EXPORTER_OTLP_HEADERS", "`obs/otlp`", "headers of each request, `name=value,…`, percent-encoded"},
	{"OTEL_EXPORTER_OTLP_TIMEOUT", "`obs/otlp`", "milliseconds that one request may take"},
	{"OTEL_EXPORTER_OTLP_COMPRESSION", "`obs/otlp`", "`gzip` or `none`"},
	{"OTEL_EXPORTER_OTLP_PROTOCOL", "`obs/otlp`", "`http/protobuf`; another one is an error"},
	{"OTEL_EXPORTER_OTLP_CERTIFICATE", "`obs/otlp`", "file of the certificates that the receiver's is checked against"},
	{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_KEY", "`obs/otlp`", "files of the client's own certificate and key"},
	{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_SPAN_EVENT_COUNT_LIMIT OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT OTEL_SPAN_LINK_COUNT_LIMIT OTEL_LINK_ATTRIBUTE_COUNT_LIMIT OTEL_ATTRIBUTE_COUNT_LIMIT OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OpenTelemetry's SDK", "how much a span may hold"},
	{"GOOGLE_APPLICATION_CREDENTIALS", "`obs/gcpauth/adc`", "file of the credentials"},
	{"HTTPS_PROXY HTTP_PROXY NO_PROXY", "`net/http`", "the proxy between the program and its agent or receiver"},
	{"GOMEMLIMIT", "Go's runtime", "the memory of which the queue of spans takes 5 % at most"},
}

const preface = `# Configuration

<!-- Written by "go test ./obs -run Documents -update" of the comments in the code. -->

A set field of ` + "`obs.Options`" + ` counts first, then the environment, then what is detected. An empty variable is as good as none.
A value that cannot be understood is an error of ` + "`obs.Init`" + `, one that names every mistake. The line ` + "`telemetry started`" + ` says
what is in effect and where it came from.

The zero value of each struct below is the production default. None is written to.

## Environment

`

// TestDocumentsOfConfiguration compares docs/configuration.md and README.md's
// table with the code.
func TestDocumentsOfConfiguration(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| variable | before it | sets | default |\n|---|---|---|---|\n")
	for _, v := range variables {
		field := ""
		if v.option != "" {
			field = "`Options." + v.option + "`"
		}
		row(&b, names(v.names), field, v.sets, v.absent)
	}
	b.WriteString("\nOf several variables in a row the first that is set counts. These are read by others:\n\n")
	b.WriteString("| variable | read by | sets |\n|---|---|---|\n")
	for _, e := range elsewhere {
		row(&b, names(e[0]), e[1], e[2])
	}
	b.WriteString("\n`obs/otlp` reads each of its variables also for one signal alone, with `TRACES_` or `LOGS_` after `OTLP_`: that one counts\nbefore the general one.\n")
	for _, d := range documented {
		p := parsePackage(t, d.dir)
		for _, name := range d.types {
			b.WriteString(section(t, p, name))
		}
	}
	document(t, "docs/configuration.md", b.String())

	readme, err := os.ReadFile(filepath.Join(module, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- variables, by go test ./obs -update -->\n\n", "\n<!-- end -->"
	before, rest, found := strings.Cut(string(readme), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("README.md: no table between %q and %q", begin, end)
	}
	var table strings.Builder
	table.WriteString("| variable | sets | default |\n|---|---|---|\n")
	for _, v := range variables {
		row(&table, names(v.names), v.sets, v.absent)
	}
	document(t, "README.md", before+begin+table.String()+end+after)
}

func document(t *testing.T, name, want string) {
	t.Helper()
	file := filepath.Join(module, filepath.FromSlash(name))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s is stale, go test ./obs -run Documents -update writes it; want -, got +:\n%s", name, diff)
	}
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// names are those of variables, as code.
func names(list string) string {
	return "`" + strings.Join(strings.Fields(list), "`, `") + "`"
}

func parsePackage(t *testing.T, dir string) *doc.Package {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	entries, err := os.ReadDir(filepath.Join(module, filepath.FromSlash(dir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".go" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(module, filepath.FromSlash(dir), e.Name()), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/kumihimo/kumihimo/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// section describes a struct, or a type of constants.
func section(t *testing.T, p *doc.Package, name string) string {
	t.Helper()
	i := slices.IndexFunc(p.Types, func(typ *doc.Type) bool { return typ.Name == name })
	if i < 0 {
		t.Fatalf("%s has no type %s", p.Name, name)
	}
	typ := p.Types[i]
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s.%s\n\n%s\n\n", p.Name, name, wrapped(typ.Doc))
	st, ok := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
	if !ok {
		b.WriteString("| value | is |\n|---|---|\n")
		for _, c := range typ.Consts {
			for _, s := range c.Decl.Specs {
				v := s.(*ast.ValueSpec)
				row(&b, "`"+p.Name+"."+v.Names[0].Name+"`", prose(v.Doc.Text()+" "+v.Comment.Text()))
			}
		}
		return b.String()
	}
	b.WriteString("| field | type | is |\n|---|---|---|\n")
	said, by := "", "" // the last comment, and of which field
	for _, f := range st.Fields.List {
		var fields []string
		for _, n := range f.Names {
			if n.IsExported() {
				fields = append(fields, n.Name)
			}
		}
		if len(fields) == 0 {
			continue
		}
		text := prose(f.Doc.Text() + " " + f.Comment.Text())
		switch {
		case text != "":
			said, by = text, fields[0]
		case strings.Contains(said, fields[0]): // one comment for several
			text = "see `" + by + "`"
		default:
			t.Errorf("%s.%s.%s: not documented", p.Name, name, fields[0])
		}
		row(&b, names(strings.Join(fields, " ")), "`"+typeOf(f)+"`", text)
	}
	return b.String()
}

// typeOf says whose log a type is of, there being two.
func typeOf(f *ast.Field) string {
	return strings.Replace(types.ExprString(f.Type), "log.LoggerProvider", "otel/log.LoggerProvider", 1)
}

var link = regexp.MustCompile(`\[(\*?[A-Za-z][\w./]*)\]`)

// prose is a comment on one line, its links as code.
func prose(comment string) string {
	return link.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "`$1`")
}

// wrapped is a comment in lines as long as those of the documents.
func wrapped(comment string) string {
	const width = 118
	var paragraphs []string
	for p := range strings.SplitSeq(strings.TrimSpace(comment), "\n\n") {
		var b strings.Builder
		used := 0
		for _, w := range strings.Fields(prose(p)) {
			switch n := len([]rune(w)); {
			case used == 0:
				used = n
			case used+1+n > width:
				b.WriteString("\n")
				used = n
			default:
				b.WriteString(" ")
				used += 1 + n
			}
			b.WriteString(w)
		}
		paragraphs = append(paragraphs, b.String())
	}
	return strings.Join(paragraphs, "\n\n")
}

// TestVariables: what is read is in the table, and the other way round.
func TestVariables(t *testing.T) {
	t.Parallel()
	p := parsePackage(t, "obs")
	asked := make(map[string]bool)
	for _, set := range [][]string{
		nil, {"K_SERVICE=s"}, {"K_SERVICE=s", "FUNCTION_TARGET=f"}, {"CLOUD_RUN_JOB=j"}, {"dmi=Google Compute Engine", "KUBERNETES_SERVICE_HOST=h"},
		{"DD_TRACE_AGENT_URL=https://a.example", "OBS_AGENT_AUTH=google", "GCE_METADATA_HOST=m"}, {"OTEL_TRACES_SAMPLER=traceidratio"},
	} {
		env := world(set...)
		vars := env.vars
		env.vars = func(name string) (string, bool) { asked[name] = true; return vars(name) }
		_, _ = resolve(Options{}, env, redact.New(nil)) // what is wrong is not the matter here
	}
	for _, v := range variables {
		for _, name := range strings.Fields(v.names) {
			if !asked[name] {
				t.Errorf("%s is in the table, and never read", name)
			}
		}
		if v.option != "" && !hasField(p, v.option) {
			t.Errorf("%s: Options has no field %s", v.names, v.option)
		}
	}
	if v, ok := world("DD_UNHEARD_OF=x").lookup("DD_UNHEARD_OF"); ok || v != "" {
		t.Error("a variable is read that is not in the table")
	}
	checkLiterals(t)
}

func hasField(p *doc.Package, name string) bool {
	for _, typ := range p.Types {
		if typ.Name != "Options" {
			continue
		}
		for _, f := range typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
			if slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.Name == name }) {
				return true
			}
		}
	}
	return false
}

var (
	variableName = regexp.MustCompile(`"((?:DD|OTEL|OBS|K|GOOGLE|GCE|GCP|CLOUD|CLOUDSDK|FUNCTION|KUBERNETES)_[A-Z_]*[A-Z])"`)
	otlpSetting  = regexp.MustCompile(`r\.(?:each|names)\("([A-Z_]+)"`)
)

// checkLiterals looks for variables that are named in the code, of packages of
// other modules too, and in no table.
func checkLiterals(t *testing.T) {
	t.Helper()
	known := make(map[string]bool)
	for _, v := range variables {
		for _, name := range strings.Fields(v.names) {
			known[name] = true
		}
	}
	for _, e := range elsewhere {
		for _, name := range strings.Fields(e[0]) {
			known[name] = true
		}
	}
	settings := 0
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && path != module && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "conformance", "benchmarks", "docs"}, d.Name())) {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		code, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range variableName.FindAllStringSubmatch(string(code), -1) {
			if !known[m[1]] {
				t.Errorf("%s: %s is in no table", path, m[1])
			}
		}
		for _, m := range otlpSetting.FindAllStringSubmatch(string(code), -1) {
			settings++
			if !known["OTEL_EXPORTER_OTLP_"+m[1]] {
				t.Errorf("%s: OTEL_EXPORTER_OTLP_%s is in no table", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if settings == 0 {
		t.Error("obs/otlp reads its variables in another way now: this test no longer finds them")
	}
}
