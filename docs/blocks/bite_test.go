package blocks

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParse shows what counts as a block.
func TestParse(t *testing.T) {
	t.Parallel()
	text := strings.Join([]string{
		"Say `make test` first:", "", "    go test ./...", "    go vet ./...", "",
		"1. A list, whose lines", "    are no block.", "", "    ```sh", "    make", "    ```", "",
		"Prose.", "", "<!-- frame: var x int -->", "```go", "x++", "```", "~~~json", "{}", "~~~", "",
	}, "\n")
	got, err := parse("a.md", text)
	if err != nil {
		t.Fatal(err)
	}
	want := []block{
		{doc: "a.md", line: 1, lang: "sh", text: "make test", span: true},
		{doc: "a.md", line: 3, lang: "sh", text: "go test ./...\ngo vet ./...\n"},
		{doc: "a.md", line: 9, lang: "sh", text: "make\n"},
		{doc: "a.md", line: 16, lang: "go", text: "x++\n", comment: "frame: var x int"},
		{doc: "a.md", line: 19, lang: "json", text: "{}\n"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(block{})); diff != "" {
		t.Error(diff)
	}
	if _, err := parse("a.md", "```go\n"); err == nil {
		t.Error("a fence that is not closed is no mistake")
	}
}

// TestBite shows that each kind of block can fail, and for the right reason.
func TestBite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		block   block
		wantErr string // "" for none
	}{
		{"statements", block{lang: "go", text: "n := 1\nslog.InfoContext(ctx, \"x\")\n"}, ""},
		{"statements that return", block{lang: "go", text: "if err != nil {\n\treturn err\n}\n"}, ""},
		{"constant and statements", block{lang: "go", text: "const n = 1\nfmt.Println(n)\n"}, ""},
		{"declarations", block{lang: "go", text: "func f() error { return tel.Flush(ctx) }\n"}, ""},
		{"frame", block{lang: "go", text: "store.Load(ctx)\n", comment: "frame: type Store struct{}; var store *Store; func (*Store) Load(context.Context)"}, ""},
		{"unknown field", block{lang: "go", text: "_ = obs.Options{Servise: \"shop\"}\n"}, "bite.md:8:17: unknown field Servise"},
		{"undefined", block{lang: "go", text: "store.Load(ctx)\n"}, "undefined: store"},
		{"own imports must be whole", block{lang: "go", text: "import \"io\"\n\nvar e = io.EOF\nvar d time.Duration\n"}, "undefined: time"},
		{"program uses its imports", block{lang: "go", text: "package main\n\nimport \"io\"\n\nfunc main() {}\n"}, `"io" imported and not used`},
		{"package not known", block{lang: "go", text: "import \"example.com/x\"\n\nvar _ = x.Y\n"}, "not among the packages of imports.go"},
		{"other language", block{lang: "rust", text: "fn main() {}\n"}, "nobody knows"},
		{"no language", block{text: "printed\n"}, "nobody knows"},
		{"listed", block{lang: "rust", text: "fn main() {}\n", comment: "not run: there is no Rust here"}, ""},
		{"listed without a reason", block{lang: "rust", comment: "not run: no"}, "say why"},
		{"unknown output", block{comment: "output of: nothing"}, "no output is called"},
		{"JSON", block{lang: "json", text: "{}\n{\"a\":1}\n"}, ""},
		{"not JSON", block{lang: "json", text: "{a:1}\n"}, "invalid character"},
		{"empty JSON", block{lang: "json", text: "\n"}, "EOF"},
		{"script", block{lang: "sh", text: "if true; then\n"}, "bash -n"},
		{"unknown program", block{lang: "sh", text: "rm -rf build\n"}, "nobody knows"},
		{"make", block{lang: "sh", text: "make nothing\n"}, "nothing"},
		{"package of go run", block{lang: "sh", text: "go run ./examples/none\n"}, "none"},
		{"flag of go run", block{lang: "sh", text: "go run ./examples/chi-app -port 1\n"}, "knows no flag -port"},
		{"module of go get", block{lang: "sh", text: "go get github.com/kumihimo/obs\n"}, "none of our modules"},
		{"test of go test", block{lang: "sh", text: "go test -run=TestNothingAtAll ./...\n"}, "no test is called"},
		{"path of curl", block{lang: "sh", text: "curl http://127.0.0.1:8080/nothing\n"}, "404"},
		{"span", block{lang: "sh", text: "make nothing", span: true}, "nothing"},
		{"name", block{lang: "sh", text: "obs.Options.Redact", span: true}, ""},
		{"no name of a package", block{lang: "sh", text: "obs.Begin(ctx)", span: true}, "no such name"},
		{"no field of a type", block{lang: "sh", text: "chiobs.Config.Redact", span: true}, "no such name"},
		{"field of one of several types", block{lang: "sh", text: "Options.Labels", span: true}, ""},
		{"field of none of them", block{lang: "sh", text: "Options.Labelled", span: true}, "no Options of ours"},
		{"method", block{lang: "sh", text: "tel.Flosh(ctx)", span: true}, "no Telemetry of ours"},
		{"span that is no command", block{lang: "sh", text: "go.mod", span: true}, ""},
		{"file", block{lang: "go", text: "var x int\n", comment: "conformance/recipes/sql.go"}, "differs"},
		{"no file", block{lang: "go", text: "var x int\n", comment: "conformance/none.go"}, "none.go"},
	}
	c := newChecker(t, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.block.doc, tt.block.line = "bite.md", 7
			_, err := c.try(t.Context(), tt.block)
			switch {
			case tt.wantErr == "" && err != nil:
				t.Error(err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

// TestShows shows what a sample may differ in.
func TestShows(t *testing.T) {
	t.Parallel()
	const printed = "start\n02:13:22.720 INFO  GET /users/7 200 320µs        trace=40f3c540\nend\n"
	tests := []struct {
		name, sample string
		want         bool
	}{
		{"times and ids", "10:00:00.001 INFO  GET /users/7 200 1.5ms      trace=00000001\n", true},
		{"a part", "start\nend\n", true},
		{"another status", "10:00:00.001 INFO  GET /users/7 500 1.5ms      trace=00000001\n", false},
		{"another key", "10:00:00.001 INFO  GET /users/7 200 1.5ms      trace_id=00000001\n", false},
		{"another order", "end\nstart\n", false},
	}
	for _, tt := range tests {
		if err := shows(printed, tt.sample); (err == nil) != tt.want {
			t.Errorf("%s: %v, want equal: %t", tt.name, err, tt.want)
		}
	}
}

// TestRecipes wants every file of recipes in its document.
func TestRecipes(t *testing.T) {
	t.Parallel()
	blocks, err := parse("docs/recipes.md", readDoc(t, "docs/recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := make(map[string]bool)
	for _, b := range blocks {
		if b.lang == "go" && !b.quotes() {
			t.Errorf("%v: of no file, so nothing runs it", b)
		}
		quoted[b.comment] = true
	}
	const dir = "conformance/recipes"
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if path.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") && e.Name() != "doc.go" && !quoted[name] {
			t.Errorf("%s: not in docs/recipes.md", name)
		}
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	if err := namesDocument("conformance/deploy", "docs/cloud-run.md"); err != nil {
		t.Error(err)
	}
	if namesDocument("conformance/deploy", "docs/logging.md") == nil || namesDocument("conformance/none", "docs/cloud-run.md") == nil {
		t.Error("a test that is not there names a document")
	}
}

// TestReasons wants a reason beside everything that the guide says is not here.
func TestReasons(t *testing.T) {
	t.Parallel()
	rows := 0
	for line := range strings.Lines(readDoc(t, "docs/migrating.md")) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 2 || !strings.HasPrefix(cells[0], "|") {
			continue
		}
		rows++
		reason, missing := strings.CutPrefix(cells[1], "not here")
		_, reason, _ = strings.Cut(reason, " ")
		if here := strings.TrimSuffix(cells[1], "|"); strings.TrimSpace(here) == "" && !strings.Contains(cells[0], "**") || missing && len(reason) < 20 {
			t.Errorf("no word on where it lives, or why not: %s", line)
		}
	}
	if rows < 150 {
		t.Errorf("%d rows: the tables were not understood", rows)
	}
}
