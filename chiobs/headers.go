package chiobs

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A header is one to be recorded.
type header struct {
	name string // canonical
	key  string // of the attribute
}

func headersOf(prefix string, names []string) (headers []header) {
	for _, n := range names {
		headers = append(headers, header{http.CanonicalHeaderKey(n), prefix + strings.ToLower(n)})
	}
	return headers
}

// appendHeaders appends those of headers that h has. Several values of one are
// joined, as HTTP allows.
func appendHeaders(attrs []slog.Attr, headers []header, h http.Header) []slog.Attr {
	for _, x := range headers {
		if values := h[x.name]; len(values) > 0 {
			attrs = append(attrs, slog.String(x.key, clean(strings.Join(values, ", "))))
		}
	}
	return attrs
}

func appendBaggage(ctx context.Context, attrs []slog.Attr, keys []string) []slog.Attr {
	if len(keys) == 0 {
		return attrs
	}
	b := baggage.FromContext(ctx)
	for _, k := range keys {
		if m := b.Member(k); m.Key() != "" {
			attrs = append(attrs, slog.String("baggage."+k, clean(m.Value())))
		}
	}
	return attrs
}

// keyRequestID is Datadog's standard attribute.
// https://docs.datadoghq.com/standard-attributes
const keyRequestID = "http.request_id"

// answerIDs writes the ids of the request into the answer's headers, and its
// own into ctx.
func (q *request) answerIDs(ctx context.Context, s *settings, r *http.Request) context.Context {
	sc := q.span.SpanContext()
	if s.TraceResponse && sc.IsValid() {
		// https://www.w3.org/TR/trace-context-2/#traceresponse-header
		flags := "-00"
		if sc.IsSampled() {
			flags = "-01"
		}
		value := "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + flags
		q.w.Header().Set("Traceresponse", value)
		q.w.Header().Add("Server-Timing", `traceparent;desc="`+value+`"`)
	}
	if s.RequestID == "" {
		return ctx
	}
	id := r.Header.Get(s.RequestID)
	if s.Trust != TrustInternal || !validRequestID(id) {
		id = newRequestID(sc)
	}
	q.w.Header().Set(s.RequestID, id)
	if q.span.IsRecording() {
		q.span.SetAttributes(spanAttributes(q.redactor, nil, []slog.Attr{slog.String(keyRequestID, id)})...)
	}
	return obsctx.WithFields(ctx, []slog.Attr{slog.String(keyRequestID, id)})
}

// maxRequestID bounds, in bytes, an id that a caller chooses.
const maxRequestID = 128

func validRequestID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxRequestID
}

// newRequestID is the trace's id, so that one id leads to all there is.
func newRequestID(sc trace.SpanContext) string {
	if sc.TraceID().IsValid() {
		return sc.TraceID().String()
	}
	return rand.Text()
}
