// Command kumihimo is a chi service with obs and chiobs, and nothing else.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/benchmarks/internal/size"
	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

func main() {
	start := time.Now()
	tel, err := obs.Init(context.Background(), obs.Options{
		Service: "shop", LogWriter: io.Discard, AgentURL: "http://127.0.0.1:8126",
	})
	setup := time.Since(start)
	if err != nil {
		log.Fatal(err)
	}
	r := chi.NewRouter()
	r.Use(chiobs.Middleware)
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if err := size.Serve(r, setup); err != nil {
		log.Fatal(err)
	}
	if err := tel.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
