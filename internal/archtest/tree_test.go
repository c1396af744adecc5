package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/kumihimo/kumihimo"

// root is the module's directory as seen from this package's tests.
var root = filepath.Join("..", "..")

// A source is one parsed Go file, build constraints ignored: a rule holds on
// every platform.
type source struct {
	name string // slash-separated, relative to the root
	test bool
	ast  *ast.File
	fset *token.FileSet
}

// lines is the number of lines of the file.
func (s *source) lines() int { return s.fset.File(s.ast.Pos()).LineCount() }

// at formats a position as file:line.
func (s *source) at(p token.Pos) string {
	return s.name + ":" + strconv.Itoa(s.fset.Position(p).Line)
}

// dir is the package's directory relative to the root, "." for the root.
func (s *source) dir() string { return path.Dir(s.name) }

// importsOf returns the file's imports by path.
func (s *source) importsOf() map[string]token.Pos {
	m := make(map[string]token.Pos, len(s.ast.Imports))
	for _, im := range s.ast.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			continue // the parser accepts nothing else
		}
		m[p] = im.Pos()
	}
	return m
}

// parse makes a source of one file: of text, or of the file's own if text is
// nil.
func parse(fset *token.FileSet, name string, text any) (*source, error) {
	f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(name)), text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &source{name: name, test: strings.HasSuffix(name, "_test.go"), ast: f, fset: fset}, nil
}

// tree returns every Go file of the root module; nested modules, testdata and
// hidden folders are not part of it.
func tree(t *testing.T) []*source {
	t.Helper()
	files, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go file found: the rules would hold for nothing")
	}
	return files
}

var readTree = sync.OnceValues(func() ([]*source, error) {
	var files []*source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(p, d.Name())
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f, err := parse(fset, filepath.ToSlash(rel), nil)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
})

// enter says whether the walk goes into a folder.
func enter(p, name string) error {
	if p == root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// packages groups files by folder; packageDirs are its keys, sorted.
func packages(files []*source) map[string][]*source {
	m := make(map[string][]*source)
	for _, f := range files {
		m[f.dir()] = append(m[f.dir()], f)
	}
	return m
}

func packageDirs(files []*source) []string {
	var dirs []string
	for d := range packages(files) {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	return dirs
}

// production leaves out test files.
func production(files []*source) []*source {
	return slices.DeleteFunc(slices.Clone(files), func(f *source) bool { return f.test })
}

// report fails the test once per violation.
func report(t *testing.T, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range violations {
		t.Error(v)
	}
}

// within reports whether p is prefix or lies under it.
func within(p, prefix string) bool {
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}
