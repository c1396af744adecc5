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

// TestUnusableIDs: an id that is none, by its size or by one byte, is no trace,
// whichever header it comes in, and hides none that another header has.
func TestUnusableIDs(t *testing.T) {
	t.Parallel()
	all := []string{"datadog", "tracecontext", "b3multi", "b3 single header"}
	own := NewPropagator(PropagatorOptions{Extract: all, Inject: all})
	ids := map[string]string{
		"10 MB of zeros": strings.Repeat("0", 10<<20), "10 MB of digits": strings.Repeat("7", 10<<20), "10 MB of dashes": strings.Repeat("-", 10<<20),
		"empty": "", "zero": "0", "zeros": strings.Repeat("0", 32), "NUL": "4bf92f3577b34da6a3ce929d0e0e473\x00",
		"no UTF-8": "4bf92f3577b34da6a3ce929d0e0e47\xff\xfe", "33 digits": strings.Repeat("1", 33), "a sign": "+7",
	}
	for name, id := range ids {
		bad := http.Header{
			"X-Datadog-Trace-Id": {id}, "X-Datadog-Parent-Id": {id}, "Traceparent": {"00-" + id + "-" + id + "-01"},
			"X-B3-Traceid": {id}, "X-B3-Spanid": {id}, "B3": {id + "-" + id + "-1"}, "X-Cloud-Trace-Context": {id + "/1;o=1"},
		}
		for _, p := range []propagation.TextMapPropagator{own, NewIngress(own), NewIngress(propagation.TraceContext{})} {
			ctx := p.Extract(t.Context(), propagation.HeaderCarrier(bad))
			if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() || sc.HasSpanID() {
				t.Errorf("%s: %T got %v, %v", name, p, sc.TraceID(), sc.SpanID())
			}
		}
		for at, good := range map[string]string{
			"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			"B3":          "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
		} {
			h := bad.Clone()
			h.Set(at, good)
			if sc := trace.SpanContextFromContext(own.Extract(t.Context(), propagation.HeaderCarrier(h))); sc.TraceID() != traceA || sc.SpanID() != spanA {
				t.Errorf("%s beside a valid %s: got %v, %v", name, at, sc.TraceID(), sc.SpanID())
			}
		}
	}
}
