package obstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// A Trace is the spans of one trace that have ended, and the records written
// in it.
type Trace struct {
	ID      string    // 32 hex digits; "" for the records written in no span
	Roots   []*Span   // spans whose parent is not here, by their start
	Records []*Record // those of no span that is here
}

// A Span is an ended span, as an exporter gets it: secrets are redacted.
type Span struct {
	Name     string
	Kind     string // "internal", "server", "client", "producer" or "consumer"
	ID       string // 16 hex digits
	Parent   string // its parent's, or ""
	Start    time.Time
	Duration time.Duration
	Failed   bool   // the status is Error,
	Error    string // with this description

	// Attributes hold bool, int64, float64, string, slices of them, and maps.
	Attributes map[string]any
	Events     []Event
	Links      []string // trace and span id, joined by "/"

	Children []*Span   // by their start
	Records  []*Record // written in the span, in order
}

// An Event is one of a span's.
type Event struct {
	Name       string
	Time       time.Time
	Attributes map[string]any
}

// A Record is a log line.
type Record struct {
	Time     time.Time
	Severity string // as Cloud Logging has it: "INFO", "WARNING", …
	Message  string
	TraceID  string // 32 hex digits, or ""
	SpanID   string // 16 hex digits, or ""

	// Fields are the program's own: bool, int64, float64, string, []any and
	// map[string]any.
	Fields map[string]any

	// Line is the line as it was written.
	Line string
}

const cloudPrefix = "logging.googleapis.com/"

// parseRecord reads a line of logging's JSON.
func parseRecord(line []byte) (r Record, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&r.Fields); err != nil {
		return r, fmt.Errorf("obstest: %w: %s", err, line)
	}
	r.Line = strings.TrimSuffix(string(line), "\n")
	take := func(key string) string {
		s, _ := r.Fields[key].(string)
		delete(r.Fields, key)
		return s
	}
	r.Severity, r.Message = take("severity"), take("message")
	r.Time, err = time.Parse(time.RFC3339Nano, take("time"))
	r.TraceID, r.SpanID = take("dd.trace_id"), take(cloudPrefix+"spanId")
	for key := range r.Fields {
		switch {
		case strings.HasPrefix(key, cloudPrefix), strings.HasPrefix(key, "dd."):
		case key == "serviceContext", key == "context", key == "@type":
		default:
			continue
		}
		delete(r.Fields, key)
	}
	if len(r.Fields) == 1 {
		delete(r.Fields, "level") // what stands where there is no other
	}
	for key, v := range r.Fields {
		r.Fields[key] = plainNumbers(v)
	}
	return r, err
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return math.Inf(1)
		}
		return f
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	}
	return v
}

func newSpan(s sdktrace.ReadOnlySpan) *Span {
	sc := s.SpanContext()
	out := &Span{
		Name: s.Name(), Kind: s.SpanKind().String(), ID: sc.SpanID().String(),
		Start: s.StartTime(), Duration: s.EndTime().Sub(s.StartTime()),
		Failed: s.Status().Code == codes.Error, Error: s.Status().Description,
		Attributes: attributesOf(s.Attributes()),
	}
	if p := s.Parent(); p.SpanID().IsValid() {
		out.Parent = p.SpanID().String()
	}
	for _, e := range s.Events() {
		out.Events = append(out.Events, Event{e.Name, e.Time, attributesOf(e.Attributes)})
	}
	for _, l := range s.Links() {
		out.Links = append(out.Links, l.SpanContext.TraceID().String()+"/"+l.SpanContext.SpanID().String())
	}
	return out
}

func attributesOf(kvs []attribute.KeyValue) map[string]any {
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

// Traces returns what was recorded so far, the earliest trace first. Spans that
// are open are not among them. What it returns is the caller's own.
func (r *Recorder) Traces() []*Trace {
	r.t.Helper()
	r.flush()
	r.mu.Lock()
	ended, records := slices.Clone(r.ended), slices.Clone(r.records)
	r.mu.Unlock()

	var traces []*Trace
	byID := make(map[string]*Trace)
	traceWith := func(id string) *Trace {
		t := byID[id]
		if t == nil {
			t = &Trace{ID: id}
			byID[id], traces = t, append(traces, t)
		}
		return t
	}
	slices.SortStableFunc(ended, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	spans := make(map[string]*Span, len(ended))
	for _, s := range ended {
		spans[s.SpanContext().SpanID().String()] = newSpan(s)
	}
	for _, s := range ended {
		span := spans[s.SpanContext().SpanID().String()]
		if parent := spans[span.Parent]; parent != nil {
			parent.Children = append(parent.Children, span)
			continue
		}
		t := traceWith(s.SpanContext().TraceID().String())
		t.Roots = append(t.Roots, span)
	}
	for i := range records {
		rec := &records[i]
		if span := spans[rec.SpanID]; span != nil {
			span.Records = append(span.Records, rec)
			continue
		}
		t := traceWith(rec.TraceID)
		t.Records = append(t.Records, rec)
	}
	slices.SortStableFunc(traces, func(a, b *Trace) int { return a.start().Compare(b.start()) })
	return traces
}

func (t *Trace) start() time.Time {
	switch {
	case len(t.Roots) > 0:
		return t.Roots[0].Start
	case len(t.Records) > 0:
		return t.Records[0].Time
	}
	return time.Time{}
}

// Trace returns the trace of an id, as a trace.TraceID or a header prints it,
// or fails the test. It waits for open spans as Check does.
func (r *Recorder) Trace(id string) *Trace {
	r.t.Helper()
	var found *Trace
	if err := r.await(func() error {
		var known []string
		for _, t := range r.Traces() {
			if t.ID == id {
				found = t
				return nil
			}
			known = append(known, t.ID)
		}
		return fmt.Errorf("obstest: no trace %q, there are %q", id, known)
	}); err != nil {
		r.t.Fatal(err)
	}
	return found
}

// Span returns the one span of a name, or fails the test. It waits for open
// spans as Check does.
func (r *Recorder) Span(name string) *Span {
	r.t.Helper()
	var found []*Span
	if err := r.await(func() error {
		found = nil
		for _, t := range r.Traces() {
			t.walk(func(s *Span) {
				if s.Name == name {
					found = append(found, s)
				}
			})
		}
		if len(found) != 1 {
			return fmt.Errorf("obstest: %d spans are named %q, want one\n%s", len(found), name, r)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return found[0]
}

func (t *Trace) walk(f func(*Span)) {
	var down func([]*Span)
	down = func(spans []*Span) {
		for _, s := range spans {
			f(s)
			down(s.Children)
		}
	}
	down(t.Roots)
}

// Records returns every record so far, in the order they were written.
func (r *Recorder) Records() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// entry is a child of a node in the tree: a span or a record.
type entry struct {
	at     time.Time
	span   *Span
	record *Record
}

// entries are spans and records by time; of two at one time the record comes
// first, which was written before the span began.
func entries(spans []*Span, records []*Record) (all []entry) {
	for _, rec := range records {
		all = append(all, entry{rec.Time, nil, rec})
	}
	for _, s := range spans {
		all = append(all, entry{s.Start, s, nil})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	return all
}
