package ddpayload

import (
	"encoding/binary"

	"github.com/kumihimo/kumihimo/internal/msgpack"
)

// object is a v0.4 map in the order of writing, and list an array.
type (
	object []any // key, value, key, value
	list   []any
	raw    []byte // written as it is
)

// encodeV04 writes values as msgpack.
func encodeV04(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case raw:
		return append(b, v...)
	case object:
		b = msgpack.AppendMapHeader(b, len(v)/2)
		for _, el := range v {
			b = encodeV04(b, el)
		}
	case list:
		b = msgpack.AppendArrayHeader(b, len(v))
		for _, el := range v {
			b = encodeV04(b, el)
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

// value writes what encodeV04 writes, with v1.0's strings.
func (e *encoderV1) value(v any) {
	switch v := v.(type) {
	case object:
		e.b = msgpack.AppendMapHeader(e.b, len(v)/2)
		for _, el := range v {
			e.value(el)
		}
	case list:
		e.b = msgpack.AppendArrayHeader(e.b, len(v))
		for _, el := range v {
			e.value(el)
		}
	case string:
		e.str(v)
	default:
		e.b = encodeV04(e.b, v)
	}
}

func encodeV1(v any) []byte {
	e := newEncoderV1()
	e.value(v)
	return e.b
}

func id16(high, low uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, high), low)
}
