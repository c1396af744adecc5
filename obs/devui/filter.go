package devui

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// A filter says which traces and records a page wants. The zero value wants
// all.
type filter struct {
	terms          []string // in lower case; all must occur
	service, route string
	status         [2]int        // from, to; zero: any
	min            time.Duration // of the request
	failed         bool
	level          *slog.Level // a record of it or above
	trace          *trace.TraceID
}

// maxTerms bounds the work a search can ask for.
const maxTerms = 8

// parseFilter reads q, service, route, status (404, 5xx), min (20ms), failed
// (1), level (warn) and trace.
func parseFilter(q url.Values) (f filter, err error) {
	f.terms = strings.Fields(strings.ToLower(q.Get("q")))
	f.terms = f.terms[:min(len(f.terms), maxTerms)]
	f.service, f.route = q.Get("service"), q.Get("route")
	f.failed = q.Get("failed") == "1"
	if s := q.Get("status"); s != "" {
		if f.status, err = parseStatus(s); err != nil {
			return f, err
		}
	}
	if s := q.Get("min"); s != "" {
		if f.min, err = time.ParseDuration(s); err != nil {
			return f, fmt.Errorf("min=%q: want a duration such as 20ms", s)
		}
	}
	if s := q.Get("level"); s != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(s)); err != nil {
			return f, fmt.Errorf("level=%q: want debug, info, warn or error", s)
		}
		f.level = &l
	}
	if s := q.Get("trace"); s != "" {
		id, err := trace.TraceIDFromHex(s)
		if err != nil {
			return f, fmt.Errorf("trace=%q: want 32 hexadecimal digits", s)
		}
		f.trace = &id
	}
	return f, nil
}

func parseStatus(s string) ([2]int, error) {
	if class, ok := strings.CutSuffix(s, "xx"); ok && len(class) == 1 && class[0] >= '1' && class[0] <= '5' {
		n := int(class[0]-'0') * 100
		return [2]int{n, n + 99}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 100 || n > 999 {
		return [2]int{}, fmt.Errorf("status=%q: want a code or a class, such as 404 or 5xx", s)
	}
	return [2]int{n, n}, nil
}

// wants reports whether the list is to show t. A trace of which only records
// have come is no request yet.
func (f *filter) wants(t *traceEntry, found map[string]map[trace.TraceID]bool) bool {
	switch {
	case len(t.spans) == 0:
		return false
	case f.trace != nil && t.id != *f.trace,
		f.service != "" && !slices.Contains(t.services, f.service),
		f.route != "" && t.top.route != f.route,
		f.status[0] != 0 && (t.top.status < f.status[0] || t.top.status > f.status[1]),
		t.length() < int64(f.min),
		f.failed && !t.failed,
		f.level != nil && (!t.hasRecords || slog.Level(t.level) < *f.level):
		return false
	}
	for _, term := range f.terms {
		if !t.contains(term) && !found[term][t.id] {
			return false
		}
	}
	return true
}

// contains reports whether term occurs in the trace's id, in what the list says
// of it, or in a name or a text of its spans. What spans say by number beside
// their names is keys alone.
func (t *traceEntry) contains(term string) bool {
	if strings.HasPrefix(t.id.String(), term) {
		return true
	}
	h := &t.top
	for _, s := range []string{h.name, h.method, h.route, h.path, strconv.Itoa(h.status)} {
		if containsFold(s, term) {
			return true
		}
	}
	has := func(s string) bool { return containsFold(s, term) }
	return slices.ContainsFunc(t.services, has) || slices.ContainsFunc(t.names, has) ||
		slices.ContainsFunc(t.spans, has)
}

// containsFold is strings.Contains with s in any case and term in lower.
func containsFold(s, term string) bool {
	if term == "" {
		return true
	}
	if !isASCII(term) {
		return strings.Contains(strings.ToLower(s), term)
	}
	for i := 0; i+len(term) <= len(s); i++ {
		if lower(s[i]) == term[0] && equalFold(s[i:i+len(term)], term) {
			return true
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func equalFold(s, term string) bool {
	for i := range len(s) {
		if lower(s[i]) != term[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// wantsLog reports whether the tail is to show r.
func (f *filter) wantsLog(r *logRecord) bool {
	if f.level != nil && slog.Level(r.level) < *f.level || f.trace != nil && r.trace != *f.trace {
		return false
	}
	return !slices.ContainsFunc(f.terms, func(term string) bool { return !r.contains(term) })
}

func (r *logRecord) contains(term string) bool {
	return containsFold(r.message, term) || containsFold(r.attrs, term) || strings.HasPrefix(r.trace.String(), term)
}
