// Command otelsdk is a chi service with OpenTelemetry's SDK, without exporter
// or instrumentation: what anything built on the SDK weighs at least.
package main

import (
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/benchmarks/internal/size"
)

func main() {
	start := time.Now()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithResource(resource.Default())))
	setup := time.Since(start)
	r := chi.NewRouter()
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		_, span := otel.Tracer("otelsdk").Start(r.Context(), "GET /")
		defer span.End()
		w.WriteHeader(http.StatusNoContent)
	})
	if err := size.Serve(r, setup); err != nil {
		log.Fatal(err)
	}
}
