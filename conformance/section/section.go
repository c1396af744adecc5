// Package section replaces the generated parts of a document, which stand
// between two comments.
package section

import (
	"fmt"
	"os"
	"strings"
)

const end = "<!-- end -->"

// Write puts text in place of a document's section.
func Write(path, name, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	from, to, err := find(string(doc), name)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(string(doc[:from])+"\n"+strings.TrimSpace(text)+"\n\n"+string(doc[to:])), 0o644)
}

// Rows returns the cells of a section's table, without its head.
func Rows(path, name string) ([][]string, error) {
	doc, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	from, to, err := find(string(doc), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var rows [][]string
	for line := range strings.Lines(string(doc[from:to])) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "| ")
		if !ok {
			continue
		}
		rows = append(rows, strings.Split(strings.TrimSuffix(line, " |"), " | "))
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no table in the section %q", path, name)
	}
	return rows[1:], nil
}

// find returns where the generated text begins and ends.
func find(doc, name string) (from, to int, err error) {
	open := "<!-- " + name + ", by make reliability -->\n"
	from = strings.Index(doc, open)
	if from < 0 {
		return 0, 0, fmt.Errorf("no section %q", name)
	}
	from += len(open)
	to = strings.Index(doc[from:], end)
	if to < 0 {
		return 0, 0, fmt.Errorf("the section %q does not end", name)
	}
	return from, from + to, nil
}
