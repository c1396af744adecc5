package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the blocks of docs/testing.md, and api/*.txt")

const (
	guide       = "docs/testing.md"
	brokenTests = "internal/archtest/testdata/testing/broken_test.go"
	shop        = "examples/shop/shop.go"
	maxTest     = 25 // lines of the guide's first test
)

// mistake is what the guide breaks in the shop, to show a test that fails.
var mistake = strings.NewReplacer(`"order paid", "order.id", id`, `"order settled", "order", id`)

// block is a fenced block of a document, and the comment before it that says
// what it shows: "<!-- quoted: PATH [FUNC…] -->" or "<!-- printed: TEST -->".
var block = regexp.MustCompile("(?m)(?:^<!-- (.*) -->\n)?^```([a-z]*)\n((?:.*\n)*?)^```$")

// TestTestingGuide compares every block of the guide with the file or the run
// that it shows.
func TestTestingGuide(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, guide))
	if err != nil {
		t.Fatal(err)
	}
	outputs := failures(t)
	files, ran := 0, 0
	fresh := block.ReplaceAllStringFunc(string(text), func(b string) string {
		m := block.FindStringSubmatch(b)
		source, body := m[1], m[3]
		kind, rest, _ := strings.Cut(source, ": ")
		var want string
		switch kind {
		case "quoted":
			files++
			want = excerpt(t, strings.Fields(rest))
		case "printed":
			ran++
			if want = outputs[rest]; want == "" {
				t.Errorf("%s: no test %q has failed", guide, rest)
			}
			if steady(body) == steady(want) {
				want = body
			}
		default:
			t.Errorf("%s: a block shows nothing that can be compared:\n%s", guide, b)
			return b
		}
		if body != want && !*update {
			t.Errorf("%s: the block of %q is not what it shows (go test ./internal/archtest -update writes it):\ngot:\n%s\nwant:\n%s", guide, source, body, want)
		}
		return strings.TrimSuffix(b, body+"```") + want + "```"
	})
	if files < 8 || ran < 3 {
		t.Errorf("%s: %d blocks of files and %d of output: the comments before them have changed", guide, files, ran)
	}
	if *update && !t.Failed() && fresh != string(text) {
		if err := os.WriteFile(filepath.Join(root, guide), []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if first := excerpt(t, []string{"examples/shop/shop_test.go"}); strings.Count(first, "\n") > maxTest {
		t.Errorf("the guide's first test has %d lines, want at most %d", strings.Count(first, "\n"), maxTest)
	}
}

// excerpt returns a file, or functions of it.
func excerpt(t *testing.T, args []string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, args[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(args) == 1 {
		return string(text)
	}
	f, err := parse(token.NewFileSet(), args[0], text)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !slices.Contains(args[1:], fn.Name.Name) {
			continue
		}
		from := fn.Pos()
		if fn.Doc != nil {
			from = fn.Doc.Pos()
		}
		out = append(out, string(text[f.fset.Position(from).Offset:f.fset.Position(fn.End()).Offset]))
	}
	if len(out) != len(args)-1 {
		t.Errorf("%s has not the functions %q", args[0], args[1:])
	}
	code, err := format.Source([]byte(strings.Join(out, "\n\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return string(code)
}

// failures runs the shop's tests on a shop with a mistake, beside tests with
// mistakes of their own, and returns what each prints.
func failures(t *testing.T) map[string]string {
	t.Helper()
	code, err := os.ReadFile(filepath.Join(root, shop))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken, overlay := filepath.Join(dir, "shop.go"), filepath.Join(dir, "overlay.json")
	replaced := mistake.Replace(string(code))
	if replaced == string(code) {
		t.Fatalf("%s: nothing to break in it", shop)
	}
	abs := func(p string) string {
		p, err := filepath.Abs(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		abs(shop):                           broken,
		abs("examples/shop/broken_test.go"): abs(brokenTests),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(broken, []byte(replaced), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", overlay, "-run", "^Test(Pay|Leak|Lost)$", "./examples/shop")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the tests with mistakes: %v\n%s", err, &stderr)
	}
	return byTest(strings.ReplaceAll(string(out), abs(".")+string(filepath.Separator), ""))
}

// byTest takes the output of go test apart.
func byTest(out string) map[string]string {
	m := make(map[string]string)
	name := ""
	for l := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(l, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(rest, " ")
		} else if !strings.HasPrefix(l, " ") {
			name = "" // a record on stderr, or the end
		}
		if name != "" {
			m[name] += l
		}
	}
	return m
}

var volatile = regexp.MustCompile(`\(\d+\.\d+s\)|[0-9a-f]{32}|\b\d+(\.\d+)?(ns|µs|ms|s)\b|0x[0-9a-f]+`)

// steady is output without what differs from run to run.
func steady(s string) string { return volatile.ReplaceAllString(s, "~") }
