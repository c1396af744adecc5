// Package spanattr turns slog attributes into span attributes, so that a
// program needs one vocabulary for its logs and its traces. Groups become
// dotted keys. Secrets are gone before a span, and who processes spans, sees
// them.
package spanattr

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// maxDepth bounds groups within groups and LogValuers that return groups.
const maxDepth = 16

// Append appends the span attributes of attrs to kvs, less what red hides.
func Append(red *redact.Redactor, kvs []attribute.KeyValue, attrs ...slog.Attr) []attribute.KeyValue {
	c := converter{red, kvs}
	for _, a := range attrs {
		c.add("", a, false, 0)
	}
	return c.kvs
}

// AppendFields appends the span attributes of f, outermost first, so that an
// inner field of the same key wins.
func AppendFields(red *redact.Redactor, kvs []attribute.KeyValue, f *obsctx.Fields) []attribute.KeyValue {
	if f == nil {
		return kvs
	}
	return Append(red, AppendFields(red, kvs, f.Outer), f.Attrs...)
}

type converter struct {
	red *redact.Redactor
	kvs []attribute.KeyValue
}

// add adds a, which lies in groups of that prefix; secret says that one's name
// is a secret's.
func (c *converter) add(prefix string, a slog.Attr, secret bool, depth int) {
	v := a.Value.Resolve()
	secret = secret || c.red.Key(a.Key)
	if v.Kind() == slog.KindGroup {
		if depth == maxDepth {
			c.kvs = append(c.kvs, attribute.String(prefix+a.Key, "!ERROR: group too deep"))
			return
		}
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			c.add(prefix, m, secret, depth+1)
		}
		return
	}
	if a.Key == "" {
		return
	}
	c.kvs = append(c.kvs, attribute.KeyValue{Key: attribute.Key(prefix + a.Key), Value: c.value(v, secret)})
}

// value returns v as a span attribute's value. Durations are in nanoseconds,
// as Datadog has them; what has no counterpart is printed as text. What counts
// or switches is no secret.
func (c *converter) value(v slog.Value, secret bool) attribute.Value {
	switch v.Kind() {
	case slog.KindString:
		if secret {
			return attribute.StringValue(redact.Placeholder)
		}
		return attribute.StringValue(v.String())
	case slog.KindInt64:
		return attribute.Int64Value(v.Int64())
	case slog.KindUint64:
		// Beyond int64 the digits matter more than the type.
		if u := v.Uint64(); u>>63 != 0 {
			return attribute.StringValue(v.String())
		}
		return attribute.Int64Value(int64(v.Uint64()))
	case slog.KindFloat64:
		return attribute.Float64Value(v.Float64())
	case slog.KindBool:
		return attribute.BoolValue(v.Bool())
	case slog.KindDuration:
		return attribute.Int64Value(int64(v.Duration()))
	case slog.KindTime:
		return attribute.StringValue(v.Time().Format(time.RFC3339Nano))
	}
	if secret {
		return attribute.StringValue(redact.Placeholder)
	}
	return attribute.StringValue(c.red.Sprint(v.Any()))
}
