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
	labels  []byte // of Options.Labels
	datadog []byte // dd.service, dd.env, dd.version
	service []byte // serviceContext

	lookup func() string
	prefix atomic.Pointer[[]byte] // of the trace; nil until the project is known
}

func newIdentity(o Options) *identity {
	id := &identity{}
	switch {
	case o.BareTrace:
	case o.ProjectID != "":
		id.prefix.Store(tracePrefix(o.ProjectID))
	default:
		id.lookup = o.LookupProjectID
	}
	labels := make([]pair, 0, len(o.Labels))
	for _, k := range slices.Sorted(maps.Keys(o.Labels)) {
		labels = append(labels, pair{appendString(nil, k), appendString(nil, o.Labels[k])})
	}
	id.labels = appendLabelMembers(nil, labels)
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
	spanIDs
	prefix *[]byte // of google; nil at first
	head   []byte  // Cloud Logging's members
	tail   []byte  // the labels, and Datadog's
}

// spanIDs are a span's, whose trace Google knows as google.
type spanIDs struct {
	traceID, google trace.TraceID
	spanID          trace.SpanID
	sampled         bool
}

// is reports whether s is that of ids. Field by field, as == on the whole calls
// the runtime.
func (s *spanText) is(ids *spanIDs, prefix *[]byte) bool {
	return s.spanID == ids.spanID && s.traceID == ids.traceID && s.google == ids.google &&
		s.sampled == ids.sampled && s.prefix == prefix
}

// make makes s that of a span.
func (s *spanText) make(ids *spanIDs, prefix *[]byte, id *identity) {
	s.spanIDs, s.prefix = *ids, prefix
	s.head = append(s.head[:0], *prefix...)
	s.head = appendHex(s.head, ids.google[:])
	s.head = append(s.head, `",`...)
	s.tail = append(s.tail[:0], id.labels...)
	s.tail = append(s.tail, `"dd.trace_id":"`...)
	s.tail = appendHex(s.tail, ids.traceID[:])
	s.tail = append(s.tail, `",`...)
	if ids.spanID.IsValid() {
		s.head = append(s.head, `"logging.googleapis.com/spanId":"`...)
		s.head = appendHex(s.head, ids.spanID[:])
		s.head = append(s.head, `",`...)
		s.tail = append(s.tail, `"dd.span_id":"`...)
		s.tail = strconv.AppendUint(s.tail, binary.BigEndian.Uint64(ids.spanID[:]), 10)
		s.tail = append(s.tail, `",`...)
	}
	s.tail = append(s.tail, id.datadog...)
	s.head = append(s.head, `"logging.googleapis.com/trace_sampled":`...)
	s.head = strconv.AppendBool(s.head, ids.sampled)
	s.head = append(s.head, ',')
}

// identify adds the span of ctx, as Cloud Logging and as Datadog have it, the
// place of the call, and the service's names.
//
// https://cloud.google.com/trace/docs/trace-log-integration
// https://docs.datadoghq.com/tracing/other_telemetry/connect_logs_and_traces/
func (h *jsonHandler) identify(ctx context.Context, l *line, site *callSite) {
	span := trace.SpanFromContext(ctx).SpanContext()
	var ids spanIDs
	ids.traceID, ids.spanID, ids.sampled = span.TraceID(), span.SpanID(), span.IsSampled()
	traced := ids.traceID != (trace.TraceID{})
	b := l.buf
	if traced {
		ids.google = ids.traceID
		if t := obsctx.TraceFrom(ctx); t != nil && t.ID == ids.traceID && t.FrontEnd.IsValid() {
			ids.google = t.FrontEnd
		}
		if prefix := h.project(); !l.ids.is(&ids, prefix) {
			l.ids.make(&ids, prefix, h.identity)
		}
		b = append(b, l.ids.head...)
	}
	if site != nil && h.opts.AddSource {
		b = append(b, site.location...)
	}
	if traced {
		b = append(b, l.ids.tail...)
	} else {
		b = append(b, h.labels...)
		b = append(b, h.datadog...)
	}
	l.buf = b
	l.ordinary = traced || len(h.datadog) > 0
}
