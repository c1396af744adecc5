package archtest

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// public are the packages users import.
func public(dir string) bool {
	return dir == "chiobs" || within(dir, "obs")
}

// An api is the exported names of one package.
type api struct {
	funcs   map[string]string   // by name, the type that a constructor returns, or ""
	types   map[string]bool     // whether it has a constructor
	methods map[string][]string // by type
	others  int                 // constants and variables
}

func (a *api) names() int { return len(a.funcs) + len(a.types) + a.others }

// exported parses the files anew: go/doc writes to the trees it is given, and
// other tests read ours.
func exported(dir string, files []*source) (api, error) {
	a := api{funcs: make(map[string]string), types: make(map[string]bool), methods: make(map[string][]string)}
	var trees []*ast.File
	fset := token.NewFileSet()
	for _, f := range production(files) {
		again, err := parse(fset, f.name, nil)
		if err != nil {
			return a, err
		}
		trees = append(trees, again.ast)
	}
	p, err := doc.NewFromFiles(fset, trees, modulePath+"/"+dir)
	if err != nil {
		return a, err
	}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			for _, name := range v.Names {
				if ast.IsExported(name) {
					a.others++
				}
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	for _, f := range p.Funcs {
		a.funcs[f.Name] = ""
	}
	for _, typ := range p.Types {
		values(typ.Consts)
		values(typ.Vars)
		a.types[typ.Name] = len(typ.Funcs) > 0
		for _, m := range typ.Methods {
			a.methods[typ.Name] = append(a.methods[typ.Name], m.Name)
		}
		for _, f := range typ.Funcs {
			a.funcs[f.Name] = typ.Name
		}
	}
	return a, nil
}

// calledByOthers are methods that no program calls by itself.
var calledByOthers = map[string]string{
	"LogValue": "log/slog", "Format": "fmt", "String": "fmt", "MarshalText": "encoders", "MarshalBinary": "encoders", "UnmarshalText": "decoders",
	"Write": "slog's handlers", "Enabled": "log/slog", "Handle": "log/slog", "WithAttrs": "log/slog", "WithGroup": "log/slog",
	"OnStart": "OpenTelemetry's SDK", "OnEnd": "OpenTelemetry's SDK", "ForceFlush": "OpenTelemetry's SDK", "ExportSpans": "OpenTelemetry's SDK",
	"RoundTrip": "net/http", "CloseIdleConnections": "net/http", "ServeHTTP": "net/http",
	"Pipeline": "package obs", "WithResource": "package obs", "ReportTo": "package obs",
	"Invalidate": "gcpauth.Transport", "Identity": "gcpauth.Cached",
	"Get": "gcpauth.Cached", "Set": "gcpauth.Cached", "Lock": "gcpauth.Cached",
}

// withoutExample are names that need no example, with the reason.
var withoutExample = map[string]string{
	"obs.Finding": "Telemetry.Check's example ranges over them", "obs.Findings": "Telemetry.Check's example has them",
	"obs.FlightStats": "numbers in Stats", "obs/emulator.SpanEvent": "in a Span", "obs/emulator.SpanLink": "in a Span",
	"obs/gcpauth.Locker": "implemented by rediscache", "obs/gcpauth.Refusal": "Transport.Refusal's example prints one",
	"obs/obstest.Event": "in a Span", "obs/obstest.Record": "Recorder.Span's example prints one",
	"obs/tracing/ddagent.Names": "obs.Options's example changes them", "obs/tracing/ddagent.Probe": "Exporter.Probe's example prints one",
	"obs/otlp.LogStats": "numbers", "obs/otlp.LogsDropped": "numbers", "obs/otlp.LogsDropped.Total": "their sum",
}

// usage is what the examples of a package show.
type usage struct {
	examples []string        // their names
	used     map[string]bool // the identifiers in them
}

// has reports whether there is an example of a name, or of one of its methods.
func (u *usage) has(name string) bool {
	return slices.ContainsFunc(u.examples, func(ex string) bool { return ex == name || strings.HasPrefix(ex, name+"_") })
}

// checkExamples wants every example compared with its output; an example of
// each function, where that of the type it returns will do if it calls it; and
// each type without a constructor and each method used by some example.
func checkExamples(dir string, a api, files []*source) (violations []string) {
	u := usage{used: make(map[string]bool)}
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, ex := range doc.Examples(f.ast) {
			if ex.Output == "" && !ex.EmptyOutput {
				violations = append(violations, fmt.Sprintf("%s: Example%s has no output comment, so it is never run", f.name, ex.Name))
			}
			u.examples = append(u.examples, ex.Name)
			ast.Inspect(ex.Code, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					u.used[id.Name] = true
				}
				return true
			})
		}
	}
	miss := func(name, what string) {
		if withoutExample[dir+"."+name] == "" {
			violations = append(violations, fmt.Sprintf("%s: no example %s %s", dir, what, name))
		}
	}
	for f, typ := range a.funcs {
		if !u.has(f) && (typ == "" || !u.has(typ) || !u.used[f]) {
			miss(f, "of")
		}
	}
	for typ, made := range a.types {
		if !made && !u.has(typ) && !u.used[typ] {
			miss(typ, "uses")
		}
		for _, m := range a.methods[typ] {
			if calledByOthers[m] == "" && !u.has(typ+"_"+m) && !u.used[m] {
				miss(typ+"."+m, "calls")
			}
		}
	}
	return violations
}

// nested are public packages in modules of their own.
var nested = []string{"obs/gcpauth/adc", "obs/otlp"}

func TestExamples(t *testing.T) {
	t.Parallel()
	files := tree(t)
	pkgs := packages(files)
	dirs := slices.DeleteFunc(packageDirs(production(files)), func(dir string) bool { return !public(dir) })
	for _, dir := range nested {
		pkgs[dir] = folder(t, dir)
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		a, err := exported(dir, pkgs[dir])
		if err != nil {
			t.Fatal(err)
		}
		methods, examples := 0, 0
		for _, m := range a.methods {
			methods += len(m)
		}
		for _, f := range pkgs[dir] {
			if f.test {
				examples += len(doc.Examples(f.ast))
			}
		}
		t.Logf("%-24s %2d exported names, %2d methods, %2d examples", dir, a.names(), methods, examples)
		report(t, checkExamples(dir, a, pkgs[dir]))
	}
	for name := range withoutExample {
		dir, rest, _ := strings.Cut(name, ".")
		if a, err := exported(dir, pkgs[dir]); err != nil || !a.has(rest) {
			t.Errorf("withoutExample: %s is no more", name)
		}
	}
}

// has reports whether a name, or a type and its method, is exported.
func (a *api) has(name string) bool {
	typ, method, _ := strings.Cut(name, ".")
	_, isFunc := a.funcs[name]
	_, isType := a.types[typ]
	return isFunc || isType && (method == "" || slices.Contains(a.methods[typ], method))
}

// folder parses the files of one folder.
func folder(t *testing.T, dir string) (files []*source) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".go" {
			continue
		}
		f, err := parse(fset, dir+"/"+e.Name(), nil)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}
