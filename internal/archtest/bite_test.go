package archtest

import (
	"encoding/json"
	"go/token"
	"strings"
	"testing"
)

// TestRulesBite breaks each rule on purpose: a rule that finds nothing in a
// clean tree must be known to find something in a dirty one.
func TestRulesBite(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("//\n", maxFileLines)
	body := strings.Repeat("\t_ = 1\n", maxFuncLines)
	ours := modulePath + "/"
	tests := []struct {
		name  string
		check func([]*source) []string
		file  string
		text  string
		want  string // part of the one violation; "" for none
	}{
		{"logging imports tracing", checkArrows, "obs/logging/a.go", `package logging; import _ "` + ours + `obs/tracing"`, "must not import obs/tracing"},
		{"a part imports obs", checkArrows, "obs/gcpauth/a.go", `package gcpauth; import _ "` + ours + `obs"`, "must not import obs:"},
		{"the exporter imports gcpauth", checkArrows, "obs/tracing/ddagent/a.go", `package ddagent; import _ "` + ours + `obs/gcpauth"`, "*http.Client"},
		{"obs links the viewer", checkArrows, "obs/a.go", `package obs; import _ "` + ours + `obs/devui"`, "composition root"},
		{"an example reaches inside", checkArrows, "examples/x/a.go", `package main; import _ "` + ours + `internal/obsctx"`, "what a user can write"},
		{"an example imports its own", checkArrows, "examples/x/a.go", `package main; import _ "` + ours + `examples/x/shop"`, ""},
		{"a leaf imports upwards", checkArrows, "internal/redact/a.go", `package redact; import _ "` + ours + `internal/obsctx"`, "imports nothing"},
		{"a package without an arrow", checkArrows, "internal/utils/a.go", `package utils`, "has no arrow"},
		{"a test may", checkArrows, "obs/logging/a_test.go", `package logging; import _ "` + ours + `obs/tracing"`, ""},

		{"testing in production", checkBans, "obs/a.go", `package obs; import _ "testing"`, "registers flags"},
		{"testing in obstest", checkBans, "obs/obstest/a.go", `package obstest; import _ "testing"`, ""},
		{"the tracer in a test", checkBans, "obs/a_test.go", `package obs; import _ "github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"`, "268 packages"},
		{"the tag names", checkBans, "obs/tracing/ddagent/a.go", `package ddagent; import _ "github.com/DataDog/dd-trace-go/v2/ddtrace/ext"`, ""},
		{"chi's middleware in a test", checkBans, "chiobs/a_test.go", `package chiobs; import _ "github.com/go-chi/chi/v5/middleware"`, "pprof"},
		{"logging on the SDK", checkBans, "obs/logging/a.go", `package logging; import _ "go.opentelemetry.io/otel/sdk/trace"`, "SDK is tracing's choice"},
		{"the router outside chiobs", checkBans, "obs/a.go", `package obs; import _ "github.com/go-chi/chi/v5"`, "other routers"},

		{"no package comment", checkPackageDocs, "obs/a.go", "package obs", "0 package comments"},
		{"a wrong package comment", checkPackageDocs, "obs/a.go", "// This is obs.\npackage obs", "must begin with"},
		{"a good package comment", checkPackageDocs, "obs/a.go", "// Package obs is.\npackage obs", ""},
		{"no code in the package comment", checkTutorials, "obs/a.go", "// Package obs is.\npackage obs", "shows no code"},
		{"a file that is gone", checkTutorials, "obs/a.go", "// Package obs is\n//\n//\tobs.New()\n//\n// Read b.go.\npackage obs", "names b.go"},
		{"a tutorial", checkTutorials, "obs/a.go", "// Package obs is\n//\n//\tobs.New()\n//\n// Read a.go, a*.go.\npackage obs", ""},
		{"init", checkNoInit, "obs/a.go", "package obs; func init() {}", "func init"},
		{"a method named init", checkNoInit, "obs/a.go", "package obs; type a int; func (a) init() {}", ""},
		{"the environment", checkEnvironment, "obs/logging/a.go", `package logging; import "os"; func f() string { return os.Getenv("A") }`, "os.Getenv"},
		{"the environment in its file", checkEnvironment, "obs/env.go", `package obs; import "os"; func f() string { return os.Getenv("A") }`, ""},
		{"a long file", checkSizes, "obs/a.go", "package obs\n" + long, "at most 400"},
		{"a long function", checkSizes, "obs/a.go", "package obs\nfunc f() {\n" + body + "}", "at most 60"},
		{"a hook by alias", checkPackageState, "obs/a.go", `package obs; import "time"; var now = time.Now`, "now holds a function"},
		{"a hook by literal", checkPackageState, "obs/a.go", `package obs; var hook = func() {}`, "hook holds a function"},
		{"a hook by type", checkPackageState, "obs/a.go", `package obs; var hook func()`, "hook holds a function"},
		{"a written variable", checkPackageState, "obs/a.go", `package obs; var n int; func f() { n = 1 }`, "writes to the package variable n"},
		{"a written map", checkPackageState, "obs/a.go", `package obs; var m = map[int]int{}; func f() { m[1]++ }`, "writes to the package variable m"},
		{"a shadowed variable", checkPackageState, "obs/a.go", `package obs; var n int; func f() (n int) { n = 1; return n }`, ""},
		{"a table", checkPackageState, "obs/a.go", `package obs; var m = map[int]int{1: 2}; func f() int { return m[1] }`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := parse(token.NewFileSet(), tt.file, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			wantViolation(t, tt.check([]*source{f}), tt.want)
		})
	}
}

func TestGoModRuleBites(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, json, want string
	}{
		{"too many", `{"Require":[` + strings.Repeat(`{"Path":"a"},`, maxDirect) + `{"Path":"a"}]}`, "15 direct"},
		{"indirect ones do not count", `{"Require":[` + strings.Repeat(`{"Path":"a","Indirect":true},`, maxDirect) + `{"Path":"a"}]}`, ""},
		{"replace", `{"Replace":[{"Old":{"Path":"a"}}]}`, "replace"},
		{"tool", `{"Tool":[{"Path":"a"}]}`, "tool block"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var m gomod
			if err := json.Unmarshal([]byte(tt.json), &m); err != nil {
				t.Fatal(err)
			}
			wantViolation(t, checkGoMod(m), tt.want)
		})
	}
}

func TestExampleRuleBites(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text, want string
	}{
		{"none", "package a_test", "no example of New"},
		{"by its type's", "package a_test\nfunc ExampleThing() {\n\ta.New()\n\t// Output: x\n}", ""},
		{"by its type's, not called", "package a_test\nfunc ExampleThing() {\n\t// Output: x\n}", "no example of New"},
		{"by another's", "package a_test\nfunc ExampleOther() {\n\ta.New()\n\t// Output: x\n}", "no example of New"},
		{"never run", "package a_test\nfunc ExampleNew() { a.New() }", "no output comment"},
		{"good", "package a_test\nfunc ExampleNew() {\n\ta.New()\n\t// Output: x\n}", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := parse(token.NewFileSet(), "obs/a_test.go", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			wantViolation(t, checkExamples("obs", api{funcs: map[string]string{"New": "Thing"}}, []*source{f}), tt.want)
		})
	}
}

func wantViolation(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("got %q, want no violation", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("got %q, want one violation with %q", got, want)
	}
}
