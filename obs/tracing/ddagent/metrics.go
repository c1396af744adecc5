package ddagent

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the account as OpenTelemetry's semantic conventions name it
// (docs/otel/sdk-metrics.md): read when somebody collects, and at no cost to
// spans.
type metrics struct {
	exporter                  *Exporter
	exported                  metric.Int64ObservableCounter
	inFlight, queued, waiting metric.Int64ObservableUpDownCounter
	component                 metric.ObserveOption
	dropped                   []metric.ObserveOption // in the order of Dropped.each
}

const meterName = "github.com/kumihimo/kumihimo/obs/tracing/ddagent"

// observe offers the account to mp. It returns what ends that.
func (e *Exporter) observe(mp metric.MeterProvider) (metric.Registration, error) {
	meter := mp.Meter(meterName, metric.WithInstrumentationVersion(tracerVersion))
	component := []attribute.KeyValue{
		attribute.String("otel.component.type", "kumihimo_ddagent_exporter"),
		attribute.String("otel.component.name", "kumihimo_ddagent_exporter/"+e.client.name),
	}
	m := &metrics{exporter: e, component: metric.WithAttributes(component...)}
	Dropped{}.each(func(reason string, _ int64) {
		with := append(component[:len(component):len(component)], attribute.String("error.type", reason))
		m.dropped = append(m.dropped, metric.WithAttributes(with...))
	})
	var err error
	counter := func(name, unit, about string) (c metric.Int64ObservableUpDownCounter) {
		if err == nil {
			c, err = meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
		}
		return c
	}
	m.inFlight = counter("otel.sdk.exporter.span.inflight", "{span}", "The number of spans in the request under way")
	m.queued = counter("otel.sdk.processor.span.queue.size", "{span}", "The number of ended spans that wait to be sent")
	m.waiting = counter("otel.sdk.span.live", "{span}", "The number of spans begun and not ended")
	if err != nil {
		return nil, err
	}
	m.exported, err = meter.Int64ObservableCounter("otel.sdk.exporter.span.exported", metric.WithUnit("{span}"),
		metric.WithDescription("The number of spans sent, or dropped for the reason in error.type"))
	if err != nil {
		return nil, err
	}
	return meter.RegisterCallback(m.collect, m.inFlight, m.queued, m.waiting, m.exported)
}

func (m *metrics) collect(_ context.Context, o metric.Observer) error {
	s := m.exporter.Stats()
	o.ObserveInt64(m.inFlight, s.InFlight, m.component)
	o.ObserveInt64(m.queued, s.Queued, m.component)
	o.ObserveInt64(m.waiting, s.Open, m.component)
	o.ObserveInt64(m.exported, s.Sent, m.component)
	i := 0
	s.Dropped.each(func(_ string, n int64) {
		if n > 0 { // a series for each reason that there is
			o.ObserveInt64(m.exported, n, m.dropped[i])
		}
		i++
	})
	return nil
}

// each calls f for every reason, named as error.type names it.
func (d Dropped) each(f func(reason string, n int64)) {
	f("queue_full", d.QueueFull)
	f("rejected", d.Rejected)
	f("too_large", d.TooLarge)
	f("expired", d.Expired)
	f("unsampled", d.Unsampled)
	f("shutdown", d.Shutdown)
}
