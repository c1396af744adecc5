package blocks

import (
	"fmt"
	"go/token"
	"go/types"
	"io"
	"os"
	"regexp"
	"strings"
)

// qualified is a code span that begins with a name of a package, or with a
// type of ours: slog.Level, chiobs.Config.Skip, Options.Redact, tel.Flush(ctx).
var qualified = regexp.MustCompile(`^([A-Za-z]\w*)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)

// variables are what the documents call a value of ours.
var variables = map[string]string{"tel": "Telemetry", "span": "Span"}

// export opens what the go command has compiled of a package.
func (c *checker) export(path string) (io.ReadCloser, error) {
	if c.exports[path] == "" {
		return nil, fmt.Errorf("%s is not among the packages of imports.go", path)
	}
	return os.Open(c.exports[path])
}

// checkName looks a name up that a code span begins with. Names of packages that
// imports.go does not have, and of types that are not ours, pass.
func (c *checker) checkName(b block) (done string, err error) {
	m := qualified.FindStringSubmatch(b.text)
	if m == nil {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if path, ok := c.named[m[1]]; ok {
		p, err := c.importer.Import(path)
		if err != nil {
			return "", err
		}
		obj := p.Scope().Lookup(m[2])
		if obj == nil || m[3] != "" && !has(obj, m[3]) {
			return "", fmt.Errorf("%s: %s has no such name", m[0], path)
		}
		return m[0] + " is there", nil
	}
	typ := m[1]
	if v, ok := variables[typ]; ok {
		typ = v
	} else if !token.IsExported(typ) {
		return "", nil
	}
	ours, found := false, false
	for _, path := range c.named {
		if !strings.HasPrefix(path, "github.com/kumihimo/") {
			continue
		}
		p, err := c.importer.Import(path)
		if err != nil {
			return "", err
		}
		if obj := p.Scope().Lookup(typ); obj != nil {
			ours, found = true, found || has(obj, m[2])
		}
	}
	if ours && !found {
		return "", fmt.Errorf("%s: no %s of ours has it", m[0], typ)
	}
	return "", nil
}

// has says whether a type has a field or a method.
func has(obj types.Object, name string) bool {
	member, _, _ := types.LookupFieldOrMethod(obj.Type(), true, obj.Pkg(), name)
	return member != nil
}
