package otlp

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/embedded"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// LoggerProvider is OpenTelemetry's SDK's, with a queue of its own that tries
// again what failed and counts each record. Its methods are safe for concurrent
// use; none but ForceFlush and Shutdown waits.
type LoggerProvider struct {
	embedded.LoggerProvider
	sdk   *sdklog.LoggerProvider
	queue *queue
}

var _ log.LoggerProvider = (*LoggerProvider)(nil)

// NewLoggerProvider returns a provider for obs.Options.LoggerProvider: records
// then leave over OTLP in place of stdout. The error names every mistake in o and
// the environment; a receiver that is down is none. ctx bounds the call alone.
func NewLoggerProvider(ctx context.Context, o Options) (*LoggerProvider, error) {
	s, err := newSender(ctx, o, logs())
	if err != nil {
		return nil, err
	}
	return newLoggerProvider(ctx, s, o.QueueBytes)
}

func newLoggerProvider(ctx context.Context, s *sender, queueBytes int64) (*LoggerProvider, error) {
	compression := otlploghttp.NoCompression
	if s.gzip {
		compression = otlploghttp.GzipCompression
	}
	exporter, err := otlploghttp.New(context.WithoutCancel(ctx), // it keeps ctx for its requests
		otlploghttp.WithHTTPClient(s.client),
		otlploghttp.WithEndpointURL(s.url.String()),
		otlploghttp.WithHeaders(s.headers),
		otlploghttp.WithCompression(compression),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: false}), // the queue's affair
	)
	if err != nil {
		return nil, err
	}
	q := newQueue(&logExporter{sender: s, exporter: exporter}, queueBytes)
	return &LoggerProvider{sdk: sdklog.NewLoggerProvider(sdklog.WithProcessor(q)), queue: q}, nil
}

// Logger returns a logger of the given instrumentation scope.
func (p *LoggerProvider) Logger(name string, opts ...log.LoggerOption) log.Logger {
	return p.sdk.Logger(name, opts...)
}

// WithResource returns a provider of the same queue whose records carry r, and
// what OTEL_RESOURCE_ATTRIBUTES has beside it. obs calls it with the spans'
// resource.
func (p *LoggerProvider) WithResource(r *resource.Resource) log.LoggerProvider {
	return &LoggerProvider{
		sdk:   sdklog.NewLoggerProvider(sdklog.WithProcessor(p.queue), sdklog.WithResource(validResource(r))),
		queue: p.queue,
	}
}

// ReportTo says where the queue reports, once each, that the receiver begins to
// fail and that it takes records again. obs calls it with its own logger.
// Before, the first goes to OpenTelemetry's error handler and the second nowhere.
func (p *LoggerProvider) ReportTo(l *slog.Logger) { p.queue.reportTo(l) }

// Stats returns the account so far.
func (p *LoggerProvider) Stats() LogStats { return p.queue.account() }

// ForceFlush returns when all records that were emitted before are sent or
// dropped, or ctx is done.
func (p *LoggerProvider) ForceFlush(ctx context.Context) error { return p.queue.ForceFlush(ctx) }

// Shutdown sends what waits, until ctx is done, and stops what runs. What is
// left then, and what is emitted later, is counted as dropped. Further calls
// return what the first returned.
//
// It leaves the SDK's provider as it is: that would let late records vanish
// uncounted.
func (p *LoggerProvider) Shutdown(ctx context.Context) error { return p.queue.Shutdown(ctx) }

type logExporter struct {
	*sender
	exporter *otlploghttp.Exporter
}

// Export sends one request.
func (e *logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	send := func() error {
		return e.export(ctx, func(ctx context.Context) error { return e.exporter.Export(ctx, records) })
	}
	err := send()
	if unsent(ctx, err) { // for one byte that is no UTF-8, the whole batch
		records = validRecords(records)
		err = send()
	}
	if unsent(ctx, err) {
		return &failure{text: "otlp: " + clean(err.Error()), err: err, permanent: true}
	}
	return err
}

// ForceFlush does nothing: the queue holds what waits.
func (e *logExporter) ForceFlush(context.Context) error { return nil }

// Shutdown closes the connections that are ours.
func (e *logExporter) Shutdown(ctx context.Context) error {
	err := e.exporter.Shutdown(ctx)
	e.close()
	return err
}
