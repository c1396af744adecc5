package ddagent

import (
	"encoding/binary"
	"math"
)

// What tells the agent to keep a single span of a trace that is not kept.
const (
	prefixSpanSampling = "_dd.span_sampling."
	keySpanMechanism   = prefixSpanSampling + "mechanism"
	keySpanRate        = prefixSpanSampling + "rule_rate"
	keySpanMax         = prefixSpanSampling + "max_per_second"

	mechanismSingleSpan = 8
)

// marks appends that a rule has chosen the span. They are in its record before
// it is known whether they hold; see [group.mark].
func (e *encoder) marks(b []byte) []byte {
	b = appendKey(append(b, kindInt), e.lookup(keySpanMechanism))
	b = binary.LittleEndian.AppendUint64(b, mechanismSingleSpan)
	b = e.mark(b, keySpanRate, e.single.Rate)
	if e.single.Max > 0 {
		b = e.mark(b, keySpanMax, e.single.Max)
	}
	return b
}

func (e *encoder) mark(b []byte, key string, value float64) []byte {
	b = appendKey(append(b, kindFloat), e.lookup(key))
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(value))
}

// chosen is a record in a group's buf that a rule for single spans has chosen.
type chosen struct {
	at    int         // where it begins
	allow func() bool // asks the rule's limit; nil if it has none
}

// mark asks the rules' limits for the spans of a trace that is not kept, and
// reports whether one of them is to be. A trace that is kept takes nothing from
// the limits.
func (g *group) mark() (some bool) {
	for _, s := range g.chosen {
		if s.allow == nil || s.allow() {
			some = true
		} else {
			g.buf[s.at+flagsAt] |= flagRefused
		}
	}
	return some
}
