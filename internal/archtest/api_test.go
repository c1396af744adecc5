package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// apiDir has one file a package that users import: a line for each exported
// name, field and method, as it may be used. A release compares it with the
// last one's: a line that went is a break, a line that came a feature.
const apiDir = "api"

// TestAPI holds what packages export to the lists, so that no change of it
// goes unseen. It reads the source alone, nested modules included.
func TestAPI(t *testing.T) {
	t.Parallel()
	want, err := filepath.Glob(filepath.Join(root, apiDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for dir, files := range publicPackages(t) {
		lines := exports(files)
		if len(lines) == 0 {
			continue // a package of tests
		}
		file := filepath.Join(root, apiDir, strings.ReplaceAll(dir, "/", "_")+".txt")
		seen[file] = true
		if *update {
			if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // a list in the repository
				t.Fatal(err)
			}
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v: a new package; make api lists it", err)
			continue
		}
		report(t, checkAPI(dir, strings.Split(strings.TrimSpace(string(text)), "\n"), lines))
	}
	for _, file := range want {
		if !seen[file] {
			t.Errorf("%s: of no package; a package that goes is a break", file)
		}
	}
}

// checkAPI compares what is listed with what is exported.
func checkAPI(dir string, listed, exported []string) (violations []string) {
	for _, l := range listed {
		if !slices.Contains(exported, l) {
			violations = append(violations, fmt.Sprintf("%s: gone, which breaks who uses it: %s (if it must be: make api, and CHANGELOG.md says so)", dir, l))
		}
	}
	for _, l := range exported {
		if !slices.Contains(listed, l) {
			violations = append(violations, fmt.Sprintf("%s: new, and to be kept from now on: %s (if so: make api)", dir, l))
		}
	}
	return violations
}

// publicPackages parses the packages that users import.
func publicPackages(t *testing.T) map[string][]*ast.File {
	t.Helper()
	pkgs := make(map[string][]*ast.File)
	fset := token.NewFileSet()
	for _, top := range []string{"obs", "chiobs"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			f, err := parse(fset, filepath.ToSlash(rel), nil)
			if err != nil {
				return err
			}
			if dir := f.dir(); f.ast.Name.Name != "main" && !slices.Contains(strings.Split(dir, "/"), "internal") {
				pkgs[dir] = append(pkgs[dir], f.ast)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pkgs
}

// exports lists what files export, sorted. Files for several platforms say the
// same, or say so.
func exports(files []*ast.File) []string {
	var lines []string
	for _, f := range files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				lines = append(lines, exportedFunc(d)...)
			case *ast.GenDecl:
				for i, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						lines = append(lines, exportedValues(d, i, s)...)
					case *ast.TypeSpec:
						lines = append(lines, exportedType(s)...)
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func exportedFunc(d *ast.FuncDecl) []string {
	if !d.Name.IsExported() {
		return nil
	}
	if d.Recv == nil {
		return []string{"func " + d.Name.Name + typeParams(d.Type.TypeParams) + signature(d.Type)}
	}
	recv := source1(d.Recv.List[0].Type)
	if !ast.IsExported(strings.TrimLeft(recv, "*")) {
		return nil
	}
	return []string{"method (" + recv + ") " + d.Name.Name + signature(d.Type)}
}

// exportedValues are those of the i-th line of a declaration. A constant's value
// is a part of what users get; one of iota's is given by its line.
func exportedValues(d *ast.GenDecl, i int, s *ast.ValueSpec) (lines []string) {
	typ, values, repeated := s.Type, s.Values, false
	for n := i; d.Tok == token.CONST && len(values) == 0 && n > 0; n-- {
		before := d.Specs[n-1].(*ast.ValueSpec)
		typ, values, repeated = before.Type, before.Values, true
	}
	for n, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := d.Tok.String() + " " + name.Name
		if typ != nil {
			line += " " + source1(typ)
		}
		if d.Tok == token.CONST && n < len(values) {
			line += " = " + source1(values[n])
			if repeated || strings.Contains(line, "iota") {
				line += fmt.Sprintf(" (line %d)", i)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func exportedType(s *ast.TypeSpec) []string {
	if !s.Name.IsExported() {
		return nil
	}
	head := "type " + s.Name.Name + typeParams(s.TypeParams)
	if s.Assign.IsValid() {
		return []string{head + " = " + source1(s.Type)}
	}
	var members *ast.FieldList
	switch typ := s.Type.(type) {
	case *ast.StructType:
		head, members = head+" struct", typ.Fields
	case *ast.InterfaceType:
		head, members = head+" interface", typ.Methods
	default:
		return []string{head + " " + source1(s.Type)}
	}
	lines := []string{head}
	for _, m := range members.List {
		if len(m.Names) == 0 {
			lines = append(lines, head+", "+source1(m.Type)) // what is embedded
		}
		for _, name := range m.Names {
			if f, ok := m.Type.(*ast.FuncType); ok && strings.HasSuffix(head, "interface") {
				lines = append(lines, head+", "+name.Name+signature(f)) // who implements it has to know unexported ones too
			} else if name.IsExported() {
				lines = append(lines, head+", "+name.Name+" "+source1(m.Type))
			}
		}
	}
	return lines
}

// signature prints a function's type without the names of its parameters,
// which may change.
func signature(f *ast.FuncType) string {
	list := func(fields *ast.FieldList) []string {
		var types []string
		if fields == nil {
			return nil
		}
		for _, p := range fields.List {
			for range max(len(p.Names), 1) {
				types = append(types, source1(p.Type))
			}
		}
		return types
	}
	in, out := "("+strings.Join(list(f.Params), ", ")+")", list(f.Results)
	switch len(out) {
	case 0:
		return in
	case 1:
		return in + " " + out[0]
	}
	return in + " (" + strings.Join(out, ", ") + ")"
}

func typeParams(l *ast.FieldList) string {
	if l == nil {
		return ""
	}
	var all []string
	for _, p := range l.List {
		for _, name := range p.Names {
			all = append(all, name.Name+" "+source1(p.Type))
		}
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// source1 is an expression's source in one line.
func source1(e ast.Expr) string {
	if f, ok := e.(*ast.FuncType); ok {
		return "func" + signature(f)
	}
	var b bytes.Buffer
	if err := format.Node(&b, token.NewFileSet(), e); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// TestExports shows what a list has.
func TestExports(t *testing.T) {
	t.Parallel()
	f, err := parse(token.NewFileSet(), path.Join("obs", "api.go"), `package obs
const (
	A Kind = iota
	b
	C
)
const D = 2
var E, f = 1, 2
type (
	Kind int
	S struct {
		X, y int
		Hook func(name string) error
		*Kind
	}
	I interface { M(a, b int) (n int, err error); m() }
	Alias = S
	G[T any] struct{ V T }
	hidden struct{ X int }
)
func F(ctx context.Context, more ...string) {}
func (s *S) M() error { return nil }
func (hidden) N() {}
func g() {}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"const A Kind = iota (line 0)",
		"const C Kind = iota (line 2)",
		"const D = 2",
		"func F(context.Context, ...string)",
		"method (*S) M() error",
		"type Alias = S",
		"type G[T any] struct",
		"type G[T any] struct, V T",
		"type I interface",
		"type I interface, M(int, int) (int, error)",
		"type I interface, m()",
		"type Kind int",
		"type S struct",
		"type S struct, *Kind",
		"type S struct, Hook func(string) error",
		"type S struct, X int",
		"var E",
	}
	got := exports([]*ast.File{f.ast})
	if diff := checkAPI("obs", want, got); len(diff) > 0 {
		t.Error(strings.Join(diff, "\n"))
	}
	if diff := checkAPI("obs", []string{"func F()"}, []string{"func G()"}); len(diff) != 2 {
		t.Errorf("a name that went and one that came: %q", diff)
	}
}
