package recipes

import (
	"context"
	"log/slog"

	"github.com/kumihimo/kumihimo/obs"
)

// RunJob is the main function of a Cloud Run job. Run waits for the goroutines
// of obs.Go and sends what is left before it returns, also when f panics, or
// Cloud Run's SIGTERM ends ctx.
func RunJob(ctx context.Context, tel *obs.Telemetry, items []string, each func(context.Context, string) error) error {
	return tel.Run(ctx, func(ctx context.Context) (err error) {
		ctx, span := obs.Start(ctx, "nightly", slog.Int("items", len(items)))
		defer span.End(&err)
		for _, item := range items {
			if err := each(ctx, item); err != nil {
				return err
			}
		}
		slog.InfoContext(ctx, "job done")
		return nil
	})
}
