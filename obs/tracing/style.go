package tracing

import (
	"fmt"
	"slices"
	"strings"
)

// A style is one way to write a trace into headers.
type style uint8

const (
	datadog style = iota
	traceContext
	baggageStyle
	b3Multi
	b3Single
	none
)

// String returns the name by which the style is configured.
func (s style) String() string {
	return [...]string{"datadog", "tracecontext", "baggage", "b3multi", "b3 single header", "none"}[s]
}

// linkName is what Datadog's tracers call the style in span links.
func (s style) linkName() string {
	if s == b3Single {
		return "b3"
	}
	return s.String()
}

func parseStyle(name string) (style, bool) {
	name = strings.ToLower(name)
	if name == "b3" { // OTEL_PROPAGATORS has it so
		return b3Single, true
	}
	for s := datadog; s <= none; s++ {
		if name == s.String() {
			return s, true
		}
	}
	return none, false
}

// ParseStyles reads a comma-separated list of propagation styles as
// DD_TRACE_PROPAGATION_STYLE and OTEL_PROPAGATORS have it, for
// [PropagatorOptions]: datadog, tracecontext, baggage, b3multi, "b3 single
// header" (or b3) and none. The names it returns are lower case and each there
// once; of an empty list it returns nil, which means the default.
func ParseStyles(s string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		st, ok := parseStyle(name)
		if !ok {
			return nil, fmt.Errorf("tracing: unknown propagation style %q: want datadog, tracecontext, baggage, b3multi, b3 single header or none", name)
		}
		if !slices.Contains(names, st.String()) {
			names = append(names, st.String())
		}
	}
	if len(names) > 1 { // none says nothing beside others
		names = slices.DeleteFunc(names, func(n string) bool { return n == none.String() })
	}
	return names, nil
}
