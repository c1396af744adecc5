package obstest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Check compares what was recorded with a tree, and returns an error that
// shows where they part:
//
//	GET /orders/{id} server http.response.status_code=200
//	  INFO order loaded order.id=7
//	  order.load
//	    …
//
// A line is a span's name or a record's severity and message, two spaces (or a
// tab) below the span it belongs to, in the order they began and were written.
// What follows it must be among its attributes or fields: the kind of a span
// unless that is internal, key=value as slog's text handler prints them, and
// for a span that failed error= with the status's description. Attributes that
// the line does not name may be there. "…" or "..." stands for any lines at its
// depth and below. Durations and ports of this machine compare equal.
//
// While spans are open that may be on their way, a server's after its answer
// above all, Check waits for up to 5 s until what is recorded is what is wanted.
func (r *Recorder) Check(want string) error {
	r.t.Helper()
	return r.await(func() error { return r.compare(want) })
}

// await asks until there is no error, or nothing that may still change it: no
// span is open, or the time is over.
func (r *Recorder) await(ask func() error) error {
	r.t.Helper()
	for wait := time.Millisecond; ; wait *= 2 {
		settled := !r.anyOpen()
		err := ask()
		if err == nil || settled || wait > checkWait {
			return err
		}
		time.Sleep(wait)
	}
}

const checkWait = 2500 * time.Millisecond // the last pause; all of them are twice as long

func (r *Recorder) anyOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open) > 0
}

func (r *Recorder) compare(want string) error {
	r.t.Helper()
	traces := r.Traces()
	got := lines(traces)
	ids := idsOf(traces)
	for i := range got {
		got[i] = got[i].normalized(ids)
	}
	return compare(parseTree(want), got)
}

// Want is [Recorder.Check], and fails the test with its error.
func (r *Recorder) Want(tree string) {
	r.t.Helper()
	if err := r.Check(tree); err != nil {
		r.t.Error(err)
	}
}

// CheckGolden compares what was recorded, whole, with a file, and returns an
// error that shows where they differ. Times are left out; ids, durations and
// ports are replaced by names. If the test binary has a flag -update and it is
// set, the file is written instead. It waits for open spans as Check does.
func (r *Recorder) CheckGolden(path string) error {
	r.t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		_ = r.await(func() error { // what is open after that is for the test's end to say
			if r.anyOpen() {
				return errors.New("spans are open")
			}
			return nil
		})
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(r.whole()), 0o644))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w (go test -update writes it, where the test defines that flag)", err)
	}
	return r.await(func() error {
		got := r.whole()
		if got == string(want) {
			return nil
		}
		w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
		var d strings.Builder
		was, is := func(i int) string { return w[i] }, func(j int) string { return g[j] }
		diff(&d, len(w), len(g), func(i, j int) bool { return w[i] == g[j] }, was, is, is)
		return fmt.Errorf("%s differs (- file, + recorded; go test -update writes it anew):\n%s", path, strings.TrimRight(d.String(), " \n"))
	})
}

// Golden is [Recorder.CheckGolden], and fails the test with its error.
func (r *Recorder) Golden(path string) {
	r.t.Helper()
	if err := r.CheckGolden(path); err != nil {
		r.t.Error(err)
	}
}

// whole is what was recorded, normalized.
func (r *Recorder) whole() string {
	r.t.Helper()
	traces := r.Traces()
	ids := idsOf(traces)
	var b strings.Builder
	for _, l := range lines(traces) {
		b.WriteString(l.normalized(ids).String() + "\n")
	}
	return b.String()
}

// wanted is a line of the tree to compare with.
type wanted struct {
	depth int
	text  string // as it stands
	any   bool   // any lines, at this depth and below
}

// parseTree takes the indentation that all lines share away.
func parseTree(tree string) (out []wanted) {
	var shared *string
	all := strings.Split(tree, "\n")
	all = slices.DeleteFunc(all, func(l string) bool { return strings.TrimSpace(l) == "" })
	for _, l := range all {
		margin := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		if shared == nil {
			shared = &margin
		}
		for !strings.HasPrefix(margin, *shared) {
			*shared = (*shared)[:len(*shared)-1]
		}
	}
	for _, l := range all {
		l = strings.TrimPrefix(l, *shared)
		text := strings.TrimLeft(l, " \t")
		margin := strings.ReplaceAll(l[:len(l)-len(text)], "\t", "  ")
		text = strings.TrimSpace(text)
		out = append(out, wanted{len(margin) / 2, normal(text), text == "…" || text == "..."})
	}
	return out
}

// matches reports whether l is what w wants.
func (w wanted) matches(l line) bool {
	if w.depth != l.depth {
		return false
	}
	rest, ok := strings.CutPrefix(w.text, l.head)
	if !ok {
		return false
	}
	for rest != "" {
		if rest[0] != ' ' {
			return false
		}
		rest = strings.TrimLeft(rest, " ")
		part := ""
		for _, p := range append([]string{l.kind}, l.attrs...) {
			if tail, ok := strings.CutPrefix(rest, p); ok && len(p) > len(part) && (tail == "" || tail[0] == ' ') {
				part = p
			}
		}
		if part == "" {
			return rest == ""
		}
		rest = rest[len(part):]
	}
	return true
}

// compare walks both trees until they part.
func compare(want []wanted, got []line) error {
	i, j := 0, 0
	for i < len(want) {
		switch {
		case want[i].any:
			for j < len(got) && got[j].depth >= want[i].depth && (i+1 == len(want) || !want[i+1].matches(got[j])) {
				j++
			}
		case j < len(got) && want[i].matches(got[j]):
			j++
		default:
			return parted(want, got, i, j)
		}
		i++
	}
	if j < len(got) {
		return parted(want, got, i, j)
	}
	return nil
}

// parted shows where the trees part, at want[i] and got[j], and what follows.
// After the first difference the lines that the trees have in common are found
// again, unless any lines may stand between them.
func parted(want []wanted, got []line, i, j int) error {
	var b strings.Builder
	for _, l := range got[:j] {
		b.WriteString("    " + l.brief() + "\n")
	}
	want, got = want[i:], got[j:]
	same := func(i, j int) bool { return want[i].matches(got[j]) }
	if slices.ContainsFunc(want, func(w wanted) bool { return w.any }) {
		same = func(int, int) bool { return false }
	}
	brief := func(j int) string { return got[j].brief() }
	first := true
	diff(&b, len(want), len(got), same, func(i int) string {
		return strings.Repeat("  ", want[i].depth) + want[i].text
	}, brief, func(j int) string {
		l := got[j]
		near := slices.ContainsFunc(want, func(w wanted) bool { return strings.HasPrefix(w.text, l.head) })
		if near || first { // it may be an attribute that is not the wanted one
			first = false
			return l.String()
		}
		return l.brief()
	})
	return errors.New("telemetry differs (- wanted, + recorded):\n" + strings.TrimSuffix(b.String(), "\n"))
}

// brief is l without its attributes.
func (l line) brief() string { return line{depth: l.depth, head: l.head, kind: l.kind}.String() }

// diff prints n lines and m lines. Those that are the same come once, as both
// prints them, the others as a and b do.
func diff(out *strings.Builder, n, m int, same func(i, j int) bool, a, both, b func(int) string) {
	// The length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int, n+1)
	for i := range common {
		common[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if same(i, j) {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < n || j < m {
		switch {
		case i < n && j < m && same(i, j):
			out.WriteString("    " + both(j) + "\n")
			i, j = i+1, j+1
		case i < n && (j == m || common[i+1][j] >= common[i][j+1]):
			out.WriteString("  - " + a(i) + "\n")
			i++
		default:
			out.WriteString("  + " + b(j) + "\n")
			j++
		}
	}
}
