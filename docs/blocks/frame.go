//go:build documents

package blocks

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/obs"
)

// What a block may use without declaring it: what a service has at hand.
var (
	ctx    context.Context
	err    error
	logger *slog.Logger
	r      chi.Router
	req    *http.Request
	router http.Handler
	srv    *http.Server
	tel    *obs.Telemetry
	w      http.ResponseWriter
)
