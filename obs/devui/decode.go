package devui

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// blobReader reads what names.encode wrote. Names are those of the time of
// writing or later.
type blobReader struct {
	*msgpack.Reader
	names []string
}

// decode reads a blob. All that it returns is its own.
func decode(blob string, names []string) (span, error) {
	var s span
	r := &blobReader{msgpack.NewReader([]byte(blob)), names}
	s.start, s.duration = r.Int(), r.Int()
	copy(s.id[:], r.Bytes())
	copy(s.parent[:], r.Bytes())
	s.kind = trace.SpanKind(r.Uint())
	s.failed, s.okay, s.remote = r.Bool(), r.Bool(), r.Bool()
	for _, field := range []*string{&s.service, &s.name, &s.resource, &s.typ, &s.scope, &s.version, &s.origin} {
		*field = r.name()
	}
	s.message, s.state = r.Text(), r.Text()
	s.process = int(r.Uint())
	s.attrs = r.attributes()
	for n := r.ArrayHeader(); n > 0 && r.Err() == nil; n-- {
		s.events = append(s.events, event{at: r.Int(), name: r.name(), attrs: r.attributes()})
	}
	for n := r.ArrayHeader(); n > 0 && r.Err() == nil; n-- {
		var l link
		copy(l.trace[:], r.Bytes())
		copy(l.span[:], r.Bytes())
		l.state, l.attrs = r.Text(), r.attributes()
		s.links = append(s.links, l)
	}
	s.left = int(r.Uint())
	return s, r.Err()
}

func (r *blobReader) name() string {
	if r.Kind() != msgpack.Uint {
		return r.Text()
	}
	i := r.Uint()
	if i >= uint64(len(r.names)) {
		r.Fail("a name that there is not")
		return ""
	}
	return r.names[i]
}

func (r *blobReader) attributes() []attribute.KeyValue {
	n := r.ArrayHeader()
	attrs := make([]attribute.KeyValue, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		key := r.name()
		attrs = append(attrs, attribute.KeyValue{Key: attribute.Key(key), Value: r.value()})
	}
	return attrs
}

func (r *blobReader) value() attribute.Value {
	switch r.Kind() {
	case msgpack.Bool:
		return attribute.BoolValue(r.Bool())
	case msgpack.Uint, msgpack.Int:
		return attribute.Int64Value(r.Int())
	case msgpack.Float:
		return attribute.Float64Value(r.Float())
	case msgpack.Array:
		return r.slice()
	}
	return attribute.StringValue(r.Text())
}

func (r *blobReader) slice() attribute.Value {
	n := r.ArrayHeader()
	switch r.Kind() {
	case msgpack.Bool:
		return attribute.BoolSliceValue(elements(r, n, r.Bool))
	case msgpack.Uint, msgpack.Int:
		return attribute.Int64SliceValue(elements(r, n, r.Int))
	case msgpack.Float:
		return attribute.Float64SliceValue(elements(r, n, r.Float))
	}
	return attribute.StringSliceValue(elements(r, n, r.Text))
}

func elements[T any](r *blobReader, n int, f func() T) []T {
	list := make([]T, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		list = append(list, f())
	}
	return list
}
