// Package spanattr turns slog attributes into span attributes, so that a
// program needs one vocabulary for its logs and its traces. Groups become
// dotted keys; a secret stays one, since the sinks redact by key and by type.
package spanattr

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// maxDepth bounds groups within groups and LogValuers that return groups.
const maxDepth = 16

// Append appends the span attributes of attrs to kvs.
func Append(kvs []attribute.KeyValue, attrs ...slog.Attr) []attribute.KeyValue {
	for _, a := range attrs {
		kvs = appendAttr(kvs, "", a, 0)
	}
	return kvs
}

// AppendFields appends the span attributes of f, outermost first, so that an
// inner field of the same key wins.
func AppendFields(kvs []attribute.KeyValue, f *obsctx.Fields) []attribute.KeyValue {
	if f == nil {
		return kvs
	}
	return Append(AppendFields(kvs, f.Outer), f.Attrs...)
}

func appendAttr(kvs []attribute.KeyValue, prefix string, a slog.Attr, depth int) []attribute.KeyValue {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if depth == maxDepth {
			return append(kvs, attribute.String(prefix+a.Key, "!ERROR: group too deep"))
		}
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			kvs = appendAttr(kvs, prefix, m, depth+1)
		}
		return kvs
	}
	if a.Key == "" {
		return kvs
	}
	return append(kvs, attribute.KeyValue{Key: attribute.Key(prefix + a.Key), Value: Value(v)})
}

// Value returns v as a span attribute's value. Durations are in nanoseconds,
// as Datadog has them; what has no counterpart is printed as text.
func Value(v slog.Value) attribute.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindString:
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
	default:
		return attribute.StringValue(text(v.Any()))
	}
}

// text prints what slog hands on as it is. Errors and Stringers print
// themselves, the rest prints as JSON where it can.
func text(x any) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	switch x := x.(type) {
	case error:
		return x.Error()
	case fmt.Stringer:
		return x.String()
	case []byte:
		return string(x)
	}
	if b, err := json.Marshal(x); err == nil {
		return string(b)
	}
	return fmt.Sprintf("%+v", x)
}
