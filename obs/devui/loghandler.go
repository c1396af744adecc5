package devui

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/msgpack"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/spanattr"
)

// A logRecord is one as it is held. Its attributes are a blob like a span's,
// without numbers for names.
type logRecord struct {
	seq     uint64
	time    int64
	trace   trace.TraceID
	span    trace.SpanID
	level   int16
	pc      uintptr
	message string
	attrs   string
}

func (r *logRecord) cost() int64 { return int64(len(r.message)+len(r.attrs)) + 160 }

// Enabled is for slog.
func (v *Viewer) Enabled(_ context.Context, level slog.Level) bool {
	return level >= v.opts.Level.Level()
}

// Handle is for slog. It queues the record, or counts it as dropped if the
// queue is full; it never fails.
func (v *Viewer) Handle(ctx context.Context, r slog.Record) error {
	return (&handler{viewer: v}).Handle(ctx, r)
}

// WithAttrs is for slog.
func (v *Viewer) WithAttrs(attrs []slog.Attr) slog.Handler {
	return (&handler{viewer: v}).WithAttrs(attrs)
}

// WithGroup is for slog.
func (v *Viewer) WithGroup(name string) slog.Handler {
	return (&handler{viewer: v}).WithGroup(name)
}

// handler is a viewer with what a logger has bound.
type handler struct {
	viewer *Viewer
	bound  []attribute.KeyValue
	groups []string
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.viewer.Enabled(ctx, level)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return &handler{h.viewer, h.append(slices.Clip(h.bound), attrs), h.groups}
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{h.viewer, h.bound, append(slices.Clip(h.groups), name)}
}

// append appends attrs under the open groups.
func (h *handler) append(kvs []attribute.KeyValue, attrs []slog.Attr) []attribute.KeyValue {
	for i := len(h.groups) - 1; i >= 0; i-- {
		attrs = []slog.Attr{{Key: h.groups[i], Value: slog.GroupValue(attrs...)}}
	}
	return spanattr.Append(h.viewer.redactor(), kvs, attrs...)
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.viewer.join(ctx)
	c := cleaner(*h.viewer.redactors.Load())
	kvs := spanattr.AppendFields(h.viewer.redactor(), nil, obsctx.FieldsFrom(ctx))
	kvs = append(kvs, h.bound...)
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	kvs = c.attributes(latest(h.append(kvs, attrs)))
	sc := trace.SpanContextFromContext(ctx)
	none := names{fixed: true}
	blob, _ := none.attributes(make([]byte, 0, 256), kvs, maxBlob)
	h.viewer.intake.log(logRecord{
		time: nanos(r.Time), trace: sc.TraceID(), span: sc.SpanID(), level: int16(min(max(r.Level, -99), 99)), pc: r.PC,
		message: c.text(r.Message), attrs: string(blob),
	})
	return nil
}

// latest returns kvs with the last value of each key, as the other sinks have
// it, unless there are so many that looking takes too long.
func latest(kvs []attribute.KeyValue) []attribute.KeyValue {
	if len(kvs) > maxElements {
		return kvs
	}
	for i := len(kvs) - 1; i > 0; i-- {
		for j := range i {
			if kvs[j].Key == kvs[i].Key {
				kvs[j].Value = kvs[i].Value
				kvs = slices.Delete(kvs, i, i+1)
				break
			}
		}
	}
	return kvs
}

// source is where in the code the record was made: package/file.go:12.
func (r *logRecord) source() string {
	if r.pc == 0 {
		return ""
	}
	f, _ := runtime.CallersFrames([]uintptr{r.pc}).Next()
	if f.File == "" {
		return ""
	}
	file := f.File
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		if j := strings.LastIndexByte(file[:i], '/'); j >= 0 {
			file = file[j+1:]
		}
	}
	return file + ":" + strconv.Itoa(f.Line)
}

// values returns the attributes.
func (r *logRecord) values() []attribute.KeyValue {
	in := &blobReader{msgpack.NewReader([]byte(r.attrs)), nil}
	return in.attributes()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
