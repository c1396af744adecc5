package otlp

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImports: the pipeline is obs's affair, and who writes another may use this
// package too. Of kumihimo it takes the tokens and what lies below everything.
func TestImports(t *testing.T) {
	t.Parallel()
	const module = "github.com/kumihimo/kumihimo/"
	allowed := []string{"obs/gcpauth", "internal/redact", "internal/obsctx", "internal/fault"}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range f.Imports {
			path, ours := strings.CutPrefix(strings.Trim(im.Path.Value, `"`), module)
			if ours && !strings.HasSuffix(name, "_test.go") && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
