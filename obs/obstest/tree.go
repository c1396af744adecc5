package obstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A line of the tree: a span or a record, below the span it belongs to.
type line struct {
	depth int
	head  string   // a span's name, or a record's severity and message
	kind  string   // a span's, unless internal
	attrs []string // "key=value", sorted
	took  string   // a span's duration
}

func (l line) String() string {
	var b strings.Builder
	b.WriteString(strings.Repeat("  ", l.depth))
	b.WriteString(l.head)
	for _, part := range append([]string{l.kind, l.took}, l.attrs...) {
		if part != "" {
			b.WriteString(" " + part)
		}
	}
	return b.String()
}

// lines flattens traces, the records of no trace last.
func lines(traces []*Trace) (out []line) {
	for _, t := range traces {
		out = appendLines(out, 0, t.Roots, t.Records)
	}
	return out
}

func appendLines(out []line, depth int, spans []*Span, records []*Record) []line {
	for _, e := range entries(spans, records) {
		if e.record != nil {
			out = append(out, line{depth: depth, head: e.record.Severity + " " + e.record.Message, attrs: pairs(e.record.Fields, false)})
			continue
		}
		l := line{depth: depth, head: e.span.Name, attrs: pairs(e.span.Attributes, e.span.Failed, e.span.Error), took: e.span.Duration.Round(time.Microsecond).String()}
		if e.span.Kind != "internal" {
			l.kind = e.span.Kind
		}
		out = appendLines(append(out, l), depth+1, e.span.Children, e.span.Records)
	}
	return out
}

// pairs prints attributes as slog's text handler does, maps as groups. A failed
// span has its description as error. Stacks are left out.
func pairs(m map[string]any, failed bool, description ...string) (out []string) {
	if failed {
		out = append(out, pair("error", strings.Join(description, "")))
	}
	return appendPairs(out, "", m, failed)
}

func appendPairs(out []string, prefix string, m map[string]any, failed bool) []string {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if key == "stack_trace" || failed && key == "error" {
			continue
		}
		if members, ok := m[key].(map[string]any); ok && len(members) > 0 {
			out = appendPairs(out, prefix+key+".", members, false)
			continue
		}
		out = append(out, pair(prefix+key, m[key]))
	}
	return out
}

func pair(key string, v any) string {
	text, ok := v.(string)
	if !ok {
		text = fmt.Sprint(v)
		if b, err := json.Marshal(v); err == nil {
			text = string(b)
		}
	}
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		text = strconv.Quote(text)
	}
	return key + "=" + text
}

// String prints what was recorded so far, trace by trace.
func (r *Recorder) String() string {
	var b strings.Builder
	for _, t := range r.Traces() {
		b.WriteString(t.String())
	}
	router.mu.Lock()
	defer router.mu.Unlock()
	if len(router.strays) > 0 {
		fmt.Fprintf(&b, "of no test, as their context is of none: %q\n", router.strays)
	}
	return b.String()
}

// String prints the trace as a tree of spans and records, in the order they
// began and were written, below a line with its id.
func (t *Trace) String() string {
	var b strings.Builder
	if t.ID == "" {
		b.WriteString("in no trace\n")
	} else {
		b.WriteString("trace " + t.ID + "\n")
	}
	for _, l := range lines([]*Trace{t}) {
		l.depth++
		b.WriteString(l.String() + "\n")
	}
	return b.String()
}

var (
	durations = regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|ms|s)\b`)
	ports     = regexp.MustCompile(`(127\.0\.0\.1|\[::1\]|localhost):\d+`)
)

// normal replaces what differs from run to run: durations, and the ports of
// this machine.
func normal(s string) string {
	return ports.ReplaceAllString(durations.ReplaceAllString(s, "<duration>"), "$1:<port>")
}

// volatile are keys whose values differ from run to run, by their last word.
var volatile = map[string]bool{
	"port": true, "latency": true, "duration": true, "time_to_first_byte": true, "ttfb": true, "goroutine": true,
}

// normalized returns l without what differs from run to run. ids are replaced
// by their order of appearance.
func (l line) normalized(ids *strings.Replacer) line {
	l.took = ""
	l.head = ids.Replace(normal(l.head))
	attrs := make([]string, len(l.attrs))
	for i, a := range l.attrs {
		key, _, _ := strings.Cut(a, "=")
		if volatile[key[strings.LastIndexByte(key, '.')+1:]] {
			a = key + "=<" + key[strings.LastIndexByte(key, '.')+1:] + ">"
		}
		attrs[i] = ids.Replace(normal(a))
	}
	l.attrs = attrs
	return l
}

// idsOf names the ids of traces by the order in which they appear.
func idsOf(traces []*Trace) *strings.Replacer {
	var pairs []string
	spans := 0
	for i, t := range traces {
		if t.ID != "" {
			pairs = append(pairs, t.ID, fmt.Sprintf("<trace-%d>", i+1))
		}
		t.walk(func(s *Span) {
			spans++
			pairs = append(pairs, s.ID, fmt.Sprintf("<span-%d>", spans))
		})
	}
	return strings.NewReplacer(pairs...)
}
