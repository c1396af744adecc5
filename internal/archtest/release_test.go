package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	release  = regexp.MustCompile(`^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$`)
	sections = []string{"### Added", "### Changed", "### Deprecated", "### Removed", "### Fixed", "### Security"}
)

// checkChangelog wants the form of https://keepachangelog.com: what is not
// released first, then each version with its date, and under them the kinds of
// change it knows.
func checkChangelog(text string) (violations []string) {
	for i, line := range strings.Split(text, "\n") {
		at := fmt.Sprintf("CHANGELOG.md:%d", i+1)
		switch {
		case strings.HasPrefix(line, "## ") && line != "## [Unreleased]" && !release.MatchString(line):
			violations = append(violations, at+`: want "## [Unreleased]" or "## [1.2.3] - 2026-01-02"`)
		case strings.HasPrefix(line, "### ") && !slices.Contains(sections, line):
			violations = append(violations, fmt.Sprintf("%s: want one of %q", at, sections))
		}
	}
	if first := regexp.MustCompile(`(?m)^## .*$`).FindString(text); first != "## [Unreleased]" {
		violations = append(violations, fmt.Sprintf("CHANGELOG.md: begins with %q, want Unreleased: a change has to go somewhere", first))
	}
	return violations
}

func TestChangelog(t *testing.T) {
	t.Parallel()
	report(t, checkChangelog(readFile(t, "CHANGELOG.md")))
}

func TestChangelogRuleBites(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"good", "## [Unreleased]\n### Added\n- x\n## [0.1.0] - 2026-12-01\n### Fixed\n", ""},
		{"no place for changes", "## [0.1.0] - 2026-12-01\n", "want Unreleased"},
		{"no date", "## [Unreleased]\n## [0.1.0]\n", "CHANGELOG.md:2"},
		{"another kind", "## [Unreleased]\n### Misc\n", "want one of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantViolation(t, checkChangelog(tt.text), tt.want)
		})
	}
}

var (
	uses   = regexp.MustCompile(`(?m)^\s*(?:- )?uses:\s*(.*)$`)
	pinned = regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
)

// checkPinned wants each action by its commit: a tag can be moved to other code.
func checkPinned(name, workflow string) (violations []string) {
	for _, m := range uses.FindAllStringSubmatch(workflow, -1) {
		if !pinned.MatchString(m[1]) {
			violations = append(violations, fmt.Sprintf("%s: %s: want action@commit # v1.2.3", name, m[1]))
		}
	}
	return violations
}

func TestActionsArePinned(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	for _, f := range files {
		report(t, checkPinned(filepath.Base(f), readFile(t, ".github/workflows/"+filepath.Base(f))))
	}
	wantViolation(t, checkPinned("x.yml", "  - uses: actions/checkout@v5\n"), "want action@commit")
	wantViolation(t, checkPinned("x.yml", "  - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0\n"), "")
}

// TestModulesAreKnown wants each nested module in CI, so that its tests run, and
// in Dependabot's list.
func TestModulesAreKnown(t *testing.T) {
	t.Parallel()
	ci, bot := readFile(t, ".ci/run"), readFile(t, ".github/dependabot.yml")
	n := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil || rel == "." {
			return err
		}
		n++
		dir := filepath.ToSlash(rel)
		if !regexp.MustCompile(`(?m)^step .* in_dir ` + regexp.QuoteMeta(dir) + ` go test `).MatchString(ci) {
			t.Errorf("%s: .ci/run has no go test in it", dir)
		}
		if !strings.Contains(bot, "      - /"+dir+"\n") {
			t.Errorf("%s: .github/dependabot.yml does not name it", dir)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d nested modules, %v", n, err)
	}
}
