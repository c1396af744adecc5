// Package payloadtest writes payloads of Datadog's trace protocol from Go
// values, for tests of what reads them. It does so after the agent's description
// of the protocol, and shares nothing with our own encoders but MessagePack.
package payloadtest

import (
	"encoding/binary"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

type (
	// Object is a map in the order of writing: key, value, key, value.
	Object []any

	// List is an array.
	List []any

	// Raw is written as it is.
	Raw []byte
)

// AppendV04 appends v as MessagePack. Besides the types of this package it takes
// nil, string, []byte, int, uint64, float64 and bool, and panics at others.
func AppendV04(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case Raw:
		return append(b, v...)
	case Object:
		b = msgpack.AppendMapHeader(b, len(v)/2)
		for _, el := range v {
			b = AppendV04(b, el)
		}
	case List:
		b = msgpack.AppendArrayHeader(b, len(v))
		for _, el := range v {
			b = AppendV04(b, el)
		}
	case string:
		return msgpack.AppendString(b, v)
	case []byte:
		return msgpack.AppendBytes(b, v)
	case int:
		return msgpack.AppendInt(b, int64(v))
	case uint64:
		return msgpack.AppendUint(b, v)
	case float64:
		return msgpack.AppendFloat64(b, v)
	case bool:
		return msgpack.AppendBool(b, v)
	default:
		panic("unknown type")
	}
	return b
}

// encoderV1 writes v1.0, after the agent's description of it and not after
// the decoder: strings in full once, then by number.
type encoderV1 struct {
	b       []byte
	strings map[string]uint64
}

func newEncoderV1() *encoderV1 { return &encoderV1{strings: map[string]uint64{"": 0}} }

func (e *encoderV1) str(s string) {
	if i, ok := e.strings[s]; ok {
		e.b = msgpack.AppendUint(e.b, i)
		return
	}
	e.strings[s] = uint64(len(e.strings))
	e.b = msgpack.AppendString(e.b, s)
}

// value writes what AppendV04 writes, with v1.0's strings.
func (e *encoderV1) value(v any) {
	switch v := v.(type) {
	case Object:
		e.b = msgpack.AppendMapHeader(e.b, len(v)/2)
		for _, el := range v {
			e.value(el)
		}
	case List:
		e.b = msgpack.AppendArrayHeader(e.b, len(v))
		for _, el := range v {
			e.value(el)
		}
	case string:
		e.str(v)
	default:
		e.b = AppendV04(e.b, v)
	}
}

// V1 writes v as v1.0 does: a string in full once, then by number.
func V1(v any) []byte {
	e := newEncoderV1()
	e.value(v)
	return e.b
}

// ID16 is a trace id as v1.0 has it.
func ID16(high, low uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, high), low)
}
