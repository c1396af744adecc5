package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// inventory knows what is in stock.
type inventory struct {
	logger *slog.Logger
}

func newInventory(tel *obs.Telemetry) http.Handler {
	// The process's slog.Default() is the shop's, so this one is handed around.
	s := &inventory{logger: tel.Logger().With("logger", "inventory")}
	r := chi.NewRouter()
	r.Use(chiobs.Config{Provider: tel.TracerProvider(), Logger: s.logger}.Middleware)
	r.Get("/stock/{id}", s.stock)
	return r
}

func (s *inventory) stock(w http.ResponseWriter, r *http.Request) {
	id := chi.URLParam(r, "id")
	count, err := count(r.Context(), id)
	if err != nil {
		s.logger.ErrorContext(r.Context(), "stock not counted", "error", err)
		http.Error(w, "stock unknown", http.StatusInternalServerError)
		return
	}
	s.logger.InfoContext(r.Context(), "stock counted", "article", id, "count", count)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]int{"count": count}); err != nil {
		s.logger.WarnContext(r.Context(), "count not sent", "error", err)
	}
}

func count(ctx context.Context, id string) (n int, err error) {
	_, span := obs.Start(ctx, "stock.count", slog.String("article", id))
	defer span.End(&err)

	return 3, nil
}
