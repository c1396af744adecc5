package obsctx

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// StartAttributes are the attributes of a span to be started, as the first of
// its options. Any provider takes them from the option within; ours hands them
// to the SDK through the sampler's result, which spares a copy of them all.
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

// StartAttributesOf returns the attributes that opts begin with, and the
// options after them.
func StartAttributesOf(opts []trace.SpanStartOption) (attrs []attribute.KeyValue, rest []trace.SpanStartOption) {
	if len(opts) > 0 {
		if o, ok := opts[0].(*StartAttributes); ok {
			return o.Attrs, opts[1:]
		}
	}
	return nil, opts
}
