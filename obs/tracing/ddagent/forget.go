package ddagent

import "time"

// openCost is about what an open span costs here: its place in a map and its
// group. As many are waited for as would fill the queue's limit, 100,000 by
// default; a program with more has forgotten to end some.
const openCost = 160

// forget gives up the open spans of the shard's oldest groups, the oldest
// quarter of the time the shard spans, so that it need not be called for each
// new span. What has ended under them goes out. A forgotten span that ends
// after all makes a chunk of its own.
func (p *Processor) forget(sh *shard) {
	var due []chunk
	sh.mu.Lock()
	oldest, newest := sh.span()
	limit := oldest + (newest-oldest)/4
	for key, g := range sh.open {
		if g.touched > limit {
			continue
		}
		delete(sh.open, key)
		p.exporter.stats.open.Add(-1)
		p.exporter.stats.forgotten.Add(1)
		if g.open--; g.open > 0 {
			continue
		}
		sh.remove(g)
		if g.spans > 0 {
			due = append(due, g.cut(p.identity(g.res)))
		}
		p.recycle(g)
	}
	sh.mu.Unlock()
	for _, c := range due {
		p.exporter.enqueue(c, time.Now())
	}
}

// span returns when the shard's oldest and newest group were last begun in.
func (sh *shard) span() (oldest, newest int64) {
	for _, g := range sh.open {
		if oldest == 0 || g.touched < oldest {
			oldest = g.touched
		}
		newest = max(newest, g.touched)
	}
	return oldest, newest
}

// remembered notes that a span has ended that was not waited for: if some are
// forgotten it is one of them.
func (p *Processor) remembered() {
	f := &p.exporter.stats.forgotten
	for n := f.Load(); n > 0; n = f.Load() {
		if f.CompareAndSwap(n, n-1) {
			return
		}
	}
}
