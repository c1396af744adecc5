package emulator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxTreeText   = 120 // runes of a name, a resource, a message
	maxTreeIndent = 40  // levels; deeper spans stand at the last
)

// Tree shows spans to people: each trace with its spans under their parents,
// in the order in which they began. A span whose parent is not among them
// stands at the top. Control characters are escaped, so that a terminal shows
// what it is told to and does nothing else.
func Tree(spans []Span) string {
	var b strings.Builder
	for _, t := range traces(spans) {
		var began, ended time.Time
		for _, s := range t.spans {
			if began.IsZero() || s.Start.Before(began) {
				began = s.Start
			}
			if end := s.Start.Add(s.Duration); end.After(ended) {
				ended = end
			}
		}
		plural := "s"
		if len(t.spans) == 1 {
			plural = ""
		}
		fmt.Fprintf(&b, "trace %s  %d span%s  %s\n", printable(t.id), len(t.spans), plural, length(ended.Sub(began)))
		t.print(&b)
	}
	return b.String()
}

// trace is the spans of one trace, in the order of their beginning.
type trace struct {
	id       string
	spans    []Span
	children map[uint64][]int // by the parent's id
	printed  []bool
}

func traces(spans []Span) []*trace {
	sorted := slices.Clone(spans)
	slices.SortStableFunc(sorted, func(a, b Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.SpanID, b.SpanID))
	})
	byID := make(map[string]*trace)
	var all []*trace
	for _, s := range sorted {
		t := byID[s.TraceID]
		if t == nil {
			t = &trace{id: s.TraceID, children: make(map[uint64][]int)}
			byID[s.TraceID] = t
			all = append(all, t)
		}
		t.children[s.ParentID] = append(t.children[s.ParentID], len(t.spans))
		t.spans = append(t.spans, s)
	}
	return all
}

// print prints the roots with what is under them, and then what is under
// nothing: spans that are each other's parents.
func (t *trace) print(b *strings.Builder) {
	known := make(map[uint64]bool, len(t.spans))
	for _, s := range t.spans {
		known[s.SpanID] = true
	}
	t.printed = make([]bool, len(t.spans))
	var roots []int
	for i, s := range t.spans {
		if s.ParentID == 0 || s.ParentID == s.SpanID || !known[s.ParentID] {
			roots = append(roots, i)
		}
	}
	t.level(b, roots, "", 0)
	for i := range t.spans {
		t.level(b, []int{i}, "", 0)
	}
}

// level prints spans of one parent.
func (t *trace) level(b *strings.Builder, spans []int, indent string, depth int) {
	spans = slices.DeleteFunc(slices.Clone(spans), func(i int) bool { return t.printed[i] })
	for n, i := range spans {
		if t.printed[i] {
			continue
		}
		t.printed[i] = true
		branch, below := "├─ ", "│  "
		if n == len(spans)-1 {
			branch, below = "└─ ", "   "
		}
		if depth >= maxTreeIndent {
			below = ""
		}
		s := &t.spans[i]
		b.WriteString(indent + branch + describe(s) + "\n")
		if s.SpanID != 0 {
			t.level(b, t.children[s.SpanID], indent+below, depth+1)
		}
	}
}

// describe is one line: service, resource, duration, and what went wrong.
func describe(s *Span) string {
	resource := s.Resource
	if resource == "" {
		resource = s.Name
	}
	line := printable(s.Service) + "  " + printable(resource) + "  " + length(s.Duration)
	if s.Error {
		line += "  ERROR"
		if message := errorMessage(s); message != "" {
			line += " " + printable(message)
		}
	}
	return line
}

func errorMessage(s *Span) string {
	for _, key := range []string{"error.message", "error.msg"} {
		if m := s.Meta[key]; m != "" {
			return m
		}
	}
	for _, e := range s.Events {
		if m, ok := e.Attributes["exception.message"].(string); ok && m != "" {
			return m
		}
	}
	return ""
}

// length rounds a duration to what people read.
func length(d time.Duration) string {
	switch {
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	case d >= time.Microsecond:
		d = d.Round(10 * time.Nanosecond)
	}
	return d.String()
}

// printable bounds a text and escapes what a terminal could act on.
func printable(s string) string {
	var b []byte
	n := 0
	for i, r := range s {
		if n++; n > maxTreeText {
			b = append(b, "…"...)
			break
		}
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b = append(b, s[i:i+len(string(r))]...)
		default:
			quoted := strconv.AppendQuoteRune(nil, r)
			b = append(b, quoted[1:len(quoted)-1]...)
		}
	}
	return string(b)
}
