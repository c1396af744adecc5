//go:build unix

package benchmarks

import (
	"fmt"
	"strings"
	"testing"
)

// TestWire counts the bytes of a span's way to its backend, in traces of ten,
// and holds ours to 0.95 of what dd-trace-go sends.
func TestWire(t *testing.T) {
	const traces, perTrace = 1000, 10
	perSpan := make(map[string]int64)
	var table strings.Builder
	table.WriteString("| exporter | bytes a span |\n|---|---|\n")
	for _, p := range spanPeers {
		if strings.HasPrefix(p.name, "sdk-") {
			continue // sends nothing
		}
		t.Run(p.name, func(t *testing.T) {
			s := newSink(t)
			sp := p.new(t, s, perTrace)
			for range traces {
				sp.trace()
			}
			sp.flush()
			if got := sp.delivered(); got != traces {
				t.Fatalf("%d of %d traces arrived", got, traces)
			}
			perSpan[p.name] = s.bytes.Load() / (traces * perTrace)
			fmt.Fprintf(&table, "| %s | %d |\n", p.name, perSpan[p.name])
		})
	}
	t.Log(perSpan)
	if ours, theirs := perSpan["kumihimo"], perSpan["dd-trace-go"]; ours*100 > theirs*95 {
		t.Errorf("%d bytes a span, dd-trace-go sends %d", ours, theirs)
	}
	if *update {
		writeSection(t, benchmarksDoc, "wire", table.String())
	}
}
