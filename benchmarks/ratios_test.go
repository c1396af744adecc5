//go:build unix

package benchmarks

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

// Run the table with
//
//	go test -run=TestRatios -v -timeout=30m . -ratios
//
// and add -update to write it into the documents.
var (
	ratios = flag.Bool("ratios", false, "measure every row of the table, in interleaved rounds")
	rounds = flag.Int("rounds", 20, "rounds of -ratios")
	update = flag.Bool("update", false, "write what was measured into ../docs and ../README.md")
)

// roundTime is about what one side of a round takes.
const roundTime = 25 * time.Millisecond

// A row compares two ways to do the same work. Ours may cost must times what
// the peer costs at most; without a peer, must nanoseconds.
type row struct {
	id, what, peer string
	must           float64
	ours, theirs   func(testing.TB) work
}

// work does something n times and returns when all of it is done.
type work func(n int)

func each(f func()) work {
	return func(n int) {
		for range n {
			f()
		}
	}
}

var rows = []row{
	{"L1", "record, 10 attributes", "slog.JSONHandler + trace wrapper", 0.47,
		logs("kumihimo", 0, 10), logs("slog+3ids", 0, 10)},
	{"L2", "record, 5 bound + 5 at the call", "slog.JSONHandler + trace wrapper", 0.36,
		logs("kumihimo", 5, 10), logs("slog+3ids", 5, 10)},
	{"L3", "record, 10 attributes", "phuslu/log's slog handler, no ids", 0.98,
		logs("kumihimo", 0, 10), logs("phuslu-noids", 0, 10)},
	{"L4", "record, 5 attributes", "zerolog's own API + trace ids", 1.0,
		logs("kumihimo", 0, 5), func(testing.TB) work { return each(newZerolog(io.Discard)) }},
	{"L5", "`Handle` alone, 10 attributes", "the same bytes by hand", 2.4,
		handleAlone, func(testing.TB) work { return each(newHandwritten(io.Discard)) }},
	{"L6a", "record below every level of the filter", "", 25, belowFilter, nil},
	{"L6b", "`Handle` alone, record withheld by its package's level", "", 30, withheldByPackage, nil},
	{"L6c", "record, 10 attributes, with its source", "the same without", 1.05,
		logs("kumihimo+source", 0, 10), logs("kumihimo", 0, 10)},
	{"L7", "`Handle` alone, record kept by the flight recorder", "", 250,
		func(tb testing.TB) work { return each(newWithheld(tb, 5)) }, nil},
	{"H1", "request, no export", "otelchi + httplog + trace ids", 0.50,
		requests("kumihimo", false), requests("otelchi+httplog", false)},
	{"H2", "request, encoding and export to a no-op RoundTripper", "the same + otlptracehttp", 0.45,
		requests("kumihimo", true), requests("otelchi+httplog", true)},
	{"H3a", "request, skipped, its trace passed on", "otelchi that never samples", 0.60,
		quiet("skipped"), quiet("otelchi")},
	{"H3b", "request, tracing disabled, no access log", "otelchi that never samples", 0.60,
		quiet("disabled"), quiet("otelchi")},
	{"E1a", "span, one a trace, to a local server", "otlptracehttp", 0.60,
		spans("kumihimo", 1), spans("otlptracehttp", 1)},
	{"E1b", "span, one a trace, to a local server", "dd-trace-go", 0.60,
		spans("kumihimo", 1), spans("dd-trace-go", 1)},
	{"E2a", "span, ten a trace, to a local server", "otlptracehttp", 0.85,
		spans("kumihimo", 10), spans("otlptracehttp", 10)},
	{"E2b", "span, ten a trace, to a local server", "dd-trace-go", 0.85,
		spans("kumihimo", 10), spans("dd-trace-go", 10)},
	{"E2c", "span, ten a trace, to a local server", "the SDK and a processor that does nothing", 1.20,
		spans("kumihimo", 10), spans("sdk-alone", 10)},
	{"P1a", "inject a trace into Datadog's and W3C's headers", "dd-trace-go behind an adapter", 0.15,
		injects("kumihimo"), injects("dd-trace-go")},
	{"P1b", "extract a trace from Datadog's and W3C's headers", "dd-trace-go behind an adapter", 0.12,
		extracts("kumihimo"), extracts("dd-trace-go")},
	{"A1a", "ID token from memory", "", 60, ourTokens, nil},
	{"A1b", "ID token from memory", "google.golang.org/api/idtoken", 1.0,
		ourTokens, googleTokens},
	{"A1c", "export through the transport that adds it, to a no-op RoundTripper", "the same with oauth2.Transport", 0.50,
		ourTransport, googleTransport},
}

func logs(peer string, bound, all int) func(testing.TB) work {
	return func(tb testing.TB) work {
		ctx, attrs := recordContext(), recordAttrs()
		for _, p := range append(recordPeers, noIDs, withSource) {
			if p.name == peer {
				logger := p.new(tb, io.Discard)
				if bound > 0 {
					logger = slog.New(logger.Handler().WithAttrs(attrs[:bound]))
				}
				return each(func() { logger.LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs[bound:all]...) })
			}
		}
		tb.Fatalf("no peer %s", peer)
		return nil
	}
}

// belowFilter is a call of a logger that writes nothing.
func belowFilter(tb testing.TB) work {
	logger := filtered(tb, "info,elsewhere.example=notice")
	ctx, attrs := recordContext(), recordAttrs()[:5]
	return each(func() { logger.LogAttrs(ctx, slog.LevelDebug, recordMessage, attrs...) })
}

// withheldByPackage is a record that Enabled, which does not know who calls,
// let through.
func withheldByPackage(tb testing.TB) work {
	h := filtered(tb, "info,elsewhere.example=debug").Handler()
	ctx, r := recordContext(), slog.NewRecord(recordTime, slog.LevelDebug, recordMessage, callerPC())
	r.AddAttrs(recordAttrs()[:5]...)
	return each(func() {
		if err := h.Handle(ctx, r); err != nil {
			tb.Fatal(err)
		}
	})
}

func handleAlone(tb testing.TB) work {
	h := recordPeers[0].new(tb, io.Discard).Handler()
	ctx, r := recordContext(), slog.NewRecord(recordTime, slog.LevelInfo, recordMessage, 0)
	r.AddAttrs(recordAttrs()...)
	return each(func() {
		if err := h.Handle(ctx, r); err != nil {
			tb.Fatal(err)
		}
	})
}

func requests(peer string, export bool) func(testing.TB) work {
	return func(tb testing.TB) work {
		for _, p := range requestPeers {
			if p.name == peer {
				h, flush := p.new(tb, io.Discard, export, nopProcessor{})
				req, w := newRequest(context.Background()), &responseWriter{header: make(map[string][]string)}
				serve := each(func() { w.reset(); h.ServeHTTP(w, req) })
				return func(n int) {
					serve(n)
					if err := flush(context.Background()); err != nil {
						tb.Fatal(err)
					}
				}
			}
		}
		tb.Fatalf("no peer %s", peer)
		return nil
	}
}

// spans is the work of n spans, in traces of so many.
func spans(peer string, per int) func(testing.TB) work {
	return func(tb testing.TB) work {
		for _, p := range spanPeers {
			if p.name == peer {
				sp := p.new(tb, newSink(tb), per)
				return func(n int) {
					for i := range n / per {
						sp.trace()
						if i%100 == 99 {
							runtime.Gosched() // see BenchmarkSpan
						}
					}
					sp.flush()
				}
			}
		}
		tb.Fatalf("no peer %s", peer)
		return nil
	}
}

func newPropagator(tb testing.TB, peer string) propagation.TextMapPropagator {
	for _, p := range propagationPeers {
		if p.name == peer {
			return p.new()
		}
	}
	tb.Fatalf("no peer %s", peer)
	return nil
}

func injects(peer string) func(testing.TB) work {
	return func(tb testing.TB) work {
		p := newPropagator(tb, peer)
		ctx, c := inSpan(p), propagation.HeaderCarrier{}
		return each(func() { p.Inject(ctx, c) })
	}
}

func extracts(peer string) func(testing.TB) work {
	return func(tb testing.TB) work {
		p, c := newPropagator(tb, peer), propagation.HeaderCarrier(incomingHeaders())
		return each(func() { p.Extract(context.Background(), c) })
	}
}

// TestRatios prints what we cost as a share of what each peer costs, in CPU
// time on one P. Both sides of a row take turns, so that a machine that slows
// down slows both; the figures are the least of all rounds, the ratio is theirs.
func TestRatios(t *testing.T) {
	if !*ratios {
		t.Skip("takes minutes; run with -ratios")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var all []measured
	fmt.Fprint(os.Stdout, ratiosHead)
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			m := measure(t, r)
			fmt.Fprint(os.Stdout, m)
			all = append(all, m)
		})
	}
	if len(all) == len(rows) { // none was left out by -run
		reportRatios(t, all)
	}
}

// A sample is what doing the work once cost in one round.
type sample struct{ ns, allocs float64 }

// measured holds the rounds of a row; theirs is empty where it has no peer.
type measured struct {
	row
	ours, theirs []sample
}

func measure(t *testing.T, r row) measured {
	m := measured{row: r}
	ours := r.ours(t)
	n := calibrate(t, ours)
	if r.theirs == nil {
		for range *rounds {
			m.ours = append(m.ours, perOp(t, ours, n))
		}
		return m
	}
	theirs := r.theirs(t)
	k := calibrate(t, theirs)
	for range *rounds {
		m.ours = append(m.ours, perOp(t, ours, n))
		m.theirs = append(m.theirs, perOp(t, theirs, k))
	}
	return m
}

// calibrate returns how often w does its work in about a roundTime of the
// processor's: by the clock, a busy machine would make rounds too short to be
// out of their start.
func calibrate(tb testing.TB, w work) int {
	for n := 64; ; n *= 2 {
		start := cpuTime(tb)
		w(n)
		if took := cpuTime(tb) - start; took > roundTime/2 {
			return max(1, int(float64(n)*float64(roundTime)/float64(took)))
		}
	}
}

func perOp(tb testing.TB, w work, n int) sample {
	runtime.GC() // each side pays for its own garbage
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	mallocs, cpu := m.Mallocs, cpuTime(tb)
	w(n)
	cpu = cpuTime(tb) - cpu
	runtime.ReadMemStats(&m)
	return sample{float64(cpu) / float64(n), float64(m.Mallocs-mallocs) / float64(n)}
}

// TestHandwritten shows that the floor of L5 has the same bytes.
func TestHandwritten(t *testing.T) {
	var want, got strings.Builder
	h := recordPeers[0].new(t, &want).Handler()
	r := slog.NewRecord(recordTime, slog.LevelInfo, recordMessage, 0)
	r.AddAttrs(recordAttrs()...)
	if err := h.Handle(recordContext(), r); err != nil {
		t.Fatal(err)
	}
	newHandwritten(&got)()
	if got.String() != want.String() {
		t.Errorf("got  %swant %s", got.String(), want.String())
	}
}
