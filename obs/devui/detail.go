package devui

import (
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// details returns what the panel shows of spans of s.
func (s *snapshot) details(spans []span, base int64) ([]detailDoc, error) {
	out := make([]detailDoc, len(spans))
	var native []sdktrace.ReadOnlySpan
	var at []int // in out
	for i := range spans {
		sp := &spans[i]
		out[i] = sp.detail(base)
		if sp.origin != "" {
			out[i].Datadog = sp.datadog()
			continue
		}
		out[i].Process = objectOf(s.resource(sp).Attributes())
		native, at = append(native, s.restored(sp)), append(at, i)
	}
	if len(native) == 0 {
		return out, nil
	}
	sent, err := ddpayload.Decode(ddpayload.V04, ddagent.AppendPayload(nil, native, nil))
	if err != nil || len(sent) != len(native) {
		return nil, fmt.Errorf("devui: %d spans in Datadog's form, want %d: %w", len(sent), len(native), err)
	}
	for n := range sent {
		out[at[n]].Datadog = datadogOf(&sent[n])
	}
	return out, nil
}

func (s *snapshot) resource(sp *span) *resource.Resource {
	return s.resources[min(sp.process, len(s.resources)-1)]
}

func (s *span) detail(base int64) detailDoc {
	d := detailDoc{
		Source: "OpenTelemetry", Scope: s.scope, Version: s.version, State: s.state,
		Attributes: objectOf(s.attrs), Left: s.left,
	}
	if s.origin != "" {
		d.Source = "Datadog " + s.origin
	}
	if d.Attributes == nil {
		d.Attributes = map[string]any{}
	}
	for _, e := range s.events {
		d.Events = append(d.Events, eventDoc{e.at - base, e.name, objectOf(e.attrs)})
	}
	for _, l := range s.links {
		d.Links = append(d.Links, linkDoc{l.trace.String(), l.span.String(), l.state, objectOf(l.attrs)})
	}
	return d
}

// datadog returns a foreign span as it came.
func (s *span) datadog() *datadogDoc {
	d := &datadogDoc{Service: s.service, Name: s.name, Resource: s.resource, Type: s.typ, Error: s.failed,
		Meta: map[string]string{}, Metrics: map[string]float64{}}
	for _, kv := range s.attrs {
		if kv.Value.Type() == attribute.FLOAT64 {
			d.setMetric(string(kv.Key), kv.Value.AsFloat64())
		} else {
			d.Meta[string(kv.Key)] = kv.Value.String()
		}
	}
	return d
}

// setMetric leaves out what JSON has no number for.
func (d *datadogDoc) setMetric(key string, v float64) {
	if v-v == 0 {
		d.Metrics[key] = v
	}
}

// unknown are what a payload says of the trace and the process, which a span on
// its own does not know.
var unknown = []string{"_sampling_priority_v1", "process_id", "runtime-id"}

func datadogOf(s *ddpayload.Span) *datadogDoc {
	d := &datadogDoc{Service: s.Service, Name: s.Name, Resource: s.Resource, Type: s.Type, Error: s.Error,
		Meta: s.Meta, Metrics: map[string]float64{}}
	for key, v := range s.Metrics {
		d.setMetric(key, v)
	}
	for _, key := range unknown {
		delete(d.Meta, key)
		delete(d.Metrics, key)
	}
	return d
}

// restored is a span as the exporter reads one. The methods that it does not
// have are not called.
type restored struct {
	sdktrace.ReadOnlySpan
	span    *span
	context trace.SpanContext
	res     *resource.Resource
}

func (s *snapshot) restored(sp *span) restored {
	return restored{span: sp, res: s.resource(sp), context: trace.NewSpanContext(trace.SpanContextConfig{TraceID: s.entry.id, SpanID: sp.id})}
}

func (r restored) Name() string                     { return r.span.name }
func (r restored) SpanContext() trace.SpanContext   { return r.context }
func (r restored) SpanKind() trace.SpanKind         { return r.span.kind }
func (r restored) StartTime() time.Time             { return time.Unix(0, r.span.start) }
func (r restored) EndTime() time.Time               { return time.Unix(0, endOf(r.span)) }
func (r restored) Attributes() []attribute.KeyValue { return r.span.attrs }
func (r restored) Resource() *resource.Resource     { return r.res }

func (r restored) Parent() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: r.context.TraceID(), SpanID: r.span.parent, Remote: r.span.remote})
}

func (r restored) InstrumentationScope() instrumentation.Scope {
	return instrumentation.Scope{Name: r.span.scope, Version: r.span.version}
}

func (r restored) Status() sdktrace.Status {
	if r.span.failed {
		return sdktrace.Status{Code: codes.Error, Description: r.span.message}
	}
	if r.span.okay {
		return sdktrace.Status{Code: codes.Ok}
	}
	return sdktrace.Status{}
}

func (r restored) Events() (events []sdktrace.Event) {
	for _, e := range r.span.events {
		events = append(events, sdktrace.Event{Name: e.name, Time: time.Unix(0, e.at), Attributes: e.attrs})
	}
	return events
}

func (r restored) Links() (links []sdktrace.Link) {
	for _, l := range r.span.links {
		links = append(links, sdktrace.Link{
			SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: l.trace, SpanID: l.span}), Attributes: l.attrs})
	}
	return links
}
