package section

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteAndRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "doc.md")
	const before = "# Title\n\n<!-- a, by make reliability -->\nold\n<!-- end -->\n\n<!-- b, by make reliability -->\n<!-- end -->\nlast\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Rows(path, "b"); err == nil {
		t.Error("rows of a section without a table")
	}
	for range 2 { // the second time over what it wrote the first
		if err := Write(path, "a", "| x | y |\n|---|---|\n| 1 | 2 |\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Title\n\n<!-- a, by make reliability -->\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n<!-- end -->\n\n<!-- b, by make reliability -->\n<!-- end -->\nlast\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	rows, err := Rows(path, "a")
	if diff := cmp.Diff([][]string{{"1", "2"}}, rows); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	if err := Write(path, "c", "text"); err == nil {
		t.Error("wrote a section that is not there")
	}
}
