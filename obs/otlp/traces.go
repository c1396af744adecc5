package otlp

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// NewTraceExporter returns an exporter for obs.Options.SpanExporter, whose queue
// tries again what failed and counts each span. The error names every mistake in
// o and the environment; a receiver that is down is none. ctx bounds the call
// alone.
//
// Its errors have the methods Permanent, Rejected, TooLarge and RetryAfter of
// obs.Options.SpanExporter. Behind the SDK's own batch processor, which knows
// none of them, what fails once is lost.
func NewTraceExporter(ctx context.Context, o Options) (sdktrace.SpanExporter, error) {
	s, err := newSender(ctx, o, traces())
	if err != nil {
		return nil, err
	}
	return newTraceExporter(ctx, s)
}

func newTraceExporter(ctx context.Context, s *sender) (sdktrace.SpanExporter, error) {
	compression := otlptracehttp.NoCompression
	if s.gzip {
		compression = otlptracehttp.GzipCompression
	}
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithHTTPClient(s.client),
		otlptracehttp.WithEndpointURL(s.url.String()),
		otlptracehttp.WithHeaders(s.headers),
		otlptracehttp.WithCompression(compression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}), // the queue's affair
	)
	if err != nil {
		return nil, err
	}
	return &traceExporter{sender: s, exporter: exporter}, nil
}

type traceExporter struct {
	*sender
	exporter *otlptrace.Exporter
}

// ExportSpans sends one request.
func (e *traceExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	send := func() error {
		return e.export(ctx, func(ctx context.Context) error { return e.exporter.ExportSpans(ctx, spans) })
	}
	err := send()
	if unsent(ctx, err) { // for one byte that is no UTF-8, the whole batch
		spans = validSpans(spans)
		err = send()
	}
	if unsent(ctx, err) {
		return &failure{text: "otlp: " + clean(err.Error()), err: err, permanent: true}
	}
	return err
}

// unsent reports whether err says that there was no request.
func unsent(ctx context.Context, err error) bool {
	var known *failure
	return err != nil && ctx.Err() == nil && !errors.As(err, &known) && !errors.Is(err, context.DeadlineExceeded)
}

// Shutdown closes the connections that are ours.
func (e *traceExporter) Shutdown(ctx context.Context) error {
	err := e.exporter.Shutdown(ctx)
	e.close()
	return err
}
