package obsctx

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// StartAttributes are the attributes of a span to be started. Any provider takes
// them from the option within; ours takes them from here, which spares a copy.
type StartAttributes struct {
	trace.SpanStartEventOption
	Attrs []attribute.KeyValue
}

// NewStartAttributes returns the option for attrs. Who passes it to a Source's
// provider may write to attrs again when the span is started: such providers
// keep no slice they get.
func NewStartAttributes(attrs []attribute.KeyValue) StartAttributes {
	attrs = attrs[:len(attrs):len(attrs)]
	return StartAttributes{trace.WithAttributes(attrs...), attrs}
}
