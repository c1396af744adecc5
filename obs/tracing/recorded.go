package tracing

import (
	"reflect"
	"slices"

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
	return recordedSampler{s, keepsNothing(s)}
}

// keepsNothing reports whether s is one of the SDK's that only looks at the
// attributes it is asked about.
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
	keepsNothing bool
}

func (s recordedSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	state := obsctx.TraceFrom(p.ParentContext)
	if state == nil || state.Remote || state.ID != p.TraceID {
		return s.Sampler.ShouldSample(p)
	}
	starting := state.Starting
	if starting != nil {
		if p.Attributes = starting; !s.keepsNothing {
			p.Attributes = slices.Clone(starting)
		}
	}
	r := s.Sampler.ShouldSample(p)
	if starting != nil {
		r.Attributes = append(starting, r.Attributes...) // copies: it has no room
	}
	if _, decided := state.Decision(); !decided {
		d := obsctx.Decision{Priority: ext.PriorityAutoReject, Mechanism: obsctx.MechanismDefault}
		if r.Decision == sdktrace.RecordAndSample {
			d.Priority = ext.PriorityAutoKeep
		}
		state.Init(d)
	}
	return r
}
