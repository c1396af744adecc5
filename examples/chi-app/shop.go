package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/cors"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// shop answers what customers ask.
type shop struct {
	inventory string // its URL
	client    *http.Client
}

func newShop(inventory string) http.Handler {
	s := &shop{
		inventory: inventory,
		// Every request gets a client span, and carries the trace on.
		client: &http.Client{Transport: obs.Transport(nil), Timeout: 5 * time.Second},
	}
	r := chi.NewRouter()
	r.Use(chiobs.Config{
		Trust: chiobs.TrustInternal, // callers' traces go on: they are services of our own
		// facing the internet: Trust: chiobs.TrustPublic,
		Skip: func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	}.Middleware)
	r.Use(cors.Handler(cors.Options{
		AllowedOrigins: []string{"https://*", "http://localhost:*"},
		AllowedMethods: []string{http.MethodGet},
		// What Datadog's and OpenTelemetry's browser libraries send.
		AllowedHeaders: []string{"traceparent", "tracestate", "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority"},
		MaxAge:         300,
	}))
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { write(w, "ok\n") })
	r.Get("/orders/{id}", s.order)
	r.Get("/slow", s.slow)
	r.Get("/fail", s.fail)
	r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("the shelf is empty") })
	return r
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	ctx := obs.With(r.Context(), slog.String("order.id", chi.URLParam(r, "id")))
	o, err := s.load(ctx, chi.URLParam(r, "id"))
	if err != nil {
		slog.ErrorContext(ctx, "order not loaded", "error", err)
		http.Error(w, "order not available", http.StatusBadGateway)
		return
	}
	slog.InfoContext(ctx, "order loaded", "items", o.Items, "total", o.Total)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(o); err != nil {
		slog.WarnContext(ctx, "order not sent", "error", err)
	}
}

type order struct {
	ID      string  `json:"id"`
	Items   int     `json:"items"`
	Total   float64 `json:"total"`
	InStock bool    `json:"inStock"`
}

func (s *shop) load(ctx context.Context, id string) (o *order, err error) {
	ctx, span := obs.Start(ctx, "order.load")
	defer span.End(&err)

	o = &order{ID: id, Items: 2}
	if o.InStock, err = s.inStock(ctx, id); err != nil {
		return nil, fmt.Errorf("order %s: %w", id, err)
	}
	if err = price(ctx, o); err != nil {
		return nil, err
	}
	return o, nil
}

func price(ctx context.Context, o *order) (err error) {
	_, span := obs.Start(ctx, "order.price", slog.Int("items", o.Items))
	defer span.End(&err)

	const each = 19.5
	o.Total = float64(o.Items) * each
	span.Set(slog.Float64("total", o.Total))
	return nil
}

func (s *shop) inStock(ctx context.Context, id string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.inventory+"/stock/"+url.PathEscape(id), nil)
	if err != nil {
		return false, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("inventory: %s", resp.Status)
	}
	var answer struct {
		Count int `json:"count"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return false, fmt.Errorf("inventory: %w", err)
	}
	return answer.Count > 0, nil
}

// slow takes its time, unless the client goes away.
func (s *shop) slow(w http.ResponseWriter, r *http.Request) {
	ctx, span := obs.Start(r.Context(), "wait.for.truck")
	defer span.End(nil)
	select {
	case <-time.After(1500 * time.Millisecond):
		slog.InfoContext(ctx, "the truck has come")
		write(w, "at last\n")
	case <-ctx.Done():
	}
}

var errDeclined = errors.New("card declined")

func (s *shop) fail(w http.ResponseWriter, r *http.Request) {
	if err := charge(r.Context(), 9900); err != nil {
		slog.ErrorContext(r.Context(), "payment failed", "error", err)
		http.Error(w, "payment failed", http.StatusInternalServerError)
	}
}

func charge(ctx context.Context, cents int) (err error) {
	_, span := obs.Start(ctx, "payment.charge", slog.Int("cents", cents))
	defer span.End(&err)

	return fmt.Errorf("charge %d cents: %w", cents, errDeclined)
}

// write sends a short text. A client that is gone is the middleware's to note.
func write(w http.ResponseWriter, text string) {
	_, _ = io.WriteString(w, text)
}
