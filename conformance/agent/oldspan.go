package agent

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	pb "github.com/DataDog/datadog-agent/pkg/proto/pbgo/trace"
)

// appendOldSpans reads the form without a string table, in which every attribute
// is in Meta or Metrics; what has a place of its own in Span is moved there.
func appendOldSpans(spans []Span, tp *pb.TracerPayload) []Span {
	for _, c := range tp.Chunks {
		for _, s := range c.Spans {
			sp := Span{
				SpanID: s.SpanID, ParentID: s.ParentID,
				Service: s.Service, Name: s.Name, Resource: s.Resource, Type: s.Type,
				Start: time.Unix(0, s.Start).UTC(), Duration: time.Duration(s.Duration), Error: s.Error != 0,
				Meta: make(map[string]string), Metrics: make(map[string]float64),
				Priority: c.Priority, Origin: c.Origin, Language: tp.LanguageName,
			}
			maps.Copy(sp.Meta, s.Meta)
			maps.Copy(sp.Metrics, s.Metrics)
			sp.TraceID = cmp.Or(sp.Meta["otel.trace_id"], fmt.Sprintf("%s%016x", cmp.Or(sp.Meta["_dd.p.tid"], "0000000000000000"), s.TraceID))
			sp.Env = cmp.Or(sp.Meta["env"], tp.Env)
			sp.Version = cmp.Or(sp.Meta["version"], tp.AppVersion)
			sp.Component, sp.Kind = sp.Meta["component"], sp.Meta["span.kind"]
			for _, key := range []string{"_dd.p.tid", "env", "version", "component", "span.kind"} {
				delete(sp.Meta, key)
			}
			spans = append(spans, sp)
		}
	}
	return spans
}
