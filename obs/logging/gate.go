package logging

import "log/slog"

// loggerKey is the attribute by whose value, rather than by the package of its
// callers, a bound logger is filtered.
const loggerKey = "logger"

// gate decides whether a record is written.
type gate struct {
	filter *Filter // nil: level decides
	level  slog.Leveler
	logger string
	named  ruleLevel // of logger, under the rules in force when it was bound
}

func newGate(o Options) gate { return gate{filter: o.Filter, level: o.Level} }

// bind returns the gate of a logger to which attrs are bound at the root.
func (g gate) bind(attrs []slog.Attr) gate {
	for _, a := range attrs {
		if a.Key == loggerKey && a.Value.Kind() == slog.KindString {
			g.logger = a.Value.String()
		}
	}
	if g.filter != nil && g.logger != "" {
		r := g.filter.load()
		g.named = ruleLevel{r, r.of(g.logger, false)}
	}
	return g
}

// enabled reports whether some record of level may be written: who calls is
// not known here, so the lowest level of all rules counts, save for a logger
// with a name.
func (g *gate) enabled(level slog.Level) bool {
	if g.filter == nil {
		return level >= g.level.Level()
	}
	r := g.filter.load()
	switch {
	case g.logger == "":
		return level >= r.min
	case g.named.rules == r:
		return level >= g.named.level
	}
	return level >= r.of(g.logger, false)
}

// withheld reports whether the rules for the package at pc forbid what enabled
// let through.
func (g *gate) withheld(sites *callSites, level slog.Level, pc uintptr) bool {
	if g.filter == nil || g.logger != "" {
		return false
	}
	r := g.filter.load()
	return len(r.list) > 0 && level < sites.level(pc, r)
}
