package benchmarks

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/obs/logging"
)

// perFlight is how many records a request withholds.
const perFlight = 100

// newWithheld returns a function that hands a record of n attributes, below the
// filter, to Handle; each request of perFlight records has a flight.
func newWithheld(tb testing.TB, n int) func() {
	recorder := flight.New(flight.Options{
		Level: slog.LevelDebug, Records: 512, Bytes: 64 << 10, TotalBytes: 16 << 20, PerSecond: 10,
	})
	h := logging.NewHandler(io.Discard, &logging.Options{
		ProjectID: project, Service: service, Env: env, Version: version, Flight: recorder,
	})
	r := slog.NewRecord(recordTime, slog.LevelDebug, recordMessage, callerPC())
	r.AddAttrs(recordAttrs()[5-min(n, 5):][:n]...)
	span := recordContext()
	var ctx context.Context
	var f *flight.Flight
	i := 0
	return func() {
		if i%perFlight == 0 {
			f.End(false)
			ctx, f = recorder.Begin(span)
		}
		i++
		if err := h.Handle(ctx, r); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkWithheld is a record that the flight recorder keeps, in Handle, the
// beginning and the end of its flight among it.
func BenchmarkWithheld(b *testing.B) {
	handle := newWithheld(b, 5)
	b.ReportAllocs()
	for b.Loop() {
		handle()
	}
}

// TestWithheldAllocs counts what a flight costs a record.
func TestWithheldAllocs(t *testing.T) {
	handle := newWithheld(t, 5)
	if got := testing.AllocsPerRun(10*perFlight, handle); got > 0.1 {
		t.Errorf("got %.2f allocations a record, want at most 0.1", got)
	}
	got := testing.AllocsPerRun(10, func() {
		for range perFlight {
			handle()
		}
	})
	t.Logf("%.0f allocations in %d records", got, perFlight)
	if got > perFlight/10 {
		t.Errorf("got %.0f allocations in %d records, want at most a tenth", got, perFlight)
	}
}
