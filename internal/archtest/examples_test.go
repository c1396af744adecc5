package archtest

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/token"
	"slices"
	"testing"
)

// public are the packages users import.
func public(dir string) bool {
	return dir == "chiobs" || within(dir, "obs")
}

// names are the exported names of one package.
type names struct {
	constructors []string // functions that return a type of the package
	others       int      // other functions, types, constants and variables
	methods      int
}

// exportedNames parses the files anew: go/doc writes to the trees it is given,
// and other tests read ours.
func exportedNames(dir string, files []*source) (names, error) {
	var n names
	var trees []*ast.File
	fset := token.NewFileSet()
	for _, f := range production(files) {
		again, err := parse(fset, f.name, nil)
		if err != nil {
			return n, err
		}
		trees = append(trees, again.ast)
	}
	p, err := doc.NewFromFiles(fset, trees, modulePath+"/"+dir)
	if err != nil {
		return n, err
	}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			for _, name := range v.Names {
				if ast.IsExported(name) {
					n.others++
				}
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	n.others += len(p.Funcs) + len(p.Types)
	for _, typ := range p.Types {
		values(typ.Consts)
		values(typ.Vars)
		n.methods += len(typ.Methods)
		for _, f := range typ.Funcs {
			n.constructors = append(n.constructors, f.Name)
		}
	}
	return n, nil
}

// checkExamples wants every example compared with its output, and every
// constructor used by one of the package's examples.
func checkExamples(dir string, constructors []string, files []*source) (violations []string) {
	used := make(map[string]bool)
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, ex := range doc.Examples(f.ast) {
			if ex.Output == "" && !ex.EmptyOutput {
				violations = append(violations, fmt.Sprintf("%s: Example%s has no output comment, so it is never run", f.name, ex.Name))
			}
			ast.Inspect(ex.Code, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				return true
			})
		}
	}
	for _, c := range constructors {
		if !used[c] {
			violations = append(violations, fmt.Sprintf("%s: no example calls %s", dir, c))
		}
	}
	return violations
}

func TestExamples(t *testing.T) {
	t.Parallel()
	files := tree(t)
	pkgs := packages(files)
	for _, dir := range packageDirs(production(files)) {
		if !public(dir) {
			continue
		}
		n, err := exportedNames(dir, pkgs[dir])
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-24s %2d exported names, %2d methods", dir, n.others+len(n.constructors), n.methods)
		report(t, checkExamples(dir, slices.Sorted(slices.Values(n.constructors)), pkgs[dir]))
	}
}
