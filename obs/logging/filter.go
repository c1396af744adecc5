package logging

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// levelOff is above every level a record has.
const levelOff = slog.Level(math.MaxInt)

// A Filter says which records are written, by the package of the code that
// logs. It is safe for concurrent use. The zero Filter, and a nil one, is that
// of "info".
type Filter struct {
	rules atomic.Pointer[rules] // nil: infoRules
}

// rules are a parsed filter, immutable.
type rules struct {
	level slog.Level // where no target matches
	list  []rule     // longest target first
	min   slog.Level // the lowest of all
	text  string
}

type rule struct {
	target string
	level  slog.Level
}

var infoRules = rules{level: slog.LevelInfo, min: slog.LevelInfo, text: "info"}

// ParseFilter returns a Filter of directives, joined by commas:
//
//	info,github.com/acme/shop/db=debug,net/http=off
//
// A level alone holds where no other directive does; without one, that is
// info. A directive target=level holds for the packages at and below that
// import path; the longest target wins. "main" is the program's main package.
// A logger with the attribute "logger", bound at the root by Logger.With, goes
// by that name instead of the package.
//
// The levels are debug, info, notice, warn, error, critical, alert, emergency,
// and off; debug-4 and the like lie between or below.
func ParseFilter(directives string) (*Filter, error) {
	f := &Filter{}
	if err := f.Set(directives); err != nil {
		return nil, err
	}
	return f, nil
}

// Set replaces f's directives by those that ParseFilter would read, for all
// handlers that have f, from their next record on. If it returns an error, f is
// as before.
func (f *Filter) Set(directives string) error {
	r := &rules{level: slog.LevelInfo}
	first := ""
	for i, d := range strings.Split(directives, ",") {
		d = strings.TrimSpace(d)
		if d == "" {
			continue
		}
		if err := r.parse(d, &first); err != nil {
			return fmt.Errorf("logging: filter directive %d, %q: %w", i+1, d, err)
		}
	}
	r.finish()
	f.rules.Store(r)
	return nil
}

// parse adds one directive. first is the one that set the level of all, if
// there was one.
func (r *rules) parse(directive string, first *string) error {
	target, name, ok := cutLast(directive, '=')
	if !ok {
		level, err := parseLevel(directive)
		switch {
		case err != nil:
			return fmt.Errorf("%w; or package=level", err)
		case *first != "":
			return fmt.Errorf("there is a level for all already, %q", *first)
		}
		*first, r.level = directive, level
		return nil
	}
	target = strings.TrimRight(strings.TrimSpace(target), "/")
	if target == "" {
		return errors.New("no package before the =")
	}
	if strings.ContainsAny(target, " \t=\"") {
		return fmt.Errorf("%q is no package path", target)
	}
	level, err := parseLevel(strings.TrimSpace(name))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.list, func(o rule) bool { return o.target == target }) {
		return fmt.Errorf("there is a level for %s already", target)
	}
	r.list = append(r.list, rule{target, level})
	return nil
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// finish derives what the records are measured by.
func (r *rules) finish() {
	r.text = levelName(r.level)
	r.min = r.level
	for _, o := range r.list {
		r.text += "," + o.target + "=" + levelName(o.level)
		r.min = min(r.min, o.level)
	}
	slices.SortStableFunc(r.list, func(a, b rule) int { return len(b.target) - len(a.target) })
}

// of returns the lowest level allowed to pkg; main says that it is the
// program's main package.
func (r *rules) of(pkg string, main bool) slog.Level {
	for _, o := range r.list {
		if main && o.target == "main" {
			return o.level
		}
	}
	for _, o := range r.list {
		if rest, ok := strings.CutPrefix(pkg, o.target); ok && (rest == "" || rest[0] == '/') {
			return o.level
		}
	}
	return r.level
}

func (f *Filter) load() *rules {
	if f == nil {
		return &infoRules
	}
	if r := f.rules.Load(); r != nil {
		return r
	}
	return &infoRules
}

// String returns the directives in a form that ParseFilter reads, the level of
// all first.
func (f *Filter) String() string { return f.load().text }

// A levelWord is a level as directives name it.
type levelWord struct {
	name  string
	level slog.Level
}

// levelWords are in ascending order; of two names for a level the first is
// printed.
var levelWords = []levelWord{
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"notice", LevelNotice},
	{"warn", slog.LevelWarn},
	{"warning", slog.LevelWarn},
	{"error", slog.LevelError},
	{"critical", LevelCritical},
	{"alert", LevelAlert},
	{"emergency", LevelEmergency},
	{"off", levelOff},
}

// maxLevelOffset keeps levels far from levelOff.
const maxLevelOffset = 1000

func parseLevel(s string) (slog.Level, error) {
	name, offset := s, 0
	if i := strings.IndexAny(s, "+-"); i > 0 {
		n, err := strconv.Atoi(s[i:])
		if err != nil || n > maxLevelOffset || n < -maxLevelOffset {
			return 0, fmt.Errorf("%q is no offset of a level: want a number up to %d after + or -", s[i:], maxLevelOffset)
		}
		name, offset = s[:i], n
	}
	for _, w := range levelWords {
		if strings.EqualFold(w.name, name) && (w.level != levelOff || offset == 0) {
			return w.level + slog.Level(offset), nil
		}
	}
	return 0, fmt.Errorf("unknown level %q: want debug, info, notice, warn, error, critical, alert, emergency or off", s)
}

// levelName is l as parseLevel reads it.
func levelName(l slog.Level) string {
	if l == levelOff {
		return "off"
	}
	w := levelWords[0]
	for _, o := range levelWords {
		if o.level <= l && o.level > w.level {
			w = o
		}
	}
	if l == w.level {
		return w.name
	}
	return fmt.Sprintf("%s%+d", w.name, int(l-w.level))
}
