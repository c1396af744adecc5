package emulator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestTree(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	const ms = time.Millisecond
	spans := []Span{
		// Out of order, as chunks come.
		{TraceID: "b", SpanID: 21, Service: "worker", Resource: "job", Start: at(500), Duration: 3 * time.Second},
		{TraceID: "a", SpanID: 4, ParentID: 3, Service: "stock", Resource: "SELECT 1", Start: at(4), Duration: 1234567},
		{TraceID: "a", SpanID: 2, ParentID: 1, Service: "shop", Name: "first", Start: at(1), Duration: 2 * ms, Error: true, Meta: map[string]string{"error.message": "no stock\nof \x1b[31mtea\u202e"}},
		{TraceID: "a", SpanID: 3, ParentID: 1, Service: "shop", Resource: "second", Start: at(3), Duration: 5 * ms, Error: true},
		{TraceID: "a", SpanID: 1, Service: "shop", Resource: "GET /users/{id}", Start: at(0), Duration: 12 * ms},
		{TraceID: "a", SpanID: 5, ParentID: 99, Service: "elsewhere", Resource: "an orphan", Start: at(9), Duration: 0},
		{TraceID: "a", SpanID: 2, ParentID: 1, Service: "shop", Resource: "first again", Start: at(2), Duration: 999},
		// Each other's parents, and its own.
		{TraceID: "c", SpanID: 31, ParentID: 32, Service: "x", Resource: "31", Start: at(900)},
		{TraceID: "c", SpanID: 32, ParentID: 31, Service: "x", Resource: "32", Start: at(901)},
		{TraceID: "c", SpanID: 33, ParentID: 33, Service: "x", Resource: "33", Start: at(902)},
		{TraceID: "c", Service: "x", Resource: "without an id", Start: at(903), Error: true, Events: []SpanEvent{{Attributes: map[string]any{"exception.message": "lost"}}}},
		{TraceID: "\x07evil", SpanID: 41, Service: "\xffz\ufffd", Resource: strings.Repeat("長", 200), Start: at(999), Duration: 1500 * time.Nanosecond},
	}
	golden(t, "tree", Tree(spans))
	if got := Tree(nil); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

// TestTreeIsBounded: a chain of spans would else take the square of its length.
func TestTreeIsBounded(t *testing.T) {
	t.Parallel()
	const n = 5_000
	var spans []Span
	for i := range n {
		spans = append(spans, Span{TraceID: "a", SpanID: uint64(i + 1), ParentID: uint64(i), Service: "s", Resource: fmt.Sprint(i)})
	}
	got := Tree(spans)
	if lines := strings.Count(got, "\n"); lines != n+1 || len(got) > 300*n {
		t.Errorf("%d lines, %d bytes", lines, len(got))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
