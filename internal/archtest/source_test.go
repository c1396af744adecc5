package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 400
	maxFuncLines = 60
)

// checkPackageDocs wants exactly one package comment a package, which begins
// as godoc expects it.
func checkPackageDocs(files []*source) (violations []string) {
	pkgs := packages(production(files))
	for dir, files := range pkgs {
		var docs []string
		for _, f := range files {
			if f.ast.Doc == nil {
				continue
			}
			docs = append(docs, f.name)
			want := "Package " + f.ast.Name.Name + " "
			if f.ast.Name.Name == "main" {
				want = "Command "
			}
			if text := f.ast.Doc.Text(); !strings.HasPrefix(text, want) {
				violations = append(violations, fmt.Sprintf("%s: the package comment must begin with %q", f.name, want))
			}
		}
		if len(docs) != 1 {
			violations = append(violations, fmt.Sprintf("%s: %d package comments %v, want one: a reader starts there", dir, len(docs), docs))
		}
	}
	return violations
}

var goFile = regexp.MustCompile(`[\w*]+\.go\b`)

// checkTutorials wants the package comment of a public package to show its use,
// and those that say which file to read to know the files.
func checkTutorials(files []*source) (violations []string) {
	for dir, files := range packages(production(files)) {
		for _, f := range files {
			if f.ast.Doc == nil {
				continue
			}
			text := f.ast.Doc.Text()
			if public(dir) && !strings.Contains(text, "\n\t") {
				violations = append(violations, f.name+": the package comment shows no code: a reader wants the ten lines to begin with")
			}
			named := goFile.FindAllString(text, -1)
			if public(dir) && len(files) > 3 && len(named) == 0 {
				violations = append(violations, f.name+": the package comment does not say in what order to read the files")
			}
			for _, name := range named {
				if !slices.ContainsFunc(files, func(f *source) bool { ok, _ := path.Match(name, path.Base(f.name)); return ok }) && !strings.HasSuffix(name, "_test.go") {
					violations = append(violations, fmt.Sprintf("%s: the package comment names %s, which is not there", f.name, name))
				}
			}
		}
	}
	return violations
}

// checkNoInit refuses work at import time.
func checkNoInit(files []*source) (violations []string) {
	for _, f := range production(files) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				violations = append(violations, f.at(fn.Pos())+": func init: importing a package must do nothing")
			}
		}
	}
	return violations
}

// mayReadEnvironment: one file of ours may read the environment; programs may read theirs.
func mayReadEnvironment(f *source) bool {
	return f.test || f.name == "obs/env.go" || within(f.dir(), "examples") || within(f.dir(), "cmd")
}

var environmentFuncs = []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}

func checkEnvironment(files []*source) (violations []string) {
	for _, f := range files {
		if mayReadEnvironment(f) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if ok && (pkg.Name == "os" || pkg.Name == "syscall") && slices.Contains(environmentFuncs, sel.Sel.Name) {
				violations = append(violations, fmt.Sprintf("%s: %s.%s: only obs/env.go reads the environment, so that one table lists it all", f.at(n.Pos()), pkg.Name, sel.Sel.Name))
			}
			return true
		})
	}
	return violations
}

func checkSizes(files []*source) (violations []string) {
	for _, f := range production(files) {
		if n := f.lines(); n > maxFileLines {
			violations = append(violations, fmt.Sprintf("%s: %d lines, want at most %d: one idea a file", f.name, n, maxFileLines))
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line
			if n > maxFuncLines {
				violations = append(violations, fmt.Sprintf("%s: %s has %d lines, want at most %d", f.at(fn.Pos()), fn.Name.Name, n, maxFuncLines))
			}
		}
	}
	return violations
}

// checkPackageState refuses package variables that change: hooks, and
// variables that any function writes to. Tests may keep flags and the like.
func checkPackageState(files []*source) (violations []string) {
	for _, files := range packages(production(files)) {
		vars := make(map[string]bool)
		for _, f := range files {
			violations = append(violations, declaredState(f, vars)...)
		}
		for _, f := range files {
			violations = append(violations, writes(f, vars)...)
		}
	}
	return violations
}

// declaredState adds the file's package variables to vars and returns those
// that hold a function.
func declaredState(f *source, vars map[string]bool) (violations []string) {
	for _, d := range f.ast.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, s := range gen.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				if name.Name == "_" {
					continue
				}
				vars[name.Name] = true
				if isHook(spec, i) {
					violations = append(violations, fmt.Sprintf("%s: %s holds a function: a hook for all of the process; pass it, or put it into an options struct", f.at(name.Pos()), name.Name))
				}
			}
		}
	}
	return violations
}

// isHook says whether the i-th variable of spec is of function type as far as
// syntax shows: declared so, a literal, or another package's bare name, as in
// "var now = time.Now".
func isHook(spec *ast.ValueSpec, i int) bool {
	if _, ok := spec.Type.(*ast.FuncType); ok {
		return true
	}
	if len(spec.Values) != len(spec.Names) {
		return false
	}
	switch v := spec.Values[i].(type) {
	case *ast.FuncLit:
		return true
	case *ast.SelectorExpr:
		_, ok := v.X.(*ast.Ident)
		return ok
	}
	return false
}

// writes returns the assignments to package variables. The parser resolves
// names within a file; what it leaves unresolved is the package's.
func writes(f *source, vars map[string]bool) (violations []string) {
	local := func(id *ast.Ident) bool {
		if id.Obj == nil {
			return false
		}
		spec, ok := id.Obj.Decl.(*ast.ValueSpec)
		return !ok || !isTopLevel(f, spec)
	}
	check := func(e ast.Expr) {
		id := rootOf(e)
		if id != nil && vars[id.Name] && !local(id) {
			violations = append(violations, fmt.Sprintf("%s: writes to the package variable %s: state belongs to a value someone owns", f.at(e.Pos()), id.Name))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					check(e)
				}
			}
		case *ast.IncDecStmt:
			check(n.X)
		}
		return true
	})
	return violations
}

func isTopLevel(f *source, spec *ast.ValueSpec) bool {
	for _, d := range f.ast.Decls {
		if gen, ok := d.(*ast.GenDecl); ok && slices.Contains(gen.Specs, ast.Spec(spec)) {
			return true
		}
	}
	return false
}

// rootOf returns x of x, x.y, x[i], *x and (x).
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func TestOnePackageDoc(t *testing.T)        { t.Parallel(); report(t, checkPackageDocs(tree(t))) }
func TestTutorials(t *testing.T)            { t.Parallel(); report(t, checkTutorials(tree(t))) }
func TestNoInit(t *testing.T)               { t.Parallel(); report(t, checkNoInit(tree(t))) }
func TestEnvironmentInOneFile(t *testing.T) { t.Parallel(); report(t, checkEnvironment(tree(t))) }
func TestSizes(t *testing.T)                { t.Parallel(); report(t, checkSizes(tree(t))) }
func TestNoPackageState(t *testing.T)       { t.Parallel(); report(t, checkPackageState(tree(t))) }
