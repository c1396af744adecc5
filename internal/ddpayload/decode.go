// Package ddpayload decodes what Datadog's tracers send to an agent, in all
// versions of its trace protocol, into spans of one form. A payload is taken
// whole or refused whole, and nothing it says is taken on trust.
//
// Read span.go for the form, decode.go for what the versions have in common.
package ddpayload

import (
	"fmt"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// The versions, as they stand in an endpoint's path: /v0.4/traces.
const (
	V03 = "v0.3"
	V04 = "v0.4"
	V05 = "v0.5"
	V07 = "v0.7"
	V10 = "v1.0"
)

// MaxBody is the agent's max_request_bytes, for which the limits below are
// made.
const MaxBody = 25 << 20

// Decode decodes a body of the given version. The spans share nothing with it.
func Decode(version string, body []byte) ([]Span, error) {
	r := newDecoder(body)
	switch version {
	case V03, V04:
		return tracesV04(r, version)
	case V05:
		return tracesV05(r)
	case V07:
		return payloadV07(r)
	case V10:
		return tracesV1(r)
	}
	return nil, fmt.Errorf("unknown version %q of the trace protocol", version)
}

const (
	// maxPayloadSpans is about what fits into MaxBody, and maxElements
	// four times that. Without them 25 MB of empty arrays and maps would take
	// gigabytes.
	maxPayloadSpans = 250_000
	maxElements     = 1_000_000

	// maxNesting bounds arrays within arrays; the protocols have two levels.
	maxNesting = 16
)

// decoder reads what the versions have in common.
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
