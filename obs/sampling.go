package obs

import (
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/obs/tracing"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// sampling resolves what is kept. OpenTelemetry's variable counts where
// nothing of Datadog's is set.
func (s *settings) sampling(r *reader, opts Options) {
	if opts.Sampler != nil {
		r.note("sampling", opts.Sampler.Description(), fromOption)
		return
	}
	s.sampler = tracing.SamplerOptions{Service: s.service, Env: s.env, Names: ddagent.SpanNames}
	before := len(r.report)
	s.sampler.Rules = r.rules(opts.SamplingRules, "SamplingRules", "DD_TRACE_SAMPLING_RULES", "sampling.rules")
	s.sampler.SpanRules = r.rules(opts.SpanSamplingRules, "SpanSamplingRules", "DD_SPAN_SAMPLING_RULES", "sampling.span.rules")
	s.sampler.RateLimit = r.number(opts.RateLimit, "RateLimit", "DD_TRACE_RATE_LIMIT", "sampling.limit", math.Inf(1))
	s.sampler.Rate = r.number(opts.SampleRate, "SampleRate", "DD_TRACE_SAMPLE_RATE", "sample.rate", 1)
	if len(r.report) == before {
		s.otelSampler(r)
	}
}

func (s *settings) otelSampler(r *reader) {
	v, source := r.variable("OTEL_TRACES_SAMPLER")
	if source == "" {
		r.note("sampling", "what the agent wants, else all", fromDefault)
		return
	}
	switch strings.TrimPrefix(v, "parentbased_") {
	case "always_on":
		s.sampler.Rate = r.rate(source, "1")
	case "always_off":
		s.sampler.Rate = r.rate(source, "0")
	case "traceidratio":
		arg, argSource := r.variable("OTEL_TRACES_SAMPLER_ARG")
		if argSource == "" {
			arg, argSource = "1", source
		}
		s.sampler.Rate = r.rate(argSource, arg)
		v += " " + arg
	default:
		r.fail(source, v, "always_on, always_off, traceidratio, or one of these after parentbased_")
	}
	r.note("sampling", v, source)
}

// rules reads sampling rules. The start-up line has their number: they may be
// long.
func (r *reader) rules(option []tracing.SamplingRule, optionName, variable, note string) []tracing.SamplingRule {
	if option != nil {
		for i, rule := range option {
			field := "Options." + optionName + "[" + strconv.Itoa(i) + "]."
			r.check(field+"Rate", rule.Rate, 1)
			r.check(field+"MaxPerSecond", rule.MaxPerSecond, math.Inf(1))
		}
		r.note(note, strconv.Itoa(len(option)), fromOption)
		return option
	}
	v, source := r.variable(variable)
	if source == "" {
		return nil
	}
	rules, err := tracing.ParseSamplingRules(v)
	if err != nil {
		r.errs = append(r.errs, &settingError{source, err})
	}
	r.note(note, strconv.Itoa(len(rules)), source)
	return rules
}

// number reads a number from 0 to a highest one; nil is unset.
func (r *reader) number(option *float64, optionName, variable, note string, highest float64) *float64 {
	if option != nil {
		v := *option
		r.check("Options."+optionName, v, highest)
		r.note(note, strconv.FormatFloat(v, 'g', -1, 64), fromOption)
		return &v
	}
	text, source := r.variable(variable)
	if source == "" {
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		v = math.NaN()
	}
	if !within(v, highest) {
		r.fail(source, text, wanted(highest))
	}
	r.note(note, text, source)
	return &v
}

func (r *reader) check(field string, v, highest float64) {
	if !within(v, highest) {
		r.fail(field, strconv.FormatFloat(v, 'g', -1, 64), wanted(highest))
	}
}

// within reports whether v is from 0 to highest; NaN is not.
func within(v, highest float64) bool { return v >= 0 && v <= highest }

func wanted(highest float64) string {
	if math.IsInf(highest, 1) {
		return "a number from 0"
	}
	return "a number from 0 to " + strconv.FormatFloat(highest, 'g', -1, 64)
}

// propagation resolves how traces come and leave.
func (s *settings) propagation(r *reader, opts Options) {
	word, source := r.oneOf(opts.FrontEnd, "FrontEnd", "", "auto", "google", "none")
	s.frontEnd = word == "google" || word == "auto" && s.platform.hasFrontEnd()
	if source != fromDefault {
		r.note("front.end", word, source)
	}
	if opts.Propagators != nil {
		r.note("propagation", strings.Join(opts.Propagators.Fields(), ","), fromOption)
		return
	}
	styles := func(direction string) []string {
		v, source := r.variable("DD_TRACE_PROPAGATION_STYLE_"+direction, "DD_TRACE_PROPAGATION_STYLE", "OTEL_PROPAGATORS")
		if source == "" {
			r.note("propagation."+strings.ToLower(direction), "datadog,tracecontext,baggage", fromDefault)
			return nil
		}
		if source != "OTEL_PROPAGATORS" {
			v = datadogB3(v)
		}
		list, err := tracing.ParseStyles(v)
		if err != nil {
			r.addOnce(&settingError{source, err})
		}
		r.note("propagation."+strings.ToLower(direction), strings.Join(list, ","), source)
		return list
	}
	p := &s.propagator
	p.Extract, p.Inject = styles("EXTRACT"), styles("INJECT")
	if p.ExtractFirst, source = r.boolean(false, "DD_TRACE_PROPAGATION_EXTRACT_FIRST"); source != "" {
		r.note("propagation.extract.first", strconv.FormatBool(p.ExtractFirst), source)
	}
	if p.Behavior, source = r.oneOf("", "", "DD_TRACE_PROPAGATION_BEHAVIOR_EXTRACT", "continue", "restart", "ignore"); source != fromDefault {
		r.note("propagation.extract.behavior", p.Behavior, source)
	}
}

// datadogB3 returns styles with b3 in the sense of Datadog's variables, where
// it is several headers; in OpenTelemetry's it is the single one.
func datadogB3(styles string) string {
	names := strings.Split(styles, ",")
	for i, name := range names {
		if strings.EqualFold(strings.TrimSpace(name), "b3") {
			names[i] = "b3multi"
		}
	}
	return strings.Join(names, ",")
}

// ingress is the propagator for requests from outside.
func (s *settings) ingress(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if s.frontEnd {
		return tracing.NewIngress(p)
	}
	return p
}
