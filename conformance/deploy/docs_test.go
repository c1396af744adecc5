package deploy

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "put output and tables into the documents")

var root = filepath.Join("..", "..")

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hold compares the block of code or the table below a comment <!-- mark --> in
// the document with want, or puts want there.
func hold(t *testing.T, doc, mark, want string) {
	t.Helper()
	text := read(t, doc)
	block := regexp.MustCompile("(?s)(<!-- " + regexp.QuoteMeta(mark) + " -->\n)(```.*?\n```\n|(?:\\|[^\n]*\n)+)")
	at := block.FindStringSubmatchIndex(text)
	if at == nil {
		t.Fatalf("%s: no block <!-- %s -->", doc, mark)
	}
	switch got := text[at[4]:at[5]]; {
	case got == want:
	case *update:
		if err := os.WriteFile(filepath.Join(root, doc), []byte(text[:at[4]]+want+text[at[5]:]), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	default:
		t.Errorf("%s, <!-- %s -->: got\n%s\nwant\n%s\nrun with -update", doc, mark, got, want)
	}
}

// TestUntried: each dagger of the text has its line in the list at the end.
func TestUntried(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"docs/cloud-run.md", "docs/datadog.md"} {
		text, list, found := strings.Cut(read(t, doc), "\n## Not tried\n")
		if !found || strings.Count(list, "\n- ") < 3 || strings.Contains(list, "\n## ") {
			t.Errorf("%s: want a list of what was not tried at the end", doc)
		}
		if strings.Count(text, "†") < 3 {
			t.Errorf("%s: nothing is marked by †", doc)
		}
	}
}
