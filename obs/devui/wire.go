package devui

import (
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// What follows is what the page gets. Times of day are in microseconds, which
// JavaScript's numbers hold; times within a trace in nanoseconds from its
// beginning.

// traceRow is a trace in the list.
type traceRow struct {
	ID       string   `json:"id"`
	Number   uint64   `json:"number"` // in the order of coming
	At       int64    `json:"at"`
	Duration int64    `json:"duration"` // nanoseconds
	Name     string   `json:"name"`
	Method   string   `json:"method,omitempty"`
	Route    string   `json:"route,omitempty"`
	Path     string   `json:"path,omitempty"`
	Service  string   `json:"service"`
	Services []string `json:"services,omitempty"` // if there are several
	Status   int      `json:"status,omitempty"`
	Failed   bool     `json:"failed,omitempty"`
	Spans    int      `json:"spans"`
	Logs     int      `json:"logs,omitempty"`
	Level    *int16   `json:"level,omitempty"` // the highest of a record
	Open     bool     `json:"open,omitempty"`  // the root has not come
}

func (t *traceEntry) row() traceRow {
	r := traceRow{
		ID: t.id.String(), Number: t.number, At: t.top.start / 1000, Duration: t.length(),
		Name: t.top.name, Method: t.top.method, Route: t.top.route, Path: t.top.path, Service: t.top.service,
		Status: t.top.status, Failed: t.failed, Spans: len(t.spans) + t.dropped, Logs: t.logs, Open: t.rank < rankServer,
	}
	if len(t.services) > 1 {
		r.Services = append(r.Services, t.services...)
	}
	if t.hasRecords {
		level := t.level
		r.Level = &level
	}
	return r
}

// traceDoc is a whole trace, for the waterfall and as the file that people
// hand each other.
type traceDoc struct {
	Format  string    `json:"format"`
	ID      string    `json:"id"`
	Start   string    `json:"start"` // nanoseconds since 1970
	Spans   []spanDoc `json:"spans"`
	Logs    []logDoc  `json:"logs"`
	Dropped int       `json:"dropped,omitempty"` // spans that were too many
}

const traceFormat = "kumihimo.trace/1"

// spanDoc is a span as the waterfall needs it.
type spanDoc struct {
	ID       string     `json:"id"`
	Parent   string     `json:"parent,omitempty"`
	Name     string     `json:"name"`
	Service  string     `json:"service"`
	Resource string     `json:"resource,omitempty"` // Datadog's, of foreign spans
	Kind     string     `json:"kind,omitempty"`
	At       int64      `json:"at"`
	Duration int64      `json:"duration"`
	Failed   bool       `json:"failed,omitempty"`
	Message  string     `json:"message,omitempty"`
	Detail   *detailDoc `json:"detail,omitempty"`
}

// detailDoc is the rest of a span, for the panel.
type detailDoc struct {
	Source     string         `json:"source"` // OpenTelemetry, or the protocol
	Scope      string         `json:"scope,omitempty"`
	Version    string         `json:"version,omitempty"`
	State      string         `json:"tracestate,omitempty"`
	Attributes map[string]any `json:"attributes"`
	Process    map[string]any `json:"process,omitempty"`
	Events     []eventDoc     `json:"events,omitempty"`
	Links      []linkDoc      `json:"links,omitempty"`
	Left       int            `json:"left,omitempty"` // attributes that were left out
	Datadog    *datadogDoc    `json:"datadog,omitempty"`
}

type eventDoc struct {
	At         int64          `json:"at"`
	Name       string         `json:"name"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

type linkDoc struct {
	Trace      string         `json:"trace"`
	Span       string         `json:"span"`
	State      string         `json:"tracestate,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// datadogDoc is a span as the Datadog Agent gets it.
type datadogDoc struct {
	Service  string             `json:"service"`
	Name     string             `json:"name"`
	Resource string             `json:"resource"`
	Type     string             `json:"type"`
	Error    bool               `json:"error"`
	Meta     map[string]string  `json:"meta"`
	Metrics  map[string]float64 `json:"metrics"`
}

// logDoc is a record in the tail, and in a trace.
type logDoc struct {
	Number     uint64         `json:"number"`
	Time       int64          `json:"time"`
	At         *int64         `json:"at,omitempty"` // in a trace
	Trace      string         `json:"trace,omitempty"`
	Span       string         `json:"span,omitempty"`
	Level      int16          `json:"level"`
	Message    string         `json:"message"`
	Source     string         `json:"source,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

func (r *logRecord) doc() logDoc {
	d := logDoc{
		Number: r.seq, Time: r.time / 1000, Level: r.level, Message: r.message, Source: r.source(),
		Attributes: objectOf(r.values()),
	}
	if r.trace.IsValid() {
		d.Trace = r.trace.String()
	}
	if r.span.IsValid() {
		d.Span = r.span.String()
	}
	return d
}

type statsDoc struct {
	Traces       int   `json:"traces"`
	Spans        int   `json:"spans"`
	Logs         int   `json:"logs"`
	Bytes        int64 `json:"bytes"`
	MaxBytes     int64 `json:"maxBytes"`
	Evicted      int64 `json:"evicted"`
	DroppedSpans int64 `json:"droppedSpans"`
	DroppedLogs  int64 `json:"droppedLogs"`
}

// doc puts a trace together, with all there is of its spans if detail is set.
func (s *snapshot) doc(detail bool) (traceDoc, error) {
	base := s.base()
	d := traceDoc{Format: traceFormat, ID: s.entry.id.String(), Start: strconv.FormatInt(base, 10), Dropped: s.entry.dropped,
		Spans: make([]spanDoc, 0, len(s.entry.spans)), Logs: make([]logDoc, 0, len(s.logs))}
	all := make([]span, len(s.entry.spans))
	for i, blob := range s.entry.spans {
		var err error
		if all[i], err = decode(blob, s.names); err != nil {
			return d, err
		}
		d.Spans = append(d.Spans, all[i].doc(base))
	}
	if detail {
		details, err := s.details(all, base)
		if err != nil {
			return d, err
		}
		for i := range details {
			d.Spans[i].Detail = &details[i]
		}
	}
	for i := range s.logs {
		doc := s.logs[i].doc()
		at := s.logs[i].time - base
		doc.At = &at
		d.Logs = append(d.Logs, doc)
	}
	return d, nil
}

// base is the moment from which the times within the trace count.
func (s *snapshot) base() int64 { return s.entry.first }

func (s *span) doc(base int64) spanDoc {
	d := spanDoc{
		ID: s.id.String(), Name: s.name, Service: s.service, Resource: s.resource,
		At: s.start - base, Duration: s.duration, Failed: s.failed, Message: s.message,
	}
	if s.kind != trace.SpanKindUnspecified && s.kind != trace.SpanKindInternal {
		d.Kind = s.kind.String()
	}
	if s.parent.IsValid() {
		d.Parent = s.parent.String()
	}
	for i := len(s.events) - 1; i >= 0 && d.Failed && d.Message == ""; i-- {
		for _, kv := range s.events[i].attrs {
			if kv.Key == "exception.message" {
				d.Message = kv.Value.String()
			}
		}
	}
	return d
}

// objectOf makes a JSON object of attrs; of two of a key the last stays.
func objectOf(attrs []attribute.KeyValue) map[string]any {
	if len(attrs) == 0 {
		return nil
	}
	m := make(map[string]any, len(attrs))
	for _, kv := range attrs {
		m[string(kv.Key)] = valueOf(kv.Value)
	}
	return m
}

// maxSafe is the greatest integer that JavaScript's numbers tell from the next.
const maxSafe = 1<<53 - 1

// valueOf returns v as JSON can have it and JavaScript reads it.
func valueOf(v attribute.Value) any {
	switch v.Type() {
	case attribute.INT64:
		if n := v.AsInt64(); n > maxSafe || n < -maxSafe {
			return strconv.FormatInt(n, 10)
		}
	case attribute.FLOAT64:
		if f := v.AsFloat64(); math.IsNaN(f) || math.IsInf(f, 0) {
			return strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+")
		}
	case attribute.FLOAT64SLICE, attribute.INT64SLICE:
		return v.String()
	}
	return v.AsInterface()
}
