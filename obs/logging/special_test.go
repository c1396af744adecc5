package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// TestSpecialFields: the fields of the log entry that a program may give come
// out in the form that the agents take, the others under another name.
func TestSpecialFields(t *testing.T) {
	t.Parallel()
	const insertID, operation = googlePrefix + "insertId", googlePrefix + "operation"
	op := map[string]any{"id": "job-7", "producer": "cart", "first": true}
	for _, tt := range []struct {
		name  string
		attrs []slog.Attr
		want  map[string]any // nil: absent
	}{
		{"insertId", []slog.Attr{slog.String(insertID, "a1")}, map[string]any{insertID: "a1"}},
		{"the last insertId", []slog.Attr{slog.String(insertID, "a1"), slog.String(insertID, "a2")}, map[string]any{insertID: "a2"}},
		{"an empty insertId is refused", []slog.Attr{slog.String(insertID, "")}, map[string]any{insertID: nil, "_" + insertID: ""}},
		{"a number is no insertId", []slog.Attr{slog.Bool(insertID, true)}, map[string]any{insertID: nil, "_" + insertID: true}},
		{"insertId of a LogValuer", []slog.Attr{slog.Any(insertID, valuerFunc(func() slog.Value { return slog.StringValue("a3") }))}, map[string]any{insertID: "a3"}},
		{"operation", []slog.Attr{slog.Group(operation, "id", "job-7", "producer", "cart", "first", true)}, map[string]any{operation: op}},
		{"an operation with another field", []slog.Attr{slog.Group(operation, "id", "job-7", "step", "x")},
			map[string]any{operation: nil, "_" + operation: map[string]any{"id": "job-7", "step": "x"}}},
		{"an operation of other types", []slog.Attr{slog.Group(operation, "id", true)}, map[string]any{operation: nil, "_" + operation: map[string]any{"id": true}}},
		{"an operation that is none", []slog.Attr{slog.String(operation, "job-7")}, map[string]any{operation: nil, "_" + operation: "job-7"}},
		{"an empty operation", []slog.Attr{slog.Group(operation)}, map[string]any{operation: nil, "_" + operation: nil}},
		{"labels that are none", []slog.Attr{slog.String(labelsKey, "x")}, map[string]any{"_" + labelsKey: "x"}},
		{"the trace is ours", []slog.Attr{slog.String(googlePrefix+"trace", "mine")}, map[string]any{googlePrefix + "trace": nil, "_" + googlePrefix + "trace": "mine"}},
		{"in a group", []slog.Attr{slog.Group("g", slog.String(insertID, "x"))}, map[string]any{insertID: nil, "g": map[string]any{insertID: "x"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for way, line := range attrWays(t, nil, tt.attrs...) {
				m := decode(t, line)
				for k, want := range tt.want {
					if got := m[k]; !cmp.Equal(got, want) {
						t.Errorf("%s: %s: got %v, want %v", way, k, got, want)
					}
				}
				if len(m) < 4 {
					t.Errorf("%s: nothing but special fields: %s", way, line)
				}
			}
		})
	}
}

// attrWays logs attrs at the call, bound, and from the context.
func attrWays(t *testing.T, opts *Options, attrs ...slog.Attr) map[string][]byte {
	t.Helper()
	lines := make(map[string][]byte)
	for way, log := range map[string]func(h slog.Handler) error{
		"call": func(h slog.Handler) error {
			return h.Handle(context.Background(), record(slog.LevelInfo, "m", attrs...))
		},
		"With": func(h slog.Handler) error {
			return h.WithAttrs(attrs).WithGroup("open").Handle(context.Background(), record(slog.LevelInfo, "m"))
		},
		"context": func(h slog.Handler) error {
			return h.Handle(obsctx.WithFields(context.Background(), attrs), record(slog.LevelInfo, "m"))
		},
	} {
		var buf bytes.Buffer
		if err := log(NewHandler(&buf, opts)); err != nil {
			t.Error(err)
		}
		lines[way] = buf.Bytes()
	}
	return lines
}

// TestLabels: labels of the options, the context, Logger.With and the call are
// one object of strings, in which the nearest wins.
func TestLabels(t *testing.T) {
	t.Parallel()
	labels := func(args ...any) slog.Attr { return slog.Group(labelsKey, args...) }
	for _, tt := range []struct {
		name                  string
		options               map[string]string
		context, bound, attrs []slog.Attr
		want                  any
	}{
		{name: "none", want: nil},
		{name: "options", options: map[string]string{"a": "1"}, want: map[string]any{"a": "1"}},
		{name: "call", attrs: []slog.Attr{labels("a", "1", "b", "2")}, want: map[string]any{"a": "1", "b": "2"}},
		{name: "all", options: map[string]string{"o": "0", "a": "0"}, context: []slog.Attr{labels("c", "1", "a", "1")}, bound: []slog.Attr{labels("w", "2", "a", "2")},
			attrs: []slog.Attr{labels("r", "3", "a", "3")}, want: map[string]any{"o": "0", "c": "1", "w": "2", "r": "3", "a": "3"}},
		{name: "twice at the call", attrs: []slog.Attr{labels("a", "1"), slog.Int("k", 1), labels("a", "2", "b", "3")}, want: map[string]any{"a": "2", "b": "3"}},
		{name: "twice in one", attrs: []slog.Attr{labels("a", "1", "a", "2")}, want: map[string]any{"a": "2"}},
		{name: "empty", attrs: []slog.Attr{labels()}, want: nil},
		{name: "all become strings", attrs: []slog.Attr{labels("i", 7, "f", 1.5, "b", true, "d", time.Second, "n", nil, "e", errors.New("no"),
			"l", []int{1}, slog.Group("g", "x", "y"), slog.Group("", "in", 1), slog.Group("gone"), "v", valuerFunc(func() slog.Value { return slog.IntValue(8) }))},
			want: map[string]any{"i": "7", "f": "1.5", "b": "true", "d": "1000000000", "n": "null", "e": "no", "l": "[1]", "g": `{"x":"y"}`, "in": "1", "v": "8"}},
		{name: "secrets", attrs: []slog.Attr{labels("token", "hunter2", "q\"", "x")}, want: map[string]any{"token": "[REDACTED]", "q\"": "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			h := NewHandler(&buf, &Options{Labels: tt.options, Service: "shop"}).WithAttrs(tt.bound)
			ctx := obsctx.WithFields(spanCtx(), tt.context)
			for range 2 { // the second finds the context's fields encoded
				buf.Reset()
				if err := h.Handle(ctx, record(slog.LevelInfo, "m", append(tt.attrs, slog.String("after", "x"))...)); err != nil {
					t.Fatal(err)
				}
				m := decode(t, buf.Bytes())
				if !cmp.Equal(m[labelsKey], tt.want) {
					t.Errorf("got %v, want %v", m[labelsKey], tt.want)
				}
				if m["after"] != "x" || m["dd.service"] != "shop" || m["message"] != "m" {
					t.Errorf("others: %s", &buf)
				}
			}
		})
	}
}

// TestLabelLimits: what Cloud Logging takes no entry with is kept beside the
// labels.
func TestLabelLimits(t *testing.T) {
	t.Parallel()
	many := func(from, to int) map[string]any {
		m := map[string]any{}
		for i := from; i < to; i++ {
			m[fmt.Sprintf("k%03d", i)] = fmt.Sprint(i)
		}
		return m
	}
	options := func(m map[string]any) map[string]string {
		labels := map[string]string{}
		for k, v := range m {
			labels[k] = v.(string)
		}
		return labels
	}
	group := func(m map[string]any) slog.Attr {
		var args []any
		for _, k := range slices.Sorted(maps.Keys(m)) {
			args = append(args, k, m[k])
		}
		return slog.Group(labelsKey, args...)
	}
	key512, key513 := strings.Repeat("k", 512), strings.Repeat("k", 513)
	text64K, longer := strings.Repeat("v", 64<<10), strings.Repeat("v", 64<<10+1)
	for _, tt := range []struct {
		name       string
		options    map[string]any
		bound      slog.Attr
		call       slog.Attr
		want, rest map[string]any
	}{
		{name: "64 of the options", options: many(0, 64), want: many(0, 64)},
		{name: "65 of the options", options: many(0, 65), want: many(0, 64), rest: many(64, 65)},
		{name: "64 at the call", call: group(many(0, 64)), want: many(0, 64)},
		{name: "100 at the call", call: group(many(0, 100)), want: many(0, 64), rest: many(64, 100)},
		{name: "100 bound", bound: group(many(0, 100)), want: many(0, 64), rest: many(64, 100)},
		{name: "from everywhere", options: many(0, 30), bound: group(many(20, 60)), call: group(many(50, 70)), want: many(0, 64), rest: many(64, 70)},
		{name: "over by the options, then replaced", options: many(0, 70), call: slog.Group(labelsKey, "k069", "69"), want: many(0, 64), rest: many(64, 70)},
		{name: "long key", call: slog.Group(labelsKey, key512, "1", key513, "2"), want: map[string]any{key512: "1"}, rest: map[string]any{key513: "2"}},
		{name: "long value", call: slog.Group(labelsKey, "a", text64K, "b", longer), want: map[string]any{"a": text64K}, rest: map[string]any{"b": longer}},
		{name: "long key of the options", options: map[string]any{key513: "2"}, rest: map[string]any{key513: "2"}},
		{name: "only long ones", call: slog.Group(labelsKey, slog.Group("", key513, "2")), rest: map[string]any{key513: "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			h := NewHandler(&buf, &Options{Labels: options(tt.options), Service: "shop"}).WithAttrs([]slog.Attr{tt.bound})
			if err := h.Handle(spanCtx(), record(slog.LevelInfo, "m", tt.call, slog.String("after", "x"))); err != nil {
				t.Fatal(err)
			}
			m := decode(t, buf.Bytes())
			for key, want := range map[string]map[string]any{labelsKey: tt.want, "kumihimo.labels": tt.rest} {
				if got, _ := m[key].(map[string]any); !cmp.Equal(got, want) {
					t.Errorf("%s: want -, got +:\n%s", key, cmp.Diff(want, got))
				}
			}
			if m["after"] != "x" || m["message"] != "m" {
				t.Errorf("others: %s", &buf)
			}
		})
	}
}

// TestLabelsAsText: people see the labels that a record was given.
func TestLabelsAsText(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slog.New(NewTextHandler(&buf, nil)).Info("m", slog.Group(labelsKey, "a", "1"))
	if want := labelsKey + ".a=1\n"; !strings.HasSuffix(buf.String(), want) {
		t.Errorf("got %s, want %s", &buf, want)
	}
}

// TestMergeLabelsAllocs: labels of a record cost no allocation once warm.
func TestMergeLabelsAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	h := NewHandler(io.Discard, &Options{Labels: map[string]string{"a": "1"}})
	r := record(slog.LevelInfo, "m", slog.Group(labelsKey, "a", "2", "b", "3"))
	if got := testing.AllocsPerRun(200, func() { h.Handle(context.Background(), r) }); got != 0 { //nolint:errcheck // to io.Discard
		t.Errorf("%v allocations, want 0", got)
	}
}
