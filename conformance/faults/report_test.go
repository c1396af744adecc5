//go:build unix

package faults

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/conformance/section"
)

// make reliability runs every fault with every client, in real time, and writes
// what came of it.
var update = flag.Bool("update", false, "run all faults in full and write ../../docs/reliability.md; takes minutes")

const (
	document = "../../docs/reliability.md"
	rawFiles = "../../docs/data/reliability-%s.jsonl"
)

// atOnce is how many runs go on at a time: they wait, most of the time.
const atOnce = 12

// TestUpdate makes the document's tables.
func TestUpdate(t *testing.T) {
	if !*update {
		t.Skip("run with -update")
	}
	faults := full.faults()
	rows := make([][]row, len(faults)) // by fault and client
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, f := range faults {
		rows[i] = make([]row, len(clients))
		for j, c := range clients {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				r, err := run(t.Context(), full, f, c.name, nil)
				if err != nil {
					t.Error(err)
				}
				rows[i][j] = r
			})
		}
	}
	wg.Wait()
	for i, f := range faults {
		rows[i][0].check(t, f)
	}
	write(t, "machine", machine(t))
	write(t, "kumihimo", ours(rows))
	write(t, "peers", beside(rows))
	writeRaw(t, "exporters", slices.Concat(rows...))
}

func write(t *testing.T, name, text string) {
	t.Helper()
	t.Logf("%s\n%s", name, text)
	if err := section.Write(document, name, text); err != nil {
		t.Error(err)
	}
}

// writeRaw keeps one line of JSON a row.
func writeRaw[T any](t *testing.T, name string, rows []T) {
	t.Helper()
	var b strings.Builder
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	if err := os.WriteFile(fmt.Sprintf(rawFiles, name), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ours is the table of kumihimo's account.
func ours(rows [][]row) string {
	var b strings.Builder
	b.WriteString("| fault | spans ended | sent | lost | duplicates | last span there after | reported |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		k := r[0]
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %d | %s | %s |\n", k.Fault, k.Ended, k.Sent, lost(k), k.Twice, seconds(k.Last), said(k.Reports))
	}
	return b.String()
}

// lost is the number of lost spans, with the reason that was counted.
func lost(r row) string {
	text := fmt.Sprint(r.Lost)
	for _, reason := range slices.Sorted(maps.Keys(r.Dropped)) {
		text += fmt.Sprintf(", %d `%s`", r.Dropped[reason], reason)
	}
	return text
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func said(reports map[string]int) string {
	var texts []string
	for _, text := range slices.Sorted(maps.Keys(reports)) {
		times := ""
		if n := reports[text]; n > 1 {
			times = fmt.Sprintf("%d× ", n)
		}
		texts = append(texts, times+"“"+text+"”")
	}
	return cmp.Or(strings.Join(texts, ", "), "nothing")
}

// beside has what each client lost, in one line a fault.
func beside(rows [][]row) string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, c := range clients {
		fmt.Fprintf(&b, " %s: lost | twice | lines logged | shutdown |", c.name)
	}
	b.WriteString("\n|---" + strings.Repeat("|---|---|---|---", len(clients)) + "|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r[0].Fault)
		for _, c := range r {
			lines := 0
			for _, n := range c.Reports {
				lines += n
			}
			fmt.Fprintf(&b, " %s | %d | %d | %.1f s |", bold(c.Lost), c.Twice, lines, c.Stopping.Seconds())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func bold(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d**", n)
}

// machine says what it was run on, and with which versions.
func machine(t *testing.T) string {
	t.Helper()
	versions, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Path}} {{.Version}}",
		"github.com/DataDog/dd-trace-go/v2", "go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp", "github.com/redis/go-redis/v9",
		"google.golang.org/api", "cloud.google.com/go/auth").Output()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s, %s/%s, %d cores%s, %s; %s.", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), cpuModel(), runtime.Version(), strings.Join(strings.Split(strings.TrimSpace(string(versions)), "\n"), ", "))
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(info), "model name\t: ")
	name, _, ok := strings.Cut(rest, "\n")
	if !ok {
		return ""
	}
	return " (" + name + ")"
}

// TestDocument fails when a fault was added, changed or taken away since the
// document was written, or when it says that kumihimo lost what it must not.
func TestDocument(t *testing.T) {
	t.Parallel()
	faults := full.faults()
	for _, name := range []string{"kumihimo", "peers"} {
		rows, err := section.Rows(document, name)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(faults) {
			t.Fatalf("%s has %d rows of %d in the section %s: run make reliability", document, len(rows), len(faults), name)
		}
		for i, f := range faults {
			if rows[i][0] != f.name {
				t.Errorf("%s: got %q, want %q: run make reliability", document, rows[i][0], f.name)
			}
			if got := rows[i][3]; name == "kumihimo" && (got == "0") != (f.reason == "") {
				t.Errorf("%s, %s: lost %s, want the reason %q", document, f.name, got, f.reason)
			}
		}
	}
}
