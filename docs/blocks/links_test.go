package blocks

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestLinks wants every link within the repository to lead somewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	n := 0
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, doc), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			n++
			if err := leads(doc, m[1]); err != nil {
				t.Errorf("%s: %s: %v", doc, m[1], err)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d links: they were not understood", n)
	}
	for _, wrong := range []string{"docs/none.md", "docs/logging.md#nothing", "#nothing"} {
		if leads("README.md", wrong) == nil {
			t.Errorf("%s leads somewhere", wrong)
		}
	}
}

// leads says whether the target of a link is there, its heading included.
func leads(doc, target string) error {
	file, anchor, _ := strings.Cut(target, "#")
	if file = path.Join(path.Dir(doc), file); strings.HasPrefix(target, "#") {
		file = doc
	}
	file = filepath.Join(root, filepath.FromSlash(file))
	if _, err := os.Stat(file); err != nil || anchor == "" {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
		if slug(h[1]) == anchor {
			return nil
		}
	}
	return fmt.Errorf("no heading %q", anchor)
}

// slug is a heading's anchor, as GitHub makes it.
func slug(heading string) string {
	s := strings.ToLower(strings.NewReplacer(" ", "-", "`", "").Replace(heading))
	return regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(s, "")
}
