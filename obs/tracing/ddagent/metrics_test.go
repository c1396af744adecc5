package ddagent

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"
)

// meters is a MeterProvider that keeps the callback; the SDK's is a module
// that we do not have.
type meters struct {
	noop.MeterProvider
	collect metric.Callback
	fail    error
}

func (m *meters) Meter(string, ...metric.MeterOption) metric.Meter { return meter{m: m} }

type meter struct {
	noop.Meter
	m *meters
}

func (m meter) Int64ObservableCounter(name string, _ ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return &instrument{name: name}, m.m.fail
}

func (m meter) Int64ObservableUpDownCounter(name string, _ ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	return &upDown{name: name}, m.m.fail
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.m.collect = f
	return registration{m: m.m}, nil
}

type registration struct {
	noop.Registration
	m *meters
}

func (r registration) Unregister() error { r.m.collect = nil; return nil }

type instrument struct {
	noop.Int64ObservableCounter
	name string
}

type upDown struct {
	noop.Int64ObservableUpDownCounter
	name string
}

// observed collects values by name and error.type.
type observed struct {
	embedded.Observer
	values map[string]int64
}

func (o observed) ObserveFloat64(metric.Float64Observable, float64, ...metric.ObserveOption) {}
func (o observed) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	name := ""
	switch i := i.(type) {
	case *instrument:
		name = i.name
	case *upDown:
		name = i.name
	}
	attrs := metric.NewObserveConfig(opts).Attributes()
	if reason, ok := attrs.Value("error.type"); ok {
		name += " " + reason.AsString()
	}
	if c, _ := attrs.Value("otel.component.name"); c.AsString() != "kumihimo_ddagent_exporter/agent:8126" {
		name += " of no component"
	}
	o.values[name] = v
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := &meters{}
	r := newRig(t, Options{MeterProvider: m}, ProcessorOptions{})
	r.exporter.running = true // no goroutine
	for range 3 {
		_, span, _ := r.trace(keepIt)
		span.End()
	}
	r.trace(keepIt)
	r.exporter.stats.sent.Add(5)
	r.exporter.stats.queueFull.Add(2)
	got := observed{values: make(map[string]int64)}
	if err := m.collect(context.Background(), got); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{
		"otel.sdk.exporter.span.inflight": 0, "otel.sdk.processor.span.queue.size": 3, "otel.sdk.span.live": 1,
		"otel.sdk.exporter.span.exported": 5, "otel.sdk.exporter.span.exported queue_full": 2,
	}
	if diff := cmp.Diff(want, got.values); diff != "" {
		t.Error(diff)
	}
	var sum int64
	d := Dropped{1, 2, 4, 8, 16, 32}
	d.each(func(_ string, n int64) { sum += n })
	if sum != d.Total() || sum != 63 {
		t.Errorf("each reason: %d, all: %d", sum, d.Total())
	}
	r.exporter.running = false
	r.exporter.abandon()
	if r.exporter.unobserve(); m.collect != nil {
		t.Error("still observed after the end")
	}
}

func TestMetricsEndWithShutdown(t *testing.T) {
	t.Parallel()
	m := &meters{}
	e := NewExporter(Options{MeterProvider: m})
	if err := e.Shutdown(t.Context()); err != nil || m.collect != nil {
		t.Errorf("err %v, still observed %v", err, m.collect != nil)
	}
	logs := &logCounter{}
	e = NewExporter(Options{MeterProvider: &meters{fail: errors.New("no instruments")}, Logger: slog.New(logs)})
	if err := e.Shutdown(t.Context()); err != nil || len(logs.at(slog.LevelWarn)) != 1 {
		t.Errorf("err %v, %d warnings", err, len(logs.records))
	}
}
