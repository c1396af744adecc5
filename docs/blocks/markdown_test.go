package blocks

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

// root is the repository.
const root = "../.."

// A block is code in a document.
type block struct {
	doc     string // the document's path, slash-separated, from the root
	line    int    // of the fence, or of the first line of an indented block
	lang    string // the fence's first word; "sh" for indented blocks
	text    string
	comment string // the HTML comment right before the fence
	span    bool   // a code span in prose
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.doc, b.line) }

// directive returns the rest of the comment if it begins with name and a colon.
func (b block) directive(name string) (string, bool) {
	rest, ok := strings.CutPrefix(b.comment, name+":")
	return strings.TrimSpace(rest), ok
}

// documents are the paths of all Markdown files, from the root.
func documents(t *testing.T) []string {
	t.Helper()
	var docs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			rel, err := filepath.Rel(root, path)
			docs = append(docs, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(docs, "README.md") {
		t.Fatalf("no README.md among %q", docs)
	}
	return docs
}

func readDoc(t *testing.T, doc string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(doc)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence = regexp.MustCompile("^( *)(```+|~~~+) *([^ `]*)[^`]*$")
	item  = regexp.MustCompile(`^ *([-*+]|\d+[.)]) `)
	span  = regexp.MustCompile("`([^`]+)`")
)

// parse returns the blocks of a document and its code spans, in order. It knows
// as much of CommonMark as our documents use: no tabs, no quotes, no lazy lines.
func parse(doc, text string) (blocks []block, err error) {
	lines := strings.Split(text, "\n")
	inList := false
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch f := fence.FindStringSubmatch(line); {
		case f != nil:
			end := i + 1
			for end < len(lines) && strings.TrimSpace(lines[end]) != f[2] {
				end++
			}
			if end == len(lines) {
				return nil, fmt.Errorf("%s:%d: the fence is not closed", doc, i+1)
			}
			b := block{doc: doc, line: i + 1, lang: f[3], text: dedent(lines[i+1:end], len(f[1]))}
			b.comment = commentAbove(lines[:i])
			blocks, i = append(blocks, b), end
		case strings.TrimSpace(line) == "":
		case item.MatchString(line):
			inList = true
			blocks = append(blocks, spans(doc, i, line)...)
		case strings.HasPrefix(line, "    ") && !inList && (i == 0 || strings.TrimSpace(lines[i-1]) == ""):
			end := i
			for end < len(lines) && strings.HasPrefix(lines[end], "    ") {
				end++
			}
			blocks = append(blocks, block{doc: doc, line: i + 1, lang: "sh", text: dedent(lines[i:end], 4)})
			i = end - 1
		default:
			inList = inList && strings.HasPrefix(line, " ")
			blocks = append(blocks, spans(doc, i, line)...)
		}
	}
	return blocks, nil
}

// commentAbove returns the text of the comment that ends with the last line.
func commentAbove(lines []string) string {
	above, ends := strings.CutSuffix(strings.Join(lines, "\n"), "-->")
	begin := strings.LastIndex(above, "<!--")
	if !ends || begin < 0 {
		return ""
	}
	return strings.TrimSpace(above[begin+len("<!--"):])
}

// spans are the code spans of a line of prose.
func spans(doc string, i int, line string) (blocks []block) {
	for _, m := range span.FindAllStringSubmatch(line, -1) {
		blocks = append(blocks, block{doc: doc, line: i + 1, lang: "sh", text: m[1], span: true})
	}
	return blocks
}

func dedent(lines []string, n int) string {
	var b strings.Builder
	for _, l := range lines {
		cut := min(n, len(l)-len(strings.TrimLeft(l, " ")))
		b.WriteString(l[cut:] + "\n")
	}
	return b.String()
}
