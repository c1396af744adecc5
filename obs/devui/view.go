package devui

import (
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// update is what a page is told: all it wants, or what has changed since.
type update struct {
	Traces []traceRow `json:"traces,omitempty"`
	Logs   []logDoc   `json:"logs,omitempty"`
	Oldest uint64     `json:"oldest"` // traces below it have given way
	Stats  statsDoc   `json:"stats"`
	Facets *facets    `json:"facets,omitempty"`

	upTo uint64
}

// facets are what the page offers to filter by.
type facets struct {
	Services []string `json:"services"`
	Routes   []string `json:"routes"`
}

const maxFacets = 200

// since returns what has changed after the given count, 0 for all.
func (st *store) since(count uint64, f filter, traces, logs bool) update {
	st.mu.Lock()
	u := update{upTo: st.changes}
	if st.ring.len() > 0 {
		u.Oldest = (*st.ring.front()).number
	}
	var rows []*traceEntry
	if traces {
		found := st.search(&f)
		for t := st.newest; t != nil && t.changed > count; t = t.older {
			if f.wants(t, found) {
				rows = append(rows, t)
			}
		}
		for _, t := range rows {
			u.Traces = append(u.Traces, t.row())
		}
	}
	var records []logRecord
	if logs {
		for all := st.logs.all(); len(all) > 0 && all[len(all)-1].seq > count && len(records) < maxTail; all = all[:len(all)-1] {
			if r := &all[len(all)-1]; f.wantsLog(r) {
				records = append(records, *r)
			}
		}
	}
	st.mu.Unlock()
	slices.Reverse(records)
	for i := range records {
		u.Logs = append(u.Logs, records[i].doc())
	}
	return u
}

// maxTail is how many records a page gets at once.
const maxTail = 5000

// search finds for each term the traces with a record that has it.
func (st *store) search(f *filter) map[string]map[trace.TraceID]bool {
	if len(f.terms) == 0 {
		return nil
	}
	found := make(map[string]map[trace.TraceID]bool, len(f.terms))
	for _, term := range f.terms {
		ids := make(map[trace.TraceID]bool)
		all := st.logs.all()
		for i := range all {
			if r := &all[i]; r.trace.IsValid() && r.contains(term) {
				ids[r.trace] = true
			}
		}
		found[term] = ids
	}
	return found
}

func (st *store) facets() *facets {
	st.mu.Lock()
	defer st.mu.Unlock()
	services, routes := make(map[string]bool), make(map[string]bool)
	for _, t := range st.ring.all() {
		for _, s := range t.services {
			if len(services) < maxFacets {
				services[s] = true
			}
		}
		if t.top.route != "" && len(routes) < maxFacets {
			routes[t.top.route] = true
		}
	}
	// Empty ones too are lists: null is none.
	return &facets{append([]string{}, sortedKeys(services)...), append([]string{}, sortedKeys(routes)...)}
}
