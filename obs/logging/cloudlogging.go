package logging

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// identity holds the members that say where records come from, rendered once.
type identity struct {
	labels  []byte
	datadog []byte // dd.service, dd.env, dd.version
	service []byte // serviceContext

	lookup func() string
	prefix atomic.Pointer[[]byte] // of the trace; nil until the project is known
}

func newIdentity(o Options) *identity {
	id := &identity{lookup: o.LookupProjectID}
	if o.ProjectID != "" {
		id.prefix.Store(tracePrefix(o.ProjectID))
	}
	if len(o.Labels) > 0 {
		id.labels = append(id.labels, `"logging.googleapis.com/labels":{`...)
		for _, k := range slices.Sorted(maps.Keys(o.Labels)) {
			id.labels = appendString(id.labels, k)
			id.labels = append(id.labels, ':')
			id.labels = appendString(id.labels, o.Labels[k])
			id.labels = append(id.labels, ',')
		}
		id.labels[len(id.labels)-1] = '}'
		id.labels = append(id.labels, ',')
	}
	id.datadog = appendTag(id.datadog, `"dd.service":`, o.Service)
	id.datadog = appendTag(id.datadog, `"dd.env":`, o.Env)
	id.datadog = appendTag(id.datadog, `"dd.version":`, o.Version)
	if o.Service != "" {
		b := append(id.service, `"serviceContext":{`...)
		b = appendTag(b, `"service":`, o.Service)
		b = appendTag(b, `"version":`, o.Version)
		b[len(b)-1] = '}'
		id.service = append(b, ',')
	}
	return id
}

func appendTag(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, key...)
	b = appendString(b, value)
	return append(b, ',')
}

// tracePrefix begins the trace field in the long form: Cloud Run's own request
// log has that, and Logs Explorer nests only equal values.
func tracePrefix(project string) *[]byte {
	b := appendEscaped([]byte(`"logging.googleapis.com/trace":"projects/`), project)
	b = append(b, "/traces/"...)
	return &b
}

// project returns how the trace field begins.
func (id *identity) project() *[]byte {
	prefix := id.prefix.Load()
	if prefix == nil {
		prefix = &bareTrace
		if id.lookup != nil {
			if project := id.lookup(); project != "" {
				prefix = tracePrefix(project)
				id.prefix.Store(prefix)
			}
		}
	}
	return prefix
}

var bareTrace = []byte(`"logging.googleapis.com/trace":"`)

// A spanText remembers what identify wrote last: a request's records follow
// one another, and its ids are a third of a short line's cost.
type spanText struct {
	traceID, google trace.TraceID
	spanID          trace.SpanID
	sampled         bool
	prefix          *[]byte // of google; nil at first
	head            []byte  // Cloud Logging's members
	tail            []byte  // Datadog's
}

// of makes s that of a span whose trace Google knows as google.
func (s *spanText) of(span trace.SpanContext, google trace.TraceID, prefix *[]byte) {
	traceID, spanID, sampled := span.TraceID(), span.SpanID(), span.IsSampled()
	if s.spanID == spanID && s.traceID == traceID && s.google == google && s.sampled == sampled && s.prefix == prefix {
		return
	}
	s.traceID, s.spanID, s.sampled, s.google, s.prefix = traceID, spanID, sampled, google, prefix
	s.head = append(s.head[:0], *prefix...)
	s.head = appendHex(s.head, google[:])
	s.head = append(s.head, `",`...)
	s.tail = append(s.tail[:0], `"dd.trace_id":"`...)
	s.tail = appendHex(s.tail, traceID[:])
	s.tail = append(s.tail, `",`...)
	if spanID.IsValid() {
		s.head = append(s.head, `"logging.googleapis.com/spanId":"`...)
		s.head = appendHex(s.head, spanID[:])
		s.head = append(s.head, `",`...)
		s.tail = append(s.tail, `"dd.span_id":"`...)
		s.tail = strconv.AppendUint(s.tail, binary.BigEndian.Uint64(spanID[:]), 10)
		s.tail = append(s.tail, `",`...)
	}
	s.head = append(s.head, `"logging.googleapis.com/trace_sampled":`...)
	s.head = strconv.AppendBool(s.head, sampled)
	s.head = append(s.head, ',')
}

// identify adds the span of ctx, as Cloud Logging and as Datadog have it, the
// place of the call, and the service's names.
//
// https://cloud.google.com/trace/docs/trace-log-integration
// https://docs.datadoghq.com/tracing/other_telemetry/connect_logs_and_traces/
func (h *jsonHandler) identify(ctx context.Context, l *line, site *callSite) {
	span := trace.SpanContextFromContext(ctx)
	traced := span.HasTraceID()
	b := l.buf
	if traced {
		google := span.TraceID()
		if t := obsctx.TraceFrom(ctx); t != nil && t.ID == google && t.FrontEnd.IsValid() {
			google = t.FrontEnd
		}
		l.ids.of(span, google, h.project())
		b = append(b, l.ids.head...)
	}
	if site != nil && h.opts.AddSource {
		b = append(b, site.location...)
	}
	b = append(b, h.labels...)
	if traced {
		b = append(b, l.ids.tail...)
	}
	l.buf = append(b, h.datadog...)
	l.ordinary = traced || len(h.datadog) > 0
}
