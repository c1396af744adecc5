package tracing

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// TestHugeHeaders: ten megabytes in one header, of a kind that a parser could
// stumble over, cost the valid ids beside them nothing, and go no further.
func TestHugeHeaders(t *testing.T) {
	t.Parallel()
	const size = 10 << 20
	fills := map[string]string{"letters": "a", "digits": "1", "commas": ",", "members": "k=v,", "parts": ";", "NUL": "\x00", "bytes": "\xff"}
	p := NewPropagator(PropagatorOptions{})
	for fill, text := range fills {
		text = strings.Repeat(text, size/len(text))
		for _, name := range []string{"X-Datadog-Tags", "X-Datadog-Origin", "X-Datadog-Sampling-Priority", "Tracestate", "Traceparent", "Baggage", "Ot-Baggage-User"} {
			h := http.Header{"X-Datadog-Trace-Id": {"7"}, "X-Datadog-Parent-Id": {"8"}}
			h.Set(name, text)
			ctx := p.Extract(t.Context(), propagation.HeaderCarrier(h))
			if sc := trace.SpanContextFromContext(ctx); sc.TraceID() != (trace.TraceID{15: 7}) || sc.SpanID() != (trace.SpanID{7: 8}) {
				t.Errorf("%s of %s: got %v, %v", name, fill, sc.TraceID(), sc.SpanID())
			}
			out := http.Header{}
			p.Inject(ctx, propagation.HeaderCarrier(out))
			for sent, values := range out {
				if n := len(strings.Join(values, ",")); n > 16<<10 {
					t.Errorf("%s of %s: %s goes on with %d bytes", name, fill, sent, n)
				}
			}
		}
	}
}
