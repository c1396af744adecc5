package blocks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "put the files' code into the documents")

// TestDocuments does with each block of each document what its language and its
// comment ask for.
func TestDocuments(t *testing.T) {
	t.Parallel()
	all := make(map[string][]block)
	var blocks []block
	for _, doc := range documents(t) {
		found, err := parse(doc, readDoc(t, doc))
		if err != nil {
			t.Fatal(err)
		}
		all[doc] = found
		blocks = append(blocks, found...)
	}
	c := newChecker(t, blocks)
	for _, doc := range slices.Sorted(maps.Keys(all)) {
		t.Run(doc, func(t *testing.T) {
			t.Parallel()
			if *update {
				rewrite(t, doc, all[doc])
				return
			}
			for _, b := range all[doc] {
				done, err := c.try(t.Context(), b)
				if err != nil {
					t.Errorf("%v: %v", b, err)
				} else if done != "" {
					t.Logf("%v: %s", b, done)
				}
			}
		})
	}
}

// elsewhere are documents with blocks that go together, and are tried together
// by the tests of another package.
var elsewhere = map[string]struct {
	tests string
	tried func(block) bool
}{
	"docs/testing.md":            {"internal/archtest", block.shown},
	"docs/cloud-run.md":          {"conformance/deploy", block.script},
	"docs/datadog.md":            {"conformance/deploy", block.script},
	"deploy/terraform/README.md": {"conformance/deploy", block.script},
}

func (b block) script() bool { return b.lang == "sh" && !b.span }

func (b block) shown() bool {
	_, quoted := b.directive("quoted")
	_, printed := b.directive("printed")
	return quoted || printed
}

// try returns what was done with a block; nothing for a code span that is no
// command.
func (c *checker) try(ctx context.Context, b block) (done string, err error) {
	if reason, ok := b.directive("not run"); ok {
		if len(reason) < 10 {
			return "", errors.New("not run: say why")
		}
		return "listed: " + reason, nil
	}
	if e, ok := elsewhere[b.doc]; ok && e.tried(b) {
		return "tried by " + e.tests, namesDocument(e.tests, b.doc)
	}
	if name, ok := b.directive("output of"); ok {
		return "printed by " + name, compare(ctx, b, name)
	}
	switch {
	case b.span:
		if commandSpan.MatchString(b.text) {
			return tryCommands(ctx, b)
		}
		return c.checkName(b)
	case b.quotes():
		_, err := checkFile(b)
		return "is " + b.comment, err
	case b.lang == "go":
		return "type-checked", c.check(b)
	case b.lang == "sh", b.lang == "bash", b.lang == "console":
		return tryCommands(ctx, b)
	case b.lang == "json":
		return "parsed", parseJSON(b.text)
	}
	return "", fmt.Errorf("nobody knows what to do with a block of %q: %s", b.lang, "see the package comment of docs/blocks")
}

// namesDocument wants a test in dir that names the document.
func namesDocument(dir, doc string) error {
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte(`"`+doc+`"`)) {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("no test in %s names %s", dir, doc))
}

func compare(ctx context.Context, b block, name string) error {
	output, ok := outputs[name]
	if !ok {
		return fmt.Errorf("no output is called %q", name)
	}
	printed, err := output(ctx)
	if err != nil {
		return err
	}
	return shows(printed, b.text)
}

func parseJSON(text string) error {
	dec := json.NewDecoder(strings.NewReader(text))
	for n := 0; ; n++ {
		var v any
		if err := dec.Decode(&v); errors.Is(err, io.EOF) && n > 0 {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// commandSpan is a code span that is a command to be typed.
var commandSpan = regexp.MustCompile(`^(go (run|get|test|doc|build) |make )\S`)

// tryCommands asks bash whether the block is a script, and tries each command.
func tryCommands(ctx context.Context, b block) (string, error) {
	text := b.text
	if b.lang == "console" {
		text = regexp.MustCompile(`(?m)^\$ `).ReplaceAllString(text, "")
	}
	cmd := exec.CommandContext(ctx, "bash", "-n")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("bash -n: %w\n%s", err, out)
	}
	var done []string
	for _, c := range commands(b) {
		name := c.args[0]
		if why, ok := listed[name]; ok {
			done = append(done, name+" listed: "+why)
			continue
		}
		try, ok := programs[name]
		if !ok {
			return "", fmt.Errorf("%s: nobody knows what to do with this program's commands", c.line)
		}
		if err := try(ctx, c); err != nil {
			return "", fmt.Errorf("%s: %w", c.line, err)
		}
		done = append(done, "tried "+c.line)
	}
	return strings.Join(done, "; "), nil
}

// rewrite puts the code of files into the document.
func rewrite(t *testing.T, doc string, blocks []block) {
	t.Helper()
	lines := strings.SplitAfter(readDoc(t, doc), "\n")
	for _, b := range slices.Backward(blocks) {
		if !b.quotes() {
			continue
		}
		if text, err := checkFile(b); err != nil && text != "" {
			lines = slices.Replace(lines, b.line, b.line+strings.Count(b.text, "\n"), text)
		}
	}
	file := filepath.Join(root, filepath.FromSlash(doc))
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
