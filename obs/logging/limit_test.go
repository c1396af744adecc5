package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStackLimit: of one place that logs errors over and over few records have
// the stack; all have what Error Reporting groups by.
func TestStackLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		logger := slog.New(NewHandler(&buf, nil))
		stacks := func(records int, log func()) (n int) {
			for range records {
				buf.Reset()
				log()
				m := decode(t, buf.Bytes())
				if m["stack_trace"] != nil {
					n++
				}
				if m["@type"] == nil || m["context"] == nil {
					t.Fatalf("no report: %s", &buf)
				}
			}
			return n
		}
		busy := func() { fail(logger) }
		if got := stacks(100, busy); got != stackBurst {
			t.Errorf("got %d stacks of 100, want %d", got, stackBurst)
		}
		if got := stacks(3, func() { logger.Error("another place") }); got != 3 {
			t.Errorf("of another place: got %d stacks, want 3", got)
		}
		time.Sleep(stackWindow - 1)
		if got := stacks(5, busy); got != 0 {
			t.Errorf("just before the window's end: got %d stacks, want 0", got)
		}
		time.Sleep(time.Nanosecond)
		if got := stacks(100, busy); got != stackBurst {
			t.Errorf("in the next window: got %d stacks, want %d", got, stackBurst)
		}
	})
}

// TestSitePerSecond: of one place so many records a second come out, and the
// next says how many did not.
func TestSitePerSecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		new  func(io.Writer, *Options) slog.Handler
		says string
	}{
		{"json", NewHandler, `"kumihimo.withheld":47`},
		{"text", NewTextHandler, " withheld=47"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var buf bytes.Buffer
				h := tt.new(&buf, &Options{SitePerSecond: 3, Level: slog.LevelDebug})
				logger := slog.New(h)
				lines := func(records int, log func()) int {
					buf.Reset()
					for range records {
						log()
					}
					return strings.Count(buf.String(), "\n")
				}
				busy := func() { busyPlace(logger) }
				if got := lines(50, busy); got != 3 || strings.Contains(buf.String(), "withheld") {
					t.Errorf("got %d lines, want 3: %s", got, &buf)
				}
				if got := lines(2, func() { logger.Debug("another place") }); got != 2 {
					t.Errorf("another place: got %d lines, want 2", got)
				}
				if got := lines(50, func() { logger.Warn("warnings") }); got != 50 {
					t.Errorf("warnings: got %d lines, want 50", got)
				}
				if got := lines(50, func() { h.Handle(context.Background(), record(slog.LevelInfo, "no place")) }); got != 50 { //nolint:errcheck // to a buffer
					t.Errorf("no place: got %d lines, want 50", got)
				}
				time.Sleep(time.Second)
				if got := lines(1, busy); got != 1 || !strings.Contains(buf.String(), tt.says) {
					t.Errorf("want %s in %s", tt.says, &buf)
				}
				if lines(1, busy); strings.Contains(buf.String(), "withheld") {
					t.Errorf("said twice: %s", &buf)
				}
			})
		})
	}
}

// busyPlace is one place however it is called: inlined it would be several.
//
//go:noinline
func busyPlace(logger *slog.Logger) { logger.Info("busy", "k", 1) }

// TestLimiterConcurrent: however many ask at once, each event is let through
// or counted.
func TestLimiterConcurrent(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	logger := slog.New(NewHandler(&buf, &Options{SitePerSecond: 10}))
	const goroutines, records = 8, 200
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range records {
				busyPlace(logger)
			}
		})
	}
	wg.Wait()
	written, withheld := 0, int64(0)
	for l := range bytes.Lines(buf.Bytes()) {
		written++
		if n, ok := decode(t, l)["kumihimo.withheld"].(json.Number); ok {
			i, _ := n.Int64() //nolint:errcheck // our own number
			withheld += i
		}
	}
	h := logger.Handler().(*jsonHandler)
	for i := range h.sites.buckets {
		for s := h.sites.buckets[i].Load(); s != nil; s = s.next {
			withheld += s.records.withheld.Load()
		}
	}
	if got := int64(written) + withheld; got != goroutines*records || written < 10 {
		t.Errorf("%d written and %d withheld, want %d in all", written, withheld, goroutines*records)
	}
}
