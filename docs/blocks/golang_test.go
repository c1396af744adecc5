package blocks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A checker type-checks Go blocks against the packages as they are. What it has
// imported it keeps, as a file of export data takes long to read; the importer,
// and the packages, which are read as they are looked into, are for one at a time.
type checker struct {
	mu       sync.Mutex
	fset     *token.FileSet
	importer types.Importer

	exports map[string]string // import path to its export data
	named   map[string]string // package name to import path, of imports.go
	frame   []ast.Spec        // the variables of frame.go
}

// newChecker compiles the packages that frame.go, imports.go and the blocks name.
func newChecker(t *testing.T, blocks []block) *checker {
	t.Helper()
	fset := token.NewFileSet()
	c := &checker{fset: fset, exports: make(map[string]string), named: make(map[string]string)}
	c.importer = importer.ForCompiler(fset, "gc", c.export)
	paths := make(map[string]bool)
	handy := make(map[string]string) // import path to the name a comment gives, or ""
	for _, name := range []string{"imports.go", "frame.go"} {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range f.Imports {
			path := importPath(im)
			paths[path] = true
			if name == "imports.go" {
				handy[path] = strings.TrimPrefix(strings.TrimSpace(im.Comment.Text()), "as ")
			}
		}
		for _, d := range f.Decls {
			if g := d.(*ast.GenDecl); g.Tok == token.VAR {
				c.frame = append(c.frame, g.Specs...)
			}
		}
	}
	for _, b := range blocks {
		as := declarations
		if packageClause.MatchString(b.text) {
			as = program
		}
		if f, err := parser.ParseFile(fset, "", as.file(b), parser.ImportsOnly); err == nil && b.lang == "go" && !b.quotes() {
			for _, im := range f.Imports {
				paths[importPath(im)] = true
			}
		}
	}
	c.load(t, slices.Collect(maps.Keys(paths)), handy)
	return c
}

func (c *checker) load(t *testing.T, paths []string, handy map[string]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Name,Export,Error"}, paths...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.String())
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Name, Export string
			Error                    *struct{ Err string }
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Error != nil {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
			continue
		}
		c.exports[p.ImportPath] = p.Export
		if given, ok := handy[p.ImportPath]; ok {
			name := cmp.Or(given, p.Name)
			if other, twice := c.named[name]; twice {
				t.Errorf("imports.go: %s is both %s and %s", name, other, p.ImportPath)
			}
			c.named[name] = p.ImportPath
		}
	}
}

func importPath(im *ast.ImportSpec) string {
	path, err := strconv.Unquote(im.Path.Value)
	if err != nil {
		panic(err) // the parser accepts nothing else
	}
	return path
}

var (
	packageClause = regexp.MustCompile(`(?m)^package [a-z]\w*$`)
	declaration   = regexp.MustCompile(`(?m)\A(//.*\n)*(import|func|type|var|const)\b`)

	// What may begin statements as well as declarations.
	statementAfter = regexp.MustCompile(`(?m)\A(//.*\n)*(type|var|const)\b`)
)

// A form is what a block becomes a file by.
type form struct {
	head, tail string
	loose      bool // need not use all that it declares
}

var (
	program      = form{}
	declarations = form{head: "package doc\n"}
	statements   = form{head: "package doc\nfunc _() {\n", tail: "}\n", loose: true}
	returning    = form{head: "package doc\nfunc _() error {\n", tail: "return nil\n}\n", loose: true}
)

// file returns the block as a file, whose positions are those in the document.
func (f form) file(b block) string {
	return fmt.Sprintf("%s//line %s:%d:1\n%s%s", f.head, b.doc, b.line+1, b.text, f.tail)
}

// check returns what is wrong with a Go block.
func (c *checker) check(b block) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case packageClause.MatchString(b.text):
		return c.typeCheck(b, program)
	case declaration.MatchString(b.text):
		_, err := parser.ParseFile(token.NewFileSet(), "", declarations.file(b), 0)
		if err == nil || !statementAfter.MatchString(b.text) {
			return c.typeCheck(b, declarations)
		}
	}
	err := c.typeCheck(b, statements)
	if err != nil && c.typeCheck(b, returning) == nil {
		return nil
	}
	return err
}

// typeCheck checks a block, with what else it needs in a second file.
func (c *checker) typeCheck(b block, as form) error {
	fset := c.fset
	f, err := parser.ParseFile(fset, "", as.file(b), 0)
	if err != nil {
		return err
	}
	files := []*ast.File{f}
	if as != program {
		if len(f.Imports) == 0 {
			as.head = strings.Replace(as.head, "package doc", "package doc;"+c.imports(f), 1)
			if files[0], err = parser.ParseFile(fset, "", as.file(b), 0); err != nil {
				return err
			}
		}
		frame, err := c.companion(b, f)
		if err != nil {
			return err
		}
		files = append(files, frame)
	}
	var errs []error
	conf := types.Config{
		Importer: c.importer,
		Error: func(err error) {
			if te := (types.Error{}); errors.As(err, &te) && te.Soft && (as.loose || fset.Position(te.Pos).Filename == "frame") {
				return
			}
			errs = append(errs, err)
		},
	}
	_, _ = conf.Check("doc", fset, files, nil) // its error is the first of errs
	return errors.Join(errs...)
}

// imports returns the imports of packages that f uses and does not declare.
func (c *checker) imports(f *ast.File) string {
	var b strings.Builder
	unresolved := make(map[string]bool)
	for _, id := range f.Unresolved {
		unresolved[id.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(unresolved)) {
		if path, ok := c.named[name]; ok {
			fmt.Fprintf(&b, "import %s %q;", name, path)
		}
	}
	return b.String()
}

// companion is the file that stands beside a block: the variables of frame.go,
// less those that the block declares, and what its frame comment declares.
func (c *checker) companion(b block, f *ast.File) (*ast.File, error) {
	fset := c.fset
	extra, _ := b.directive("frame")
	declared, err := parser.ParseFile(fset, "frame", "package doc\n"+extra, 0)
	if err != nil {
		return nil, fmt.Errorf("the comment before the block: %w", err)
	}
	var vars strings.Builder
	for _, s := range c.frame {
		v := s.(*ast.ValueSpec)
		name := v.Names[0].Name
		if f.Scope.Lookup(name) == nil && declared.Scope.Lookup(name) == nil {
			fmt.Fprintf(&vars, "var %s %s\n", name, types.ExprString(v.Type))
		}
	}
	src := extra + "\n" + vars.String()
	probe, err := parser.ParseFile(fset, "frame", "package doc\n"+src, 0)
	if err != nil {
		return nil, err
	}
	return parser.ParseFile(fset, "frame", "package doc;"+c.imports(probe)+"\n"+src, 0)
}

// quoted is the text of a file as documents have it: without its package
// clause, and without remarks for linters.
func quoted(code string) string {
	_, body, _ := strings.Cut(code, "\n\n")
	return regexp.MustCompile(` //nolint:\S+ // `).ReplaceAllString(body, " // ")
}

// quotes says whether the block is the text of a file.
func (b block) quotes() bool { return b.lang == "go" && strings.HasSuffix(b.comment, ".go") }

// checkFile compares a block with the file it quotes. It returns the block's
// text as it should be.
func checkFile(b block) (string, error) {
	code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(b.comment)))
	if err != nil {
		return "", err
	}
	text := string(code)
	if packageClause.MatchString(text) && !packageClause.MatchString(b.text) {
		text = quoted(text)
	}
	if text != b.text {
		return text, fmt.Errorf("differs from %s; run with -update", b.comment)
	}
	return text, nil
}
