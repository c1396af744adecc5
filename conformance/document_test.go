package conformance

import (
	stdflag "flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = stdflag.Bool("update", false, "put the list into docs/datadog.md")

// TestDocumentDifferences holds the list of docs/datadog.md: where spans differ
// from what the agent's own OTLP intake makes of them. TestMappingIsTheAgents
// shows that these are all, and that each is one.
func TestDocumentDifferences(t *testing.T) {
	var list strings.Builder
	for _, d := range mappingDifferences {
		list.WriteString("- " + d.reason + "\n")
	}
	file := filepath.Join("..", "docs", "datadog.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile("<!-- differences -->\n((?:- [^\n]*\n)+)").FindSubmatchIndex(text)
	if at == nil {
		t.Fatal("docs/datadog.md has no list of differences")
	}
	switch got := string(text[at[2]:at[3]]); {
	case got == list.String():
	case *update:
		if err := os.WriteFile(file, slices.Concat(text[:at[2]], []byte(list.String()), text[at[3]:]), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/datadog.md has\n%swant\n%srun with -update", got, list.String())
	}
}
