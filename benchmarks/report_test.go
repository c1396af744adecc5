//go:build unix

package benchmarks

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// What was measured goes into the documents between two comments, and the
// samples it was made of into a file beside them.
const (
	benchmarksDoc = "../docs/benchmarks.md"
	readme        = "../README.md"
	samplesFile   = "../docs/data/benchmarks.csv"
)

const ratiosHead = "| # | what | peer | ours | peer's | ratio | median of pairs | allocations, ours / peer's | at most |\n|---|---|---|---|---|---|---|---|---|\n"

// readmeRows are the rows of the README's table.
var readmeRows = []string{"L1", "L4", "H1", "H2", "E1a", "E2b", "P1b"}

// String is the row's line of the table.
func (m measured) String() string {
	ours, allocs := least(m.ours)
	if m.row.theirs == nil {
		return fmt.Sprintf("| %s | %s | – | %s | | | | %s | %.0f ns, %s |\n",
			m.id, m.what, nanoseconds(ours), count(allocs), m.must, judge(ours <= m.must))
	}
	theirs, peerAllocs := least(m.theirs)
	return fmt.Sprintf("| %s | %s | %s | %s | %s | **%.2f×** | %.2f× | %s / %s | %.2f×, %s |\n",
		m.id, m.what, m.peer, nanoseconds(ours), nanoseconds(theirs), ours/theirs, m.median(),
		count(allocs), count(peerAllocs), m.must, judge(ours/theirs <= m.must))
}

// median is that of the ratios of the rounds.
func (m measured) median() float64 {
	var pairs []float64
	for i := range m.ours {
		pairs = append(pairs, m.ours[i].ns/m.theirs[i].ns)
	}
	slices.Sort(pairs)
	return pairs[len(pairs)/2]
}

// least is the time of the quickest round, and the median of the allocations:
// what runs in the background does not fall into each round alike.
func least(samples []sample) (ns, allocs float64) {
	ns = slices.MinFunc(samples, func(a, b sample) int { return cmp.Compare(a.ns, b.ns) }).ns
	byAllocs := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return cmp.Compare(a.allocs, b.allocs) })
	return ns, byAllocs[len(byAllocs)/2].allocs
}

func nanoseconds(ns float64) string {
	if ns < 10_000 {
		return fmt.Sprintf("%.0f ns", ns)
	}
	return fmt.Sprintf("%.1f µs", ns/1000)
}

// count leaves out what the runtime allocates beside the work.
func count(allocs float64) string {
	if allocs < 10 && allocs-float64(int(allocs)) > 0.05 {
		return fmt.Sprintf("%.1f", allocs)
	}
	return fmt.Sprintf("%.0f", allocs)
}

func judge(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// reportRatios writes the tables and the samples, if asked to.
func reportRatios(t *testing.T, all []measured) {
	if !*update {
		return
	}
	var table, short strings.Builder
	table.WriteString(ratiosHead)
	short.WriteString("| what | beside | ratio | allocations |\n|---|---|---|---|\n")
	for _, m := range all {
		fmt.Fprint(&table, m)
		if slices.Contains(readmeRows, m.id) {
			ours, allocs := least(m.ours)
			theirs, peerAllocs := least(m.theirs)
			fmt.Fprintf(&short, "| %s | %s | %.2f× | %s instead of %s |\n", m.what, m.peer, ours/theirs, count(allocs), count(peerAllocs))
		}
	}
	writeSection(t, benchmarksDoc, "machine", machine(t))
	writeSection(t, benchmarksDoc, "ratios", table.String())
	writeSection(t, readme, "ratios", short.String())

	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	w.Write([]string{"row", "round", "side", "ns", "allocations"}) //nolint:errcheck // Error says it
	for _, m := range all {
		for side, samples := range [][]sample{m.ours, m.theirs} {
			for i, s := range samples {
				w.Write([]string{m.id, fmt.Sprint(i), []string{"ours", "peer"}[side], fmt.Sprintf("%.1f", s.ns), fmt.Sprintf("%.2f", s.allocs)}) //nolint:errcheck // Error says it
			}
		}
	}
	w.Flush()
	if err := cmp.Or(w.Error(), os.WriteFile(samplesFile, buf.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// machine says what the figures were measured on, and with which versions.
func machine(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d cores%s, %s, %d rounds. Peers:",
		time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpuModel(), runtime.Version(), *rounds)
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := bytes.Cut(mod, []byte("\n)\n"))
	for _, m := range regexp.MustCompile(`(?m)^\t\S*?([\w-]+(?:/log)?)(?:/v\d+)? (v\S+)$`).FindAllSubmatch(direct, -1) {
		if name := string(m[1]); name != "kumihimo" && name != "go-cmp" && name != "trace" {
			fmt.Fprintf(&b, " %s %s,", name, m[2])
		}
	}
	return strings.TrimSuffix(b.String(), ",") + ".\n"
}

// cpuModel is the processor's name where the system tells it.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(info), "model name\t: ")
	name, _, _ := strings.Cut(rest, "\n")
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// writeSection replaces what stands between a document's two comments.
func writeSection(t *testing.T, path, name, text string) {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := sectionOf(t, string(doc), name)
	if err := os.WriteFile(path, []byte(string(doc[:begin])+"\n"+text+"\n"+string(doc[end:])), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sectionOf returns where the generated text begins and ends.
func sectionOf(t *testing.T, doc, name string) (begin, end int) {
	t.Helper()
	open := "<!-- " + name + ", by make bench -->\n"
	begin = strings.Index(doc, open)
	end = begin + strings.Index(doc[max(begin, 0):], "<!-- end -->")
	if begin < 0 || end < begin {
		t.Fatalf("no section %q", name)
	}
	return begin + len(open), end
}

// TestDocuments fails when a row was added, changed or taken away since the
// documents were written.
func TestDocuments(t *testing.T) {
	lines := func(path, name string) []string {
		doc, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := sectionOf(t, string(doc), name)
		return strings.Split(strings.TrimSpace(string(doc[begin:end])), "\n")[2:]
	}
	got := lines(benchmarksDoc, "ratios")
	if len(got) != len(rows) {
		t.Fatalf("%s has %d rows of %d: run make bench", benchmarksDoc, len(got), len(rows))
	}
	for i, r := range rows {
		if want := fmt.Sprintf("| %s | %s | %s |", r.id, r.what, cmp.Or(r.peer, "–")); !strings.HasPrefix(got[i], want) {
			t.Errorf("%s: got %s, want %s: run make bench", benchmarksDoc, got[i], want)
		}
	}
	if got := lines(readme, "ratios"); len(got) != len(readmeRows) {
		t.Errorf("%s has %d rows of %d: run make bench", readme, len(got), len(readmeRows))
	}
}
