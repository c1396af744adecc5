package obs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A guideRow is a row of a trouble-shooting table of docs/cloud-run.md: what
// stands between backquotes in its first two columns, and in all of them.
type guideRow struct {
	question   string
	says, code []string
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// guide reads the table below a mark.
func guide(t *testing.T, mark string) []guideRow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "cloud-run.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- "+mark+" -->\n")
	if !found {
		t.Fatalf("no table %s", mark)
	}
	spans := func(s string) (all []string) {
		for _, m := range codeSpan.FindAllStringSubmatch(s, -1) {
			all = append(all, m[1])
		}
		return all
	}
	var rows []guideRow
	for line := range strings.Lines(rest) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "|") {
			break
		}
		if len(cells) > 2 {
			rows = append(rows, guideRow{cells[0], spans(cells[0] + cells[1]), spans(line)})
		} else {
			rows = append(rows, guideRow{says: spans(cells[0]), code: spans(line)})
		}
	}
	return rows
}

var verb = regexp.MustCompile(`%[+#]?[a-z]`)

// textsOf returns the texts of at least so many words in a file, "…" in place
// of what is put in, less those in calls of the given functions.
func textsOf(t *testing.T, file string, words int, except ...string) (texts []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			var name string
			switch f := n.Fun.(type) {
			case *ast.Ident:
				name = f.Name
			case *ast.SelectorExpr:
				name = f.Sel.Name
			}
			return !slices.Contains(except, name)
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				text = strings.Trim(verb.ReplaceAllString(text, "…"), " :;,")
				if strings.Contains(text, " ") && len(wordsOf(text)) >= words {
					texts = append(texts, text)
				}
			}
		}
		return true
	})
	return texts
}

func wordsOf(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" …:;,", r) })
}

// compareGuide returns texts that no row has, and what rows say that is no text
// of the code.
func compareGuide(rows []guideRow, texts []string) (wrong []string) {
	same := func(a, b string) bool {
		return strings.Contains(a, b) || strings.Contains(b, a) && len(wordsOf(a)) >= 2
	}
	for _, text := range texts {
		if !slices.ContainsFunc(rows, func(r guideRow) bool {
			return slices.ContainsFunc(r.code, func(span string) bool { return same(span, text) })
		}) {
			wrong = append(wrong, "no row for "+text)
		}
	}
	for _, r := range rows {
		for _, span := range r.says {
			if len(wordsOf(span)) >= 3 && !slices.ContainsFunc(texts, func(text string) bool { return same(span, text) }) {
				wrong = append(wrong, "the code does not say "+span)
			}
		}
	}
	return wrong
}

func holdGuide(t *testing.T, rows []guideRow, texts []string) {
	t.Helper()
	for _, wrong := range compareGuide(rows, texts) {
		t.Errorf("docs/cloud-run.md: %s", wrong)
	}
}

func TestCompareGuide(t *testing.T) {
	t.Parallel()
	rows := []guideRow{{says: []string{"look at …: it is closed"}, code: []string{"look at …: it is closed"}}, {says: []string{"once it was said"}, code: []string{"once it was said"}}}
	got := compareGuide(rows, []string{"it is closed", "look at", "it is new here"})
	want := []string{"no row for it is new here", "the code does not say once it was said"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

// TestGuideHasEveryFinding: whatever Check can say, the guide says what to do.
func TestGuideHasEveryFinding(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, file := range []string{"check.go", "checkagent.go", "checkcloud.go", "hints.go"} {
		texts = append(texts, textsOf(t, file, 3, "ok")...)
	}
	if len(texts) < 40 {
		t.Errorf("%d texts found", len(texts))
	}
	holdGuide(t, append(guide(t, "findings"), guide(t, "skipped")...), texts)
}

// TestGuideHasEveryLine: what is logged when something on the way to the agent
// fails, and what the agent's answers call for.
func TestGuideHasEveryLine(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, pattern := range []string{"tracing/ddagent/*.go", "gcpauth/*.go", "../internal/spanqueue/*.go", "project.go", "lifecycle.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				texts = append(texts, loggedBy(t, file)...)
			}
		}
	}
	if len(texts) < 15 {
		t.Errorf("%d texts found: %q", len(texts), texts)
	}
	holdGuide(t, guide(t, "lines"), texts)
}

// loggedBy returns the messages of a file's records, those that a variable
// called message holds, and the hints of its functions called hintFor.
func loggedBy(t *testing.T, file string) (texts []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if lit, isLit := e.(*ast.BasicLit); isLit {
			if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") {
				texts = append(texts, text)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if sel, isSel := n.Fun.(*ast.SelectorExpr); isSel && sel.Sel.Name == "LogAttrs" && len(n.Args) > 2 {
				add(n.Args[2])
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, isID := left.(*ast.Ident); isID && id.Name == "message" && i < len(n.Rhs) {
					add(n.Rhs[i])
				}
			}
		case *ast.FuncDecl:
			if n.Name.Name != "hintFor" {
				return true
			}
			ast.Inspect(n.Body, func(n ast.Node) bool {
				if r, isReturn := n.(*ast.ReturnStmt); isReturn {
					for _, e := range r.Results {
						add(e)
					}
				}
				return true
			})
		}
		return true
	})
	return texts
}

// TestGuideHasEverySetting: what makes New fail for the agent's settings.
func TestGuideHasEverySetting(t *testing.T) {
	t.Parallel()
	holdGuide(t, guide(t, "settings"), textsOf(t, "agent.go", 4, "Sprintf"))
}

// checkGuide looks a finding up as a reader would: by its question and by what
// it says.
func checkGuide(t *testing.T, f Finding) {
	t.Helper()
	mark := "findings"
	switch f.State {
	case stateOK:
		return
	case stateSkipped:
		mark = "skipped"
	}
	for _, r := range guide(t, mark) {
		if mark == "findings" && !strings.Contains(r.question, f.Name) && !strings.Contains(r.question, "any") {
			continue
		}
		for _, span := range r.says {
			pattern := strings.ReplaceAll(regexp.QuoteMeta(span), "…", ".*")
			if len(wordsOf(span)) >= 1 && regexp.MustCompile(pattern).MatchString(f.Detail+" → "+f.Hint) {
				return
			}
		}
	}
	t.Errorf("docs/cloud-run.md does not help with %s: %q → %q", f.Name, f.Detail, f.Hint)
}
