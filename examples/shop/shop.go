// Package shop is a small service whose telemetry is tested. docs/testing.md
// goes through its tests: read shop.go, then shop_test.go and more_test.go.
package shop

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// New returns the service. It takes money, and knows nothing of tests.
func New() http.Handler {
	r := chi.NewRouter()
	r.Use(chiobs.Middleware)
	r.Post("/orders/{id}/pay", func(w http.ResponseWriter, r *http.Request) {
		ctx, id := r.Context(), chi.URLParam(r, "id")
		if err := pay(ctx, id); err != nil {
			slog.WarnContext(ctx, "order not paid", "order.id", id, "error", err)
			http.Error(w, "declined", http.StatusPaymentRequired)
			return
		}
		slog.InfoContext(ctx, "order paid", "order.id", id)
	})
	return r
}

var errDeclined = errors.New("card declined")

func pay(ctx context.Context, id string) (err error) {
	ctx, span := obs.Start(ctx, "pay", slog.String("order.id", id))
	defer span.End(&err)
	return charge(ctx, id, 1200)
}

func charge(ctx context.Context, id string, cents int) (err error) {
	ctx, span := obs.Start(ctx, "charge", slog.Int("cents", cents))
	defer span.End(&err)
	slog.DebugContext(ctx, "asking the bank", "card.token", "tok_"+id)
	if id == "13" {
		return errDeclined
	}
	return nil
}
