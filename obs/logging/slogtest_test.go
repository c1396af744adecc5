package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/slogtest"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

var slogtestOptions = []struct {
	name string
	opts *Options
}{
	{"nil", nil},
	{"identity", &Options{Service: "shop", Env: "prod", Version: "1", ProjectID: "acme", Labels: map[string]string{"a": "b"}}},
	{"source", &Options{AddSource: true}},
	{"colour", &Options{Color: ColorAlways}},
}

// contextHandler runs a handler under a context that carries all it can.
type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	ctx = trace.ContextWithSpanContext(ctx, spanContext())
	ctx = obsctx.WithFields(ctx, []slog.Attr{slog.String("from.context", "x")})
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(as)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

func TestSlogtestJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range slogtestOptions {
		for _, inContext := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/context=%t", tt.name, inContext), func(t *testing.T) {
				t.Parallel()
				var buf bytes.Buffer
				slogtest.Run(t, func(*testing.T) slog.Handler {
					buf.Reset()
					return wrapIf(inContext, NewHandler(&buf, tt.opts))
				}, func(t *testing.T) map[string]any {
					m := decode(t, buf.Bytes())
					m[slog.LevelKey] = m["severity"]
					m[slog.MessageKey] = m["message"]
					if _, ok := m["logging.googleapis.com/sourceLocation"]; ok {
						m[slog.SourceKey] = "there"
					}
					return m
				})
			})
		}
	}
}

// TestSlogtestHandler runs the suite in its other form, all records in one
// stream, under loggers that have a group open and attributes bound.
func TestSlogtestHandler(t *testing.T) {
	t.Parallel()
	parse := map[string]func(string) (map[string]any, error){
		"json": func(line string) (map[string]any, error) {
			m, err := decodeLine([]byte(line))
			if err == nil {
				m[slog.LevelKey], m[slog.MessageKey] = m["severity"], m["message"]
			}
			return m, err
		},
		"text": parseText,
	}
	for _, tt := range slogtestOptions {
		for form, newHandler := range map[string]func(io.Writer, *Options) slog.Handler{"json": NewHandler, "text": NewTextHandler} {
			for _, derive := range []struct {
				name   string
				handle func(slog.Handler) slog.Handler
				groups []string
			}{
				{"plain", func(h slog.Handler) slog.Handler { return h }, nil},
				{"bound", func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Int("bound", 1)}) }, nil},
				{"group", func(h slog.Handler) slog.Handler { return h.WithGroup("outer") }, []string{"outer"}},
				{"groups and attributes", func(h slog.Handler) slog.Handler {
					return h.WithGroup("outer").WithAttrs([]slog.Attr{slog.Int("bound", 1)}).WithGroup("inner")
				}, []string{"outer", "inner"}},
			} {
				t.Run(fmt.Sprintf("%s/%s/%s", form, tt.name, derive.name), func(t *testing.T) {
					t.Parallel()
					var buf bytes.Buffer
					err := slogtest.TestHandler(derive.handle(newHandler(&buf, tt.opts)), func() (all []map[string]any) {
						for line := range strings.Lines(buf.String()) {
							m, err := parse[form](line)
							if err != nil {
								t.Fatal(err)
							}
							all = append(all, hoist(m, derive.groups))
						}
						return all
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// hoist puts what the open groups hold where the suite looks for it.
func hoist(m map[string]any, groups []string) map[string]any {
	inner := m
	for _, g := range groups {
		next, ok := inner[g].(map[string]any)
		if !ok {
			return m
		}
		inner = next
	}
	for k, v := range inner {
		m[k] = v
	}
	return m
}

func wrapIf(wrap bool, h slog.Handler) slog.Handler {
	if wrap {
		return contextHandler{h}
	}
	return h
}

func TestSlogtestText(t *testing.T) {
	t.Parallel()
	for _, tt := range slogtestOptions {
		for _, inContext := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/context=%t", tt.name, inContext), func(t *testing.T) {
				t.Parallel()
				var buf bytes.Buffer
				slogtest.Run(t, func(*testing.T) slog.Handler {
					buf.Reset()
					return wrapIf(inContext, NewTextHandler(&buf, tt.opts))
				}, func(t *testing.T) map[string]any {
					m, err := parseText(buf.String())
					if err != nil {
						t.Fatal(err)
					}
					return m
				})
			})
		}
	}
}

var (
	colors   = regexp.MustCompile("\x1b\\[[0-9;]*m")
	textLine = regexp.MustCompile(`^(\d\d:\d\d:\d\d\.\d{3} )?([A-Z]{4,5}) +(.*)$`)
	// The tests' messages have no two blanks in a row.
	textPair = regexp.MustCompile(`("(?:[^"\\]|\\.)*"|[^ ="]+)=("(?:[^"\\]|\\.)*"|[^ ]*)`)
)

// parseText reads a line of the text form into what slogtest wants to see.
func parseText(line string) (map[string]any, error) {
	line = colors.ReplaceAllString(line, "")
	parts := textLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
	if parts == nil {
		return nil, fmt.Errorf("no line of ours: %q", line)
	}
	m := map[string]any{slog.LevelKey: parts[2]}
	if parts[1] != "" {
		m[slog.TimeKey] = parts[1]
	}
	rest := parts[3]
	if at := textPair.FindStringIndex(rest); at != nil {
		m[slog.MessageKey] = strings.TrimSpace(rest[:at[0]])
		rest = rest[at[0]:]
	} else {
		m[slog.MessageKey] = rest
		return m, nil
	}
	for _, p := range textPair.FindAllStringSubmatch(rest, -1) {
		key, value := p[1], p[2]
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return nil, fmt.Errorf("%s: %w", p[0], err)
			}
		}
		put(m, key, value)
	}
	return m, nil
}

func put(m map[string]any, key string, value any) {
	group, rest, ok := strings.Cut(key, ".")
	if !ok {
		m[key] = value
		return
	}
	inner, ok := m[group].(map[string]any)
	if !ok {
		inner = make(map[string]any)
		m[group] = inner
	}
	put(inner, rest, value)
}

func spanContext() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    trace.TraceID{0x67, 0x40, 0, 0, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4},
		SpanID:     trace.SpanID{1, 2, 3, 4, 5, 6, 7, 8},
		TraceFlags: trace.FlagsSampled,
	})
}

// decode reads one line and fails on anything but exactly one line of one
// valid object without duplicate keys, at any depth.
func decode(t testing.TB, line []byte) map[string]any {
	t.Helper()
	m, err := decodeLine(line)
	if err != nil {
		t.Fatalf("%v:\n%q", err, line)
	}
	return m
}

func decodeLine(line []byte) (map[string]any, error) {
	body, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok || bytes.IndexByte(body, '\n') >= 0 {
		return nil, errors.New("not one line")
	}
	if !json.Valid(body) {
		return nil, errors.New("not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	return m, nil
}

func decodeValue(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := make(map[string]any)
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, dup := m[key]; dup {
				return nil, fmt.Errorf("duplicate key %q", key)
			}
			if m[key], err = decodeValue(d); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return tok, nil
}
