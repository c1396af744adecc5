package emulator

import "github.com/kumihimo/kumihimo/internal/msgpack"

const (
	// maxPayloadSpans is about what fits into maxAgentBody, and maxElements
	// four times that. Without them 25 MB of empty arrays and maps would take
	// gigabytes.
	maxPayloadSpans = 250_000
	maxElements     = 1_000_000

	// maxNesting bounds arrays within arrays; the protocols have two levels.
	maxNesting = 16
)

// decoder reads what both protocols have in common.
type decoder struct {
	*msgpack.Reader
	spans    int // that may still come
	elements int // of arrays, that may still come
}

func newDecoder(body []byte) *decoder {
	return &decoder{Reader: msgpack.NewReader(body), spans: maxPayloadSpans, elements: maxElements}
}

// eachKey calls f for each key of a map; f reads the value.
func eachKey(r *decoder, f func(key string)) {
	if r.Nil() {
		return
	}
	for n := r.MapHeader(); n > 0 && r.Err() == nil; n-- {
		key := str(r)
		if r.Err() == nil {
			f(key)
		}
	}
}

// eachElement calls f for each element of an array; f reads it.
func eachElement(r *decoder, f func()) {
	for n := arrayHeader(r); n > 0 && r.element(); n-- {
		f()
	}
}

// element counts one more element, and reports whether to go on.
func (r *decoder) element() bool {
	if r.elements--; r.elements < 0 {
		r.Fail("too many elements")
	}
	return r.Err() == nil
}

// span is element for spans.
func (r *decoder) span() bool {
	if r.spans--; r.spans < 0 {
		r.Fail("too many spans")
	}
	return r.Err() == nil
}

func arrayHeader(r *decoder) int {
	if r.Nil() {
		return 0
	}
	return r.ArrayHeader()
}

func str(r *decoder) string {
	if r.Nil() {
		return ""
	}
	return r.Text()
}

func integer(r *decoder) int64 {
	if r.Nil() {
		return 0
	}
	return r.Int()
}

// id reads 64 bits, which Java's tracers have as a signed number.
func id(r *decoder) uint64 {
	switch r.Kind() {
	case msgpack.Nil:
		r.Nil()
		return 0
	case msgpack.Int:
		return uint64(r.Int())
	}
	return r.Uint()
}

// number reads a metric, which may be any number.
func number(r *decoder) float64 {
	switch r.Kind() {
	case msgpack.Nil:
		r.Nil()
		return 0
	case msgpack.Int:
		return float64(r.Int())
	case msgpack.Uint:
		return float64(r.Uint())
	}
	return r.Float()
}
