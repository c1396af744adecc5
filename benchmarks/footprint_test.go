//go:build unix

package benchmarks

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxBinary is what a stripped service with obs and chiobs may weigh, in bytes.
const maxBinary = 10_000_000

// footprints are the programs of internal/size.
var footprints = map[string]string{
	"kumihimo": "kumihimo: obs and chiobs", "otelsdk": "OpenTelemetry's SDK alone", "otelchi": "otelchi and otlptracehttp",
}

// TestFootprint builds stripped services and says what they weigh, what their
// resident memory is at rest, and how long the telemetry takes to set up. Only
// the size of the binary is held: it is the one that does not depend on how
// busy the machine is.
func TestFootprint(t *testing.T) {
	if testing.Short() {
		t.Skip("links three programs")
	}
	dir := t.TempDir()
	var table strings.Builder
	table.WriteString("| service | binary | memory at rest | set-up |\n|---|---|---|---|\n")
	for _, name := range []string{"kumihimo", "otelsdk", "otelchi"} {
		bin := filepath.Join(dir, name)
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./internal/size/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", build, err, out)
		}
		info, err := os.Stat(bin)
		if err != nil {
			t.Fatal(err)
		}
		setup, rss := atRest(t, bin)
		line := fmt.Sprintf("| %s | %.2f MB | %.1f MiB | %.2f ms |\n",
			footprints[name], float64(info.Size())/1e6, float64(rss)/1024, float64(setup)/1000)
		t.Log(line)
		table.WriteString(line)
		if name == "kumihimo" && info.Size() > maxBinary {
			t.Errorf("%d bytes, want at most %d", info.Size(), maxBinary)
		}
	}
	if *update {
		writeSection(t, benchmarksDoc, "footprint", table.String())
	}
}

// atRest returns the least of several runs: µs of set-up, KiB of memory.
func atRest(t *testing.T, bin string) (setup, rss int) {
	t.Helper()
	for range 10 {
		run := exec.CommandContext(t.Context(), bin)
		run.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := run.Output()
		if err != nil {
			t.Fatalf("%v: %v", run, err)
		}
		var s, r int
		if _, err := fmt.Sscanf(string(out), "setup_us=%d rss_kib=%d", &s, &r); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		setup, rss = min(cmp.Or(setup, s), s), min(cmp.Or(rss, r), r)
	}
	return setup, rss
}
