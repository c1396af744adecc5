package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const moduleDir = "deploy/terraform"

// A module is deploy/terraform, parsed.
type module struct {
	body      []*hclsyntax.Body
	variables map[string]*hclsyntax.Block
	locals    map[string]hclsyntax.Expression
	resources map[string]*hclsyntax.Block // by type.name
	outputs   map[string]*hclsyntax.Block
}

func parseModule(t *testing.T) *module {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, moduleDir, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	texts := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(text)
	}
	m, diags := newModule(texts)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return m
}

func newModule(texts map[string]string) (*module, hcl.Diagnostics) {
	m := &module{
		variables: map[string]*hclsyntax.Block{}, locals: map[string]hclsyntax.Expression{},
		resources: map[string]*hclsyntax.Block{}, outputs: map[string]*hclsyntax.Block{},
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		f, diags := hclsyntax.ParseConfig([]byte(texts[name]), name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, diags
		}
		body := f.Body.(*hclsyntax.Body)
		m.body = append(m.body, body)
		for _, b := range body.Blocks {
			switch b.Type {
			case "variable":
				m.variables[b.Labels[0]] = b
			case "output":
				m.outputs[b.Labels[0]] = b
			case "resource":
				m.resources[b.Labels[0]+"."+b.Labels[1]] = b
			case "locals":
				for k, a := range b.Body.Attributes {
					m.locals[k] = a.Expr
				}
			}
		}
	}
	return m, nil
}

// A schema is what a resource or a block within one may have. See
// testdata/provider.py.
type schema struct {
	Attributes map[string]struct {
		Required bool
		Type     string
	}
	Blocks   map[string]schema
	Computed []string
	Single   bool
	Required bool
}

func loadSchemas(t *testing.T) map[string]schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "provider.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// metaArguments are Terraform's own.
var metaArguments = []string{"count", "for_each", "depends_on", "provider", "lifecycle"}

// checkBody returns what is wrong with a block by its schema.
func checkBody(body *hclsyntax.Body, s schema, top bool) (wrong []string) {
	say := func(r hcl.Range, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s: %s", r, fmt.Sprintf(format, args...)))
	}
	for name, a := range body.Attributes {
		if _, known := s.Attributes[name]; !known && (!top || !slices.Contains(metaArguments, name)) {
			say(a.NameRange, "no argument %q", name)
		}
	}
	for name, a := range s.Attributes {
		if a.Required && body.Attributes[name] == nil {
			say(body.MissingItemRange(), "no %q, which is required", name)
		}
	}
	times := map[string]int{}
	for _, b := range body.Blocks {
		name, inner := b.Type, b.Body
		dynamic := name == "dynamic"
		if dynamic {
			name, inner = b.Labels[0], contentOf(b)
		}
		nested, known := s.Blocks[name]
		if times[name]++; !known {
			say(b.TypeRange, "no block %q", name)
			continue
		}
		if inner == nil {
			say(b.TypeRange, "no content")
			continue
		}
		if nested.Single && times[name] > 1 {
			say(b.TypeRange, "a second %q", name)
		}
		wrong = append(wrong, checkBody(inner, nested, false)...)
	}
	for name, b := range s.Blocks {
		if b.Required && times[name] == 0 {
			say(body.MissingItemRange(), "no block %q, which is required", name)
		}
	}
	return wrong
}

func contentOf(dynamic *hclsyntax.Block) *hclsyntax.Body {
	for _, b := range dynamic.Body.Blocks {
		if b.Type == "content" {
			return b.Body
		}
	}
	return nil
}

// checkReferences returns the references that lead nowhere, and notes in used
// what the others lead to.
func (m *module) checkReferences(schemas map[string]schema, used map[string]bool) (wrong []string) {
	var names []string // of dynamic blocks, within them
	visit := func(n hclsyntax.Node) {
		e, isExpr := n.(*hclsyntax.ScopeTraversalExpr)
		if !isExpr {
			return
		}
		if problem := m.resolve(e.Traversal, schemas, names, used); problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s", e.SrcRange, problem))
		}
	}
	for _, body := range m.body {
		for _, b := range body.Blocks {
			if b.Type == "variable" {
				continue // types are written as references are
			}
			names = dynamicNames(b.Body, []string{"each", "count", "member"})
			hclsyntax.VisitAll(b.Body, func(n hclsyntax.Node) hcl.Diagnostics { visit(n); return nil }) //nolint:errcheck // it has none
		}
	}
	return wrong
}

func dynamicNames(body *hclsyntax.Body, names []string) []string {
	for _, b := range body.Blocks {
		if b.Type == "dynamic" {
			names = append(names, b.Labels[0])
		}
		names = dynamicNames(b.Body, names)
	}
	return names
}

// resolve says what is wrong with a reference.
func (m *module) resolve(tr hcl.Traversal, schemas map[string]schema, names []string, used map[string]bool) string {
	first := tr.RootName()
	if slices.Contains(names, first) {
		return ""
	}
	second, isAttr := hcl.TraverseAttr{}, false
	if len(tr) > 1 {
		second, isAttr = tr[1].(hcl.TraverseAttr)
	}
	if !isAttr {
		return first + ": not a reference"
	}
	switch first {
	case "var":
		used["var."+second.Name] = true
		if m.variables[second.Name] == nil {
			return "no variable " + second.Name
		}
		return ""
	case "local":
		used["local."+second.Name] = true
		if m.locals[second.Name] == nil {
			return "no local " + second.Name
		}
		return ""
	}
	if m.resources[first+"."+second.Name] == nil {
		return "no resource " + first + "." + second.Name
	}
	rest := tr[2:]
	if len(rest) > 0 {
		if _, indexed := rest[0].(hcl.TraverseIndex); indexed {
			rest = rest[1:]
		}
	}
	if len(rest) == 0 {
		return ""
	}
	s := schemas[first]
	attr, isAttr := rest[0].(hcl.TraverseAttr)
	if _, settable := s.Attributes[attr.Name]; !isAttr || !settable && !slices.Contains(s.Computed, attr.Name) && attr.Name != "id" {
		return first + " has no attribute " + attr.Name
	}
	return ""
}

// check is all that can be said without Terraform.
func (m *module) check(schemas map[string]schema) (wrong []string) {
	for name, r := range m.resources {
		s, known := schemas[r.Labels[0]]
		if !known {
			wrong = append(wrong, name+": a type that testdata/provider.json does not have")
			continue
		}
		wrong = append(wrong, checkBody(r.Body, s, true)...)
	}
	used := map[string]bool{}
	wrong = append(wrong, m.checkReferences(schemas, used)...)
	for name, v := range m.variables {
		for _, want := range []string{"description", "type"} {
			if v.Body.Attributes[want] == nil {
				wrong = append(wrong, "variable "+name+": no "+want)
			}
		}
		if !used["var."+name] {
			wrong = append(wrong, "variable "+name+" is used nowhere")
		}
	}
	for name := range m.locals {
		if !used["local."+name] {
			wrong = append(wrong, "local "+name+" is used nowhere")
		}
	}
	for name, o := range m.outputs {
		if o.Body.Attributes["description"] == nil || o.Body.Attributes["value"] == nil {
			wrong = append(wrong, "output "+name+": want a description and a value")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// TestTerraform checks what Terraform would, as far as the provider's schema
// is known here.
func TestTerraform(t *testing.T) {
	t.Parallel()
	m := parseModule(t)
	for _, wrong := range m.check(loadSchemas(t)) {
		t.Error(wrong)
	}
	t.Logf("%d resources, %d variables, %d outputs", len(m.resources), len(m.variables), len(m.outputs))
}

// TestTerraformBites: what is wrong is found.
func TestTerraformBites(t *testing.T) {
	t.Parallel()
	const account = `resource "google_service_account" "a" { account_id = "a" }` + "\n"
	for text, want := range map[string]string{
		`resource "google_service_account" "a" { name = "a" }`:                                          `no argument "name"`,
		`resource "google_service_account" "a" { display_name = "a" }`:                                  `no "account_id", which is required`,
		`resource "google_nothing" "a" {}`:                                                              "does not have",
		"resource \"google_secret_manager_secret\" \"a\" {\n secret_id = \"a\"\n replicas {}\n}":        `no block "replicas"`,
		"resource \"google_secret_manager_secret\" \"a\" {\n secret_id = \"a\"\n}":                      `no block "replication"`,
		account + "output \"o\" {\n description = \"d\"\n value = google_service_account.b.email\n}":    "no resource google_service_account.b",
		account + "output \"o\" {\n description = \"d\"\n value = google_service_account.a.mail\n}":     "no attribute mail",
		account + "output \"o\" {\n description = \"d\"\n value = var.x\n}":                             "no variable x",
		account + "output \"o\" {\n description = \"d\"\n value = google_service_account.a[0].email\n}": "",
		"variable \"x\" {\n type = string\n}":                                                           "no description",
		"variable \"x\" {\n type = string\n description = \"d\"\n}\n":                                   "used nowhere",
		"locals {\n a = 1\n}": "local a is used nowhere",
		"resource \"google_service_account\" \"a\" {\n account_id = \"a\"\n timeouts {}\n timeouts {}\n}": `a second "timeouts"`,
	} {
		m, diags := newModule(map[string]string{"a.tf": text})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		got := strings.Join(m.check(loadSchemas(t)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\ngot %q, want %q", text, got, want)
		}
	}
}
