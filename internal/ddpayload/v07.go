package ddpayload

import "maps"

// payloadV07 decodes the body of /v0.7/traces: one map whose chunks hold spans
// of v0.4 and say for all of them what those say one by one.
// https://github.com/DataDog/datadog-agent/blob/main/pkg/proto/datadog/trace/tracer_payload.proto
func payloadV07(r *decoder) (spans []Span, err error) {
	var env, version string
	var tags map[string]string
	eachKey(r, func(key string) {
		switch key {
		case "env":
			env = str(r)
		case "app_version":
			version = str(r)
		case "tags":
			tags = tagsV07(r)
		case "chunks":
			eachElement(r, func() { spans = chunkV07(r, spans) })
		default:
			r.Skip()
		}
	})
	if r.More() {
		r.Fail("more after the payload")
	}
	for i := range spans {
		spans[i].setMissing(tags)
		spans[i].setMissing(map[string]string{keyEnv: env, keyVersion: version})
		spans[i].fromMeta()
	}
	return spans, r.Err()
}

func tagsV07(r *decoder) map[string]string {
	tags := make(map[string]string)
	eachKey(r, func(key string) { tags[key] = str(r) })
	return tags
}

func chunkV07(r *decoder, spans []Span) []Span {
	first := len(spans)
	priority, origin := int64(NoPriority), ""
	var tags map[string]string
	eachKey(r, func(key string) {
		switch key {
		case "priority":
			priority = integer(r)
		case "origin":
			origin = str(r)
		case "tags":
			tags = tagsV07(r)
		case "spans":
			spans = chunkV04(r, spans, V07)
		default:
			r.Skip()
		}
	})
	high, more := tags[keyTraceHigh]
	tags = maps.Clone(tags)
	delete(tags, keyTraceHigh)
	for i := range spans[first:] {
		s := &spans[first+i]
		if more && s.Meta[keyTraceHigh] == "" && len(s.TraceID) == 32 {
			s.TraceID = traceID(high, lowOf(s.TraceID))
		}
		if priority != NoPriority {
			s.Priority = clampPriority(float64(priority))
		}
		if origin != "" {
			s.Origin = origin
			s.setMeta(keyOrigin, origin)
		}
		s.setMissing(tags)
	}
	return spans
}
