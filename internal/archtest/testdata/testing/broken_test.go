// The tests of docs/testing.md that fail. guide_test.go lays this file over
// examples/shop and compares what they print with the document.
package shop_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

func TestLeak(t *testing.T) {
	rec := obstest.New(t)
	_, _ = obs.Start(rec.Context(), "refund") // and no End
	go func() { select {} }()
}

func TestLost(t *testing.T) {
	rec := obstest.New(t)
	ctx, span := obs.Start(context.Background(), "refund") // not rec.Context()
	slog.InfoContext(ctx, "order refunded", "order.id", "7")
	span.End(nil)
	rec.Want("refund\n  INFO order refunded")
}
