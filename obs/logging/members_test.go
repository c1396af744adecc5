package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// A scenario is a way to a line: what the context, Logger.With, WithGroup and
// the call contribute.
type scenario struct {
	fields [][]slog.Attr
	steps  []step
	attrs  []slog.Attr
}

// A step is WithGroup(group), or else WithAttrs(attrs).
type step struct {
	group string
	attrs []slog.Attr
}

func (s *scenario) run(h slog.Handler) {
	ctx := context.Background()
	for _, f := range s.fields {
		ctx = obsctx.WithFields(ctx, f)
	}
	for _, st := range s.steps {
		if st.group != "" {
			h = h.WithGroup(st.group)
		} else {
			h = h.WithAttrs(st.attrs)
		}
	}
	for range 2 { // the second finds the context's fields encoded
		r := slog.Record{Message: "m"}
		r.AddAttrs(s.attrs...)
		if err := h.Handle(ctx, r); err != nil {
			panic(err)
		}
	}
}

// want is the scenario's line by a plain reading of the rules: later replaces
// earlier, an empty group is not there, reserved names at the root are
// renamed.
func (s *scenario) want() map[string]any {
	root := make(map[string]any)
	for _, f := range s.fields {
		insert(root, f, true)
	}
	s.build(root, s.steps, true)
	if len(root) == 0 {
		root["level"] = "INFO"
	}
	root["severity"], root["message"] = "INFO", "m"
	return root
}

func (s *scenario) build(m map[string]any, steps []step, root bool) {
	for i, st := range steps {
		if st.group == "" {
			insert(m, st.attrs, root)
			continue
		}
		inner := make(map[string]any)
		s.build(inner, steps[i+1:], false)
		if len(inner) > 0 {
			m[rename(st.group, root)] = inner
		}
		return
	}
	insert(m, s.attrs, root)
}

func insert(m map[string]any, attrs []slog.Attr, root bool) {
	for _, a := range attrs {
		switch {
		case a.Value.Kind() != slog.KindGroup:
			m[rename(a.Key, root)] = json.Number(a.Value.String())
		case a.Key == "":
			insert(m, a.Value.Group(), root)
		default:
			inner := make(map[string]any)
			insert(inner, a.Value.Group(), false)
			if len(inner) > 0 {
				m[rename(a.Key, root)] = inner
			}
		}
	}
}

func rename(key string, root bool) string {
	if root && reserved(key) {
		return "_" + key
	}
	return key
}

// generator makes scenarios out of few keys, so that most collide.
type generator struct{ next func(n int) int }

var generatorKeys = []string{"a", "b", "aa", "time", "_time", "severity", "an.ordinary.long.key", "an.ordinary.Long.key", `q"`}

func (g generator) key() string { return generatorKeys[g.next(len(generatorKeys))] }

func (g generator) attrs(depth int) []slog.Attr {
	list := make([]slog.Attr, g.next(4))
	for i := range list {
		switch n := g.next(8); {
		case n == 0 && depth > 0:
			list[i] = slog.Attr{Key: g.key(), Value: slog.GroupValue(g.attrs(depth - 1)...)}
		case n == 1 && depth > 0:
			list[i] = slog.Attr{Value: slog.GroupValue(g.attrs(depth - 1)...)}
		default:
			list[i] = slog.Int(g.key(), g.next(1000))
		}
	}
	return list
}

func (g generator) scenario() *scenario {
	s := &scenario{}
	for range g.next(3) {
		s.fields = append(s.fields, g.attrs(1))
	}
	for range g.next(6) {
		if g.next(3) == 0 {
			s.steps = append(s.steps, step{group: g.key()})
		} else {
			s.steps = append(s.steps, step{attrs: g.attrs(2)})
		}
	}
	s.attrs = g.attrs(3)
	return s
}

func checkScenario(t *testing.T, s *scenario) {
	t.Helper()
	var buf bytes.Buffer
	s.run(NewHandler(&buf, nil))
	lines := strings.SplitAfter(buf.String(), "\n")
	for _, line := range lines[:2] {
		got := decode(t, []byte(line))
		if diff := cmp.Diff(s.want(), got); diff != "" {
			t.Fatalf("want -, got +:\n%s\n%+v\n%s", diff, *s, line)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		s := generator{rnd.IntN}.scenario()
		t.Run(fmt.Sprint(i), func(t *testing.T) { checkScenario(t, s) })
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte("groups within groups, and more of them"))
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b) % n
		}
		checkScenario(t, generator{next}.scenario())
	})
}

// TestReservedKeys: no attribute takes the place of a field that the handler
// writes, whichever way it comes, and none is lost.
func TestReservedKeys(t *testing.T) {
	t.Parallel()
	keys := []string{
		"severity", "time", "message", "timestamp", "timestampSeconds", "timestampNanos", "timeNanos",
		"httpRequest", "logging.googleapis.com/trace", "logging.googleapis.com/spanId", "logging.googleapis.com/anything",
		"@type", "serviceContext", "context", "status",
		"dd.trace_id", "dd.span_id", "dd.service", "dd.env", "dd.version",
	}
	var attrs []slog.Attr
	for _, k := range keys {
		attrs = append(attrs, slog.String(k, "mine"), slog.String("_"+k, "also mine"))
	}
	opts := &Options{Service: "s", Env: "e", Version: "v", ProjectID: "p"}
	ways := []struct {
		name string
		log  func(*slog.Logger)
	}{
		{"call", func(l *slog.Logger) { l.LogAttrs(spanCtx(), slog.LevelError, "real", attrs...) }},
		{"inline group", func(l *slog.Logger) {
			l.LogAttrs(spanCtx(), slog.LevelError, "real", slog.Attr{Value: slog.GroupValue(attrs...)})
		}},
		{"With", func(l *slog.Logger) { slog.New(l.Handler().WithAttrs(attrs)).ErrorContext(spanCtx(), "real") }},
		{"context", func(l *slog.Logger) { l.ErrorContext(obsctx.WithFields(spanCtx(), attrs), "real") }},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			way.log(slog.New(NewHandler(&buf, opts)))
			m := decode(t, buf.Bytes())
			for _, k := range keys {
				if m[k] == "mine" || m[k] == "also mine" {
					t.Errorf("%s is the user's", k)
				}
				if m["_"+k] != "mine" || m["__"+k] != "also mine" {
					t.Errorf("%s: got %v and %v, want the user's two values", k, m["_"+k], m["__"+k])
				}
			}
			if m["message"] != "real" || m["dd.service"] != "s" {
				t.Errorf("own fields: %v", m)
			}
		})
	}
	t.Run("WithGroup", func(t *testing.T) {
		t.Parallel()
		var buf bytes.Buffer
		slog.New(NewHandler(&buf, opts)).WithGroup("context").Error("real", "severity", 1)
		m := decode(t, buf.Bytes())
		if diff := cmp.Diff(map[string]any{"severity": json.Number("1")}, m["_context"]); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	})
}

// TestNothingBound: what adds nothing makes no new handler.
func TestNothingBound(t *testing.T) {
	t.Parallel()
	for _, h := range []slog.Handler{NewHandler(io.Discard, nil), NewTextHandler(io.Discard, nil)} {
		if h.WithGroup("") != h || h.WithAttrs(nil) != h {
			t.Errorf("%T: another handler", h)
		}
	}
}

// TestSiblings: what one child of a logger is given never shows in another,
// nor in the parent.
func TestSiblings(t *testing.T) {
	t.Parallel()
	for groups := range 4 {
		for bound := range 9 {
			for _, childIsGroup := range []bool{false, true} {
				for _, kind := range []string{"json", "text"} {
					name := fmt.Sprintf("%s/groups=%d,bound=%d,child=%t", kind, groups, bound, childIsGroup)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						checkSiblings(t, kind, groups, bound, childIsGroup)
					})
				}
			}
		}
	}
}

func checkSiblings(t *testing.T, kind string, groups, bound int, childIsGroup bool) {
	var buf bytes.Buffer
	h := NewHandler(&buf, nil)
	if kind == "text" {
		h = NewTextHandler(&buf, nil)
	}
	parent := slog.New(h)
	for i := range groups {
		parent = parent.WithGroup(fmt.Sprint("g", i))
	}
	for i := range bound {
		parent = parent.With(fmt.Sprint("k", i), i)
	}
	child := func(name string) *slog.Logger {
		if childIsGroup {
			return parent.WithGroup(name)
		}
		return parent.With(name, name)
	}
	first := child("first")
	second := child("second")
	third := first.With("third", 3)
	for _, tt := range []struct {
		logger        *slog.Logger
		has, lacks    string
		lacksAnywhere string
	}{
		{first, "first", "second", "third"},
		{second, "second", "first", "third"},
		{third, "third", "second", "fourth"},
		{parent, "x", "first", "second"},
	} {
		buf.Reset()
		tt.logger.Info("m", "x", 1)
		line := buf.String()
		if !strings.Contains(line, tt.has) || strings.Contains(line, tt.lacks) || strings.Contains(line, tt.lacksAnywhere) {
			t.Errorf("want %q and neither %q nor %q in %s", tt.has, tt.lacks, tt.lacksAnywhere, line)
		}
	}
}
