package obsctx

import (
	"context"
	"log/slog"
	"maps"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// Pipeline is one complete way of telemetry out of a program: what obs.New
// wired. It is read only once made.
type Pipeline struct {
	Provider   trace.TracerProvider
	Propagator propagation.TextMapPropagator // what leaves and, between own services, comes
	Ingress    propagation.TextMapPropagator // what comes through the platform's front end
	Logger     *slog.Logger
	Redactor   *redact.Redactor

	// Disabled says that Provider starts no spans.
	Disabled bool

	// Flush sends what has ended so far; nil if that goes nowhere.
	Flush func(context.Context) error

	// SendBaggage and SendTrace say to which hosts an outgoing request may
	// carry baggage and trace headers; nil means to none and to all.
	SendBaggage, SendTrace func(host string) bool

	// Flight keeps the records that are withheld, until their request is known
	// to have gone well; nil if nobody asked for it.
	Flight *flight.Recorder

	// Tasks are the goroutines that the program left to the pipeline; nil if it
	// waits for none.
	Tasks *Tasks
}

// Source is a trace.TracerProvider that knows its pipeline, which may depend
// on the context (a test's recorder). Like OpenTelemetry's SDK it copies the
// attributes it gets, and so do the samplers it asks, or they get copies.
type Source interface {
	Pipeline(context.Context) *Pipeline
}

// PipelineFrom returns the pipeline that made the trace of ctx, else that of
// the global TracerProvider, else nil.
func PipelineFrom(ctx context.Context) *Pipeline {
	if t := TraceFrom(ctx); t != nil && t.Pipeline != nil {
		return t.Pipeline
	}
	if s, ok := otel.GetTracerProvider().(Source); ok {
		return s.Pipeline(ctx)
	}
	return nil
}

type suppressKey struct{}

// Suppress marks ctx as telemetry's own traffic: no span is made under it.
func Suppress(ctx context.Context) context.Context {
	return context.WithValue(ctx, suppressKey{}, true)
}

// Suppressed reports whether ctx is telemetry's own traffic.
func Suppressed(ctx context.Context) bool {
	return ctx.Value(suppressKey{}) != nil
}

type environmentKey struct{}

// WithEnvironment marks ctx for obs.New: the pipeline made with it has vars for
// its environment, and takes nothing from the process's.
func WithEnvironment(ctx context.Context, vars map[string]string) context.Context {
	return context.WithValue(ctx, environmentKey{}, maps.Clone(vars))
}

// Environment returns what ctx was marked with, if it was.
func Environment(ctx context.Context) (vars map[string]string, ok bool) {
	vars, ok = ctx.Value(environmentKey{}).(map[string]string)
	return vars, ok
}
