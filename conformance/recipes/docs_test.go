package recipes

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "put the code into docs/recipes.md")

const recipesDoc = "../../docs/recipes.md"

// block is a file's name in a comment and the code below it.
var block = regexp.MustCompile("(?s)<!-- ([a-z]+\\.go) -->\n```go\n(.*?)```")

// TestDocs compares each block of the document with the file it is from, less
// the package clause.
func TestDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(recipesDoc)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{"doc.go": true}
	fresh := block.ReplaceAllStringFunc(string(text), func(b string) string {
		name := block.FindStringSubmatch(b)[1]
		seen[name] = true
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		body := strings.TrimPrefix(string(code), "package recipes\n\n")
		body = regexp.MustCompile(` //nolint:\S+ // `).ReplaceAllString(body, " // ")
		return "<!-- " + name + " -->\n```go\n" + body + "```"
	})
	if n := strings.Count(string(text), "```go"); n != len(seen)-1 {
		t.Errorf("%d blocks of Go, %d from files", n, len(seen)-1)
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !seen[name] {
			t.Errorf("%s: not in the document", name)
		}
	}
	switch {
	case fresh == string(text):
	case *update:
		if err := os.WriteFile(recipesDoc, []byte(fresh), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	default:
		t.Error("docs/recipes.md differs from the code; run with -update")
	}
}
