package logging

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kumihimo/kumihimo/internal/flight"
)

// TestFlightOfLimited: what the limit of a place withholds is part of a failed
// request's flight, as what the filter withholds is.
func TestFlightOfLimited(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		new  func(io.Writer, *Options) slog.Handler
	}{{"json", NewHandler}, {"text", NewTextHandler}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var buf bytes.Buffer
				recorder := flight.New(flight.Options{Level: slog.LevelInfo, Records: 64, Bytes: 32 << 10, TotalBytes: 1 << 20, PerSecond: 1})
				h := tt.new(&buf, &Options{SitePerSecond: 2, Flight: recorder})
				pc := here()
				log := func(n int) {
					ctx, f := recorder.Begin(t.Context())
					for range n {
						r := record(slog.LevelInfo, "busy")
						r.PC = pc
						if err := h.Handle(ctx, r); err != nil {
							t.Error(err)
						}
					}
					f.End(n > 5)
				}
				log(5)
				if got := strings.Count(buf.String(), "busy"); got != 2 {
					t.Errorf("of a request that went well %d lines, want 2", got)
				}
				log(10)
				if got := strings.Count(buf.String(), "busy"); got != 12 {
					t.Errorf("after one that failed %d lines, want 2 and all 10 of it", got)
				}
			})
		})
	}
}
