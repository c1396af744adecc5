package ddagent

import (
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// maxPooled is the largest buffer kept for reuse.
const maxPooled = 64 << 10

// maxPooledChosen is the same for the list of single spans.
const maxPooledChosen = 1 << 10

// group is the spans of one local root that are open, or ended and not yet
// queued. The lock of its shard guards it.
type group struct {
	trace   trace.TraceID
	state   *obsctx.Trace // nil if the context had none
	res     *resource.Resource
	sampled bool // the trace flag, which decides where state does not
	next    *group

	open     int
	touched  int64  // how many spans had begun when the group's youngest did
	buf      []byte // records of ended spans
	spans    int    // in buf
	root     int    // where the local root's record begins in buf, or -1
	override bool   // a span in buf has a service of its own
	failed   bool   // a span in buf has failed
	chosen   []chosen
	first    time.Time
}

func (p *Processor) newGroup(id trace.TraceID, state *obsctx.Trace, res *resource.Resource) *group {
	g, ok := p.groups.Get().(*group)
	if !ok {
		g = &group{}
	}
	*g = group{trace: id, state: state, res: res, root: -1, buf: g.buf[:0], chosen: g.chosen[:0]}
	return g
}

func (p *Processor) recycle(g *group) {
	if cap(g.buf) > maxPooled {
		g.buf = nil
	}
	if cap(g.chosen) > maxPooledChosen {
		g.chosen = nil
	}
	g.state, g.res, g.next = nil, nil, nil
	p.groups.Put(g)
}

// append adds the record that e has last encoded.
func (g *group) append(e *encoder, now time.Time) {
	record := e.buf
	if e.chosen {
		g.chosen = append(g.chosen, chosen{len(g.buf), e.single.Allow})
	}
	if g.spans == 0 {
		g.first = now
	}
	if record[flagsAt]&flagRoot != 0 {
		g.root = len(g.buf)
	}
	g.override = g.override || record[flagsAt]&flagOverride != 0
	g.failed = g.failed || record[flagsAt]&flagError != 0
	g.buf = append(g.buf, record...)
	g.spans++
}

// decide follows a manual.keep or manual.drop attribute, which may come as
// late as a span's end.
func (g *group) decide(verdict treatment) {
	if g.state == nil {
		return
	}
	switch verdict {
	case keepTrace:
		g.state.Decide(obsctx.Decision{Priority: ext.PriorityUserKeep, Mechanism: obsctx.MechanismManual})
	case dropTrace:
		g.state.Decide(obsctx.Decision{Priority: ext.PriorityUserReject, Mechanism: obsctx.MechanismManual})
	}
}

// cut takes the ended spans out of g as a chunk.
func (g *group) cut(id *identity) chunk {
	c := chunk{
		spans: g.spans, root: g.root, override: g.override, failed: g.failed,
		id: id, trace: g.trace, facts: g.facts(),
	}
	if c.facts.decision.Priority <= 0 {
		c.single = g.mark()
	}
	c.records = string(g.buf) // the one copy, of the exact size
	g.buf, g.spans, g.root, g.override, g.failed = g.buf[:0], 0, -1, false, false
	g.chosen = g.chosen[:0]
	return c
}

func (g *group) facts() (f chunkFacts) {
	f.decision = obsctx.Decision{Priority: ext.PriorityAutoReject, Mechanism: obsctx.MechanismUnknown}
	if g.sampled {
		f.decision.Priority = ext.PriorityAutoKeep
	}
	if g.state == nil {
		return f
	}
	if d, ok := g.state.Settle(); ok {
		f.decision = d
	}
	f.origin, f.tags, f.lastParent = g.state.Origin, f.decision.TagsWith(g.state.Tags), g.state.LastParent
	f.problem = g.state.PropagationError()
	return f
}
