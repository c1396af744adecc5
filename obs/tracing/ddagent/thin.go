package ddagent

import (
	"encoding/binary"
	"math/bits"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// thinner lets pass traces that Datadog will not keep. They reach the agent
// for its statistics and its error sampler, for which above a rate 1 of N is
// enough, with _sample_rate 1/N: the agent counts each N times. Traces with
// an error have a rate of their own, or a flood of the others would thin them
// out. Those with a single span to keep all go out, and count for themselves.
type thinner struct {
	limit  int // traces a second that all pass; negative: no limit
	second time.Time
	counts [2]int // in the second under way: without and with an error
	before [2]int // in the one before
}

// pass says whether chunk c goes out, and at what rate. N is a power of two
// that follows from how many there were and not from the trace, so whatever it
// is the estimate is right; a trace that passes at one N passes at the smaller
// ones.
func (t *thinner) pass(c *chunk, now time.Time) (rate float64, ok bool) {
	if t.limit < 0 || c.single {
		return 1, true
	}
	if gap := now.Sub(t.second); gap >= time.Second || gap < 0 {
		t.before = t.counts
		if gap >= 2*time.Second || gap < 0 {
			t.before = [2]int{}
		}
		t.counts, t.second = [2]int{}, now
	}
	kind := 0
	if c.failed {
		kind = 1
	}
	t.counts[kind]++
	busy := max(t.counts[kind], t.before[kind])
	if busy <= t.limit {
		return 1, true
	}
	shift := bits.Len(uint((busy - 1) / t.limit)) // N = 2^shift ≥ busy/limit
	return 1 / float64(uint64(1)<<shift), scatter(c.trace)>>(64-shift) == 0
}

// scatter turns a trace id into a number, all equally likely, that has nothing to do with the
// sampler's, which has multiplied the same bits (the finalizer of MurmurHash3).
func scatter(id trace.TraceID) uint64 {
	h := binary.BigEndian.Uint64(id[8:])
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
