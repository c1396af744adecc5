package ddpayload

import (
	"fmt"
	"time"
)

// tracesV05 decodes the body of /v0.5/traces: the strings, and traces of spans
// that are arrays of numbers of them.
// https://github.com/DataDog/datadog-agent/blob/main/pkg/proto/pbgo/trace/decoder_v05.go
func tracesV05(d *decoder) (spans []Span, err error) {
	if n := d.ArrayHeader(); d.Err() == nil && n != 2 {
		d.Fail("want the strings and the traces before this")
	}
	r := &readerV05{decoder: d}
	for n := d.ArrayHeader(); n > 0 && d.element(); n-- {
		r.strings = append(r.strings, d.Text())
	}
	for n := arrayHeader(d); n > 0 && d.element(); n-- {
		first := len(spans)
		var low uint64
		for m := arrayHeader(d); m > 0 && d.span(); m-- {
			spans = append(spans, Span{Protocol: V05})
			low = r.spanV05(&spans[len(spans)-1])
		}
		joinChunk(spans[first:], low)
	}
	if d.More() {
		d.Fail("more after the traces")
	}
	return spans, d.Err()
}

type readerV05 struct {
	*decoder
	strings []string
}

// fieldsV05 is the number of fields of a span, none of which may lack.
const fieldsV05 = 12

// spanV05 returns the low half of the trace id.
func (r *readerV05) spanV05(s *Span) (low uint64) {
	if n := r.ArrayHeader(); r.Err() == nil && n != fieldsV05 {
		r.Fail(fmt.Sprintf("a span of %d fields before this, want %d", n, fieldsV05))
	}
	s.Service, s.Name, s.Resource = r.str(), r.str(), r.str()
	low, s.SpanID, s.ParentID = id(r.decoder), id(r.decoder), id(r.decoder)
	s.Start = time.Unix(0, r.Int()).UTC()
	s.Duration = time.Duration(r.Int())
	s.Error = r.Int() != 0
	for n := r.MapHeader(); n > 0 && r.Err() == nil; n-- {
		key := r.str()
		s.setMeta(key, r.str())
	}
	for n := r.MapHeader(); n > 0 && r.Err() == nil; n-- {
		key := r.str()
		s.setMetric(key, number(r.decoder))
	}
	s.Type = r.str()
	s.fromMeta()
	return low
}

func (r *readerV05) str() string {
	i := r.Uint()
	if r.Err() == nil && i >= uint64(len(r.strings)) {
		r.Fail(fmt.Sprintf("string %d of %d before this", i, len(r.strings)))
	}
	if r.Err() != nil {
		return ""
	}
	return r.strings[i]
}
