package tracing

import (
	"reflect"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// recorded returns s such that what it decides is written into a trace's
// state.
func recorded(s sdktrace.Sampler) sdktrace.Sampler {
	if own, ok := s.(*sampler); ok {
		return own
	}
	return recordedSampler{s}
}

// keepsNothing reports whether s is one of the SDK's that do not mind what
// attributes a span has.
func keepsNothing(s sdktrace.Sampler) bool {
	switch reflect.TypeOf(s) {
	case reflect.TypeOf(sdktrace.AlwaysSample()), reflect.TypeOf(sdktrace.NeverSample()),
		reflect.TypeOf(sdktrace.TraceIDRatioBased(0.5)):
		return true
	}
	return false
}

type recordedSampler struct {
	sdktrace.Sampler
}

func (s recordedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	state := obsctx.TraceFrom(p.ParentContext)
	if state == nil || state.Remote || state.ID != p.TraceID {
		return s.Sampler.ShouldSample(p)
	}
	r := s.Sampler.ShouldSample(p)
	if _, decided := state.Decision(); !decided {
		d := obsctx.Decision{Priority: ext.PriorityAutoReject, Mechanism: obsctx.MechanismDefault}
		if r.Decision == sdktrace.RecordAndSample {
			d.Priority = ext.PriorityAutoKeep
		}
		state.Init(d)
	}
	return r
}
