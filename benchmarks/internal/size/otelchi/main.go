// Command otelchi is a chi service with otelchi and otlptracehttp.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/riandyrn/otelchi"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/benchmarks/internal/size"
)

func main() {
	start := time.Now()
	exp, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL("http://127.0.0.1:4318"))
	if err != nil {
		log.Fatal(err)
	}
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp), sdktrace.WithResource(resource.Default()))
	otel.SetTracerProvider(tp)
	setup := time.Since(start)
	r := chi.NewRouter()
	r.Use(otelchi.Middleware("shop", otelchi.WithChiRoutes(r)))
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if err := size.Serve(r, setup); err != nil {
		log.Fatal(err)
	}
	if err := tp.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
