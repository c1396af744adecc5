package ddagent

import (
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// AppendPayload appends the body of /v0.4/traces in which an [Exporter] would
// send spans, each as a trace of its own: for tools that show people what the
// agent gets. What a chunk says of the trace as a whole, such as its sampling
// priority, and of the process is not known here, and not to be relied on. A
// nil redactor is the default one.
func AppendPayload(b []byte, spans []sdktrace.ReadOnlySpan, r *redact.Redactor) []byte {
	keys := &keyTable{redactor: r}
	e := encoder{keys: keys}
	ids := make(map[*resource.Resource]*identity)
	chunks := make([]chunk, 0, len(spans))
	for _, s := range spans {
		id := ids[s.Resource()]
		if id == nil {
			id = newIdentity(Options{}, keys, s.Resource())
			ids[s.Resource()] = id
		}
		chunks = append(chunks, chunk{
			records: string(e.encode(s, id, time.Now())), spans: 1, id: id, trace: s.SpanContext().TraceID(),
		})
	}
	var p payloadV04
	return p.append(b, chunks)
}
