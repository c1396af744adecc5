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

func (id *identity) appendTrace(b []byte, t trace.TraceID) []byte {
	prefix := id.prefix.Load()
	if prefix == nil && id.lookup != nil {
		if project := id.lookup(); project != "" {
			prefix = tracePrefix(project)
			id.prefix.Store(prefix)
		}
	}
	if prefix != nil {
		b = append(b, *prefix...)
	} else {
		b = append(b, `"logging.googleapis.com/trace":"`...)
	}
	b = appendHex(b, t[:])
	return append(b, `",`...)
}

// identify adds the span of ctx, as Cloud Logging and as Datadog have it, the
// place of the call, and the service's names.
//
// https://cloud.google.com/trace/docs/trace-log-integration
// https://docs.datadoghq.com/tracing/other_telemetry/connect_logs_and_traces/
func (h *jsonHandler) identify(ctx context.Context, l *line, site *callSite) {
	sc := trace.SpanContextFromContext(ctx)
	traceID, spanID := sc.TraceID(), sc.SpanID()
	if traceID.IsValid() {
		google := traceID
		if t := obsctx.TraceFrom(ctx); t != nil && t.ID == traceID && t.FrontEnd.IsValid() {
			google = t.FrontEnd
		}
		l.buf = h.appendTrace(l.buf, google)
		if spanID.IsValid() {
			l.buf = append(l.buf, `"logging.googleapis.com/spanId":"`...)
			l.buf = appendHex(l.buf, spanID[:])
			l.buf = append(l.buf, `",`...)
		}
		l.buf = append(l.buf, `"logging.googleapis.com/trace_sampled":`...)
		l.buf = strconv.AppendBool(l.buf, sc.IsSampled())
		l.buf = append(l.buf, ',')
	}
	if site != nil && h.opts.AddSource {
		l.buf = append(l.buf, site.location...)
	}
	l.buf = append(l.buf, h.labels...)
	if traceID.IsValid() {
		l.buf = append(l.buf, `"dd.trace_id":"`...)
		l.buf = appendHex(l.buf, traceID[:])
		l.buf = append(l.buf, `",`...)
		if spanID.IsValid() {
			l.buf = append(l.buf, `"dd.span_id":"`...)
			l.buf = strconv.AppendUint(l.buf, binary.BigEndian.Uint64(spanID[:]), 10)
			l.buf = append(l.buf, `",`...)
		}
	}
	l.buf = append(l.buf, h.datadog...)
	l.ordinary = traceID.IsValid() || len(h.datadog) > 0
}
