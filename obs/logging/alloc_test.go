package logging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// benchAttrs are a record of ten attributes of the kinds services log.
func benchAttrs() []slog.Attr {
	return []slog.Attr{
		slog.Time("placed", recordTime), slog.Duration("elapsed", 1534*time.Microsecond),
		slog.Any("error", errors.New("payment: card declined")), slog.Int("items", 3), slog.Int64("total", 129900),
		slog.String("user", "u-18273645"), slog.String("path", "/api/v1/orders/8812"),
		slog.String("comment", "said \"thanks\"\nand left"), slog.Bool("gift", true),
		slog.Group("address", slog.String("city", "Kyoto"), slog.String("zip", "600-8216")),
	}
}

func benchOptions(source bool) *Options {
	return &Options{AddSource: source, ProjectID: "acme-shop", Service: "shop", Env: "prod", Version: "1.4.2"}
}

// handleCases are what Handle does without an allocation, once warm.
func handleCases(tb testing.TB) []handleCase {
	tb.Helper()
	attrs := benchAttrs()
	full := record(slog.LevelInfo, "order placed", attrs...)
	half := record(slog.LevelInfo, "order placed", attrs[5:]...)
	half.PC, full.PC = here(), here()
	failed := full
	failed.Level = slog.LevelError
	stacked := failed
	stacked.PC = 0 // no place, no limit of its stacks
	access := record(slog.LevelInfo, "GET /orders/{id} 200", slog.Any("httpRequest", &HTTPRequest{
		Method: "GET", URL: "https://shop.example/orders/7", Status: 200, ResponseSize: 512, Latency: time.Millisecond, Protocol: "HTTP/1.1",
	}))
	replacing := record(slog.LevelInfo, "m", slog.Int("k", 1), slog.Int("placed", 1), slog.Int("k", 2))
	fields := obsctx.WithFields(spanCtx(), []slog.Attr{slog.String("tenant", "acme"), slog.Int("placed", 7)})
	filter, err := ParseFilter("info," + thisPackage + "=warn")
	if err != nil {
		tb.Fatal(err)
	}
	filtered := benchOptions(false)
	filtered.Filter = filter
	limited := benchOptions(false)
	limited.SitePerSecond = 100
	kept := benchOptions(false)
	kept.Flight = flight.New(flight.Options{Level: slog.LevelDebug, Records: 64, Bytes: 32 << 10, TotalBytes: 1 << 20, PerSecond: 1})
	request, f := kept.Flight.Begin(spanCtx())
	tb.Cleanup(func() { f.End(false) })
	below := half
	below.Level = slog.LevelDebug
	h := NewHandler(io.Discard, benchOptions(false))
	text := NewTextHandler(io.Discard, benchOptions(true))
	return []handleCase{
		{"ten attributes", h, spanCtx(), full},
		{"five bound", h.WithAttrs(attrs[:5]), spanCtx(), half},
		{"in a group", h.WithAttrs(attrs[:3]).WithGroup("g").WithAttrs(attrs[3:5]).WithGroup("h"), spanCtx(), half},
		{"source", NewHandler(io.Discard, benchOptions(true)), spanCtx(), full},
		{"context fields", h.WithAttrs(attrs[:5]), fields, half},
		{"duplicates", h.WithAttrs(attrs[:5]), fields, replacing},
		{"error", h, spanCtx(), failed},
		{"stack", h, spanCtx(), stacked},
		{"access", h, spanCtx(), access},
		{"withheld", NewHandler(io.Discard, filtered), spanCtx(), full},
		{"kept by the flight recorder", NewHandler(io.Discard, kept), request, below},
		{"site limit", NewHandler(io.Discard, limited), spanCtx(), full},
		{"text", text, fields, record(slog.LevelInfo, "m", attrs[3:9]...)},
	}
}

type handleCase struct {
	name    string
	handler slog.Handler
	ctx     context.Context
	record  slog.Record
}

func TestHandleAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	for _, c := range handleCases(t) {
		got := testing.AllocsPerRun(200, func() {
			if err := c.handler.Handle(c.ctx, c.record); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations, want 0", c.name, got)
		}
	}
}

// TestEnabledAllocs: a level below every rule costs nothing.
func TestEnabledAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations differ under the race detector")
	}
	logger := slog.New(NewHandler(io.Discard, nil))
	ctx := spanCtx()
	if got := testing.AllocsPerRun(200, func() { logger.LogAttrs(ctx, slog.LevelDebug, "m", slog.Int("k", 1)) }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, c := range handleCases(b) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.handler.Handle(c.ctx, c.record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkString shows what escaping costs by the kind of text.
func BenchmarkString(b *testing.B) {
	for _, s := range []string{"/api/v1/orders/8812", "said \"thanks\"\nand left", "東京都千代田区丸の内一丁目"} {
		b.Run(fmt.Sprintf("%.8q", s), func(b *testing.B) {
			buf := make([]byte, 0, 256)
			for b.Loop() {
				buf = appendString(buf[:0], s)
			}
		})
	}
}

// TestRecordAllocs: of a record through slog only slog allocates: for the
// attributes beyond the fifth, and for a group. What is bound costs nothing.
func TestRecordAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	ctx, err := spanCtx(), errors.New("payment: card declined")
	logger := slog.New(NewHandler(io.Discard, benchOptions(true)))
	five := []slog.Attr{
		slog.Time("placed", recordTime), slog.Duration("elapsed", time.Second), slog.Any("error", err),
		slog.Int("items", 3), slog.Int64("total", 129900),
	}
	bound := slog.New(logger.Handler().WithAttrs(five))
	for _, tt := range []struct {
		name string
		want float64
		log  func()
	}{
		{"ten attributes", 2, func() {
			logger.LogAttrs(ctx, slog.LevelInfo, "order placed",
				slog.Time("placed", recordTime), slog.Duration("elapsed", time.Second), slog.Any("error", err),
				slog.Int("items", 3), slog.Int64("total", 129900), slog.String("user", "u-18273645"),
				slog.String("path", "/api/v1/orders/8812"), slog.String("comment", "said \"thanks\"\nand left"), slog.Bool("gift", true),
				slog.GroupAttrs("address", slog.String("city", "Kyoto"), slog.String("zip", "600-8216")))
		}},
		{"five attributes", 0, func() {
			logger.LogAttrs(ctx, slog.LevelInfo, "order placed",
				slog.Time("placed", recordTime), slog.Duration("elapsed", time.Second), slog.Any("error", err),
				slog.Int("items", 3), slog.Int64("total", 129900))
		}},
		{"five bound, five at the call", 0, func() {
			bound.LogAttrs(ctx, slog.LevelInfo, "order placed",
				slog.String("user", "u-18273645"), slog.String("path", "/api/v1/orders/8812"),
				slog.String("comment", "said \"thanks\"\nand left"), slog.Bool("gift", true), slog.Float64("score", 0.75))
		}},
	} {
		if got := testing.AllocsPerRun(200, tt.log); got != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}
