package benchmarks

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	phuslu "github.com/phuslu/log"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

type recordPeer struct {
	name    string
	new     func(testing.TB, io.Writer) *slog.Logger
	datadog bool // writes the dd.* fields too
}

// recordPeers log JSON lines with the ids of the context's span.
var recordPeers = []recordPeer{
	{"kumihimo", func(tb testing.TB, w io.Writer) *slog.Logger {
		return newTelemetry(tb, obs.Options{LogWriter: w}).Logger()
	}, true},
	{"slog+8ids", func(_ testing.TB, w io.Writer) *slog.Logger { return slog.New(newIDHandler(w, true)) }, true},
	{"slog+3ids", func(_ testing.TB, w io.Writer) *slog.Logger { return slog.New(newIDHandler(w, false)) }, false},
}

// withSource writes the place of the call too.
var withSource = recordPeer{"kumihimo+source", func(tb testing.TB, w io.Writer) *slog.Logger {
	return newTelemetry(tb, obs.Options{LogWriter: w, LogSource: true}).Logger()
}, true}

// noIDs is the fastest slog handler we know of, which writes no ids.
var noIDs = recordPeer{"phuslu-noids", func(_ testing.TB, w io.Writer) *slog.Logger {
	return slog.New(phuslu.SlogNewJSONHandler(w, nil))
}, false}

// idHandler is the wrapper that blog posts and vendors' guides recommend: it
// adds the span's ids as attributes and leaves the rest to slog.JSONHandler.
type idHandler struct {
	slog.Handler
	datadog bool
}

func newIDHandler(w io.Writer, datadog bool) slog.Handler {
	h := slog.Handler(slog.NewJSONHandler(w, nil))
	if datadog {
		h = h.WithAttrs([]slog.Attr{
			slog.String("dd.service", service), slog.String("dd.env", env), slog.String("dd.version", version),
		})
	}
	return &idHandler{h, datadog}
}

func (h *idHandler) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(
			slog.String("logging.googleapis.com/trace", "projects/"+project+"/traces/"+sc.TraceID().String()),
			slog.String("logging.googleapis.com/spanId", sc.SpanID().String()),
			slog.Bool("logging.googleapis.com/trace_sampled", sc.IsSampled()),
		)
		if h.datadog {
			id := sc.SpanID()
			r.AddAttrs(
				slog.String("dd.trace_id", sc.TraceID().String()),
				slog.String("dd.span_id", strconv.FormatUint(binary.BigEndian.Uint64(id[:]), 10)),
			)
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h *idHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &idHandler{h.Handler.WithAttrs(attrs), h.datadog}
}

func (h *idHandler) WithGroup(name string) slog.Handler {
	return &idHandler{h.Handler.WithGroup(name), h.datadog}
}

// BenchmarkRecord is a record through slog, with ten attributes at the call,
// and with five of them bound by Logger.With.
func BenchmarkRecord(b *testing.B) {
	ctx, attrs := recordContext(), recordAttrs()
	for _, p := range recordPeers {
		b.Run("attrs=10/"+p.name, func(b *testing.B) {
			logger := p.new(b, io.Discard)
			b.ReportAllocs()
			for b.Loop() {
				logger.LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs...)
			}
		})
	}
	for _, p := range recordPeers {
		b.Run("attrs=5+5/"+p.name, func(b *testing.B) {
			logger := slog.New(p.new(b, io.Discard).Handler().WithAttrs(attrs[:5]))
			b.ReportAllocs()
			for b.Loop() {
				logger.LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs[5:]...)
			}
		})
	}
}

// TestRecordParity shows that the peers print the same information: each
// field of the reference under its name, with its value.
func TestRecordParity(t *testing.T) {
	ctx, attrs := recordContext(), recordAttrs()
	line := func(t *testing.T, new func(testing.TB, io.Writer) *slog.Logger) map[string]any {
		t.Helper()
		var buf bytes.Buffer
		new(t, &buf).LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs...)
		t.Logf("%s", buf.Bytes())
		return decodeRecord(t, buf.Bytes())
	}
	want := line(t, recordPeers[1].new)
	for _, p := range recordPeers {
		t.Run(p.name, func(t *testing.T) {
			got, want := line(t, p.new), maps.Clone(want)
			if !p.datadog {
				for _, k := range []string{"dd.trace_id", "dd.span_id", "dd.service", "dd.env", "dd.version"} {
					delete(want, k)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestFloorParity shows the same of the peers that have no place among the
// others: one that writes no ids, and one that has an API of its own.
func TestFloorParity(t *testing.T) {
	ctx, attrs := recordContext(), recordAttrs()
	var reference, plain, own bytes.Buffer
	recordPeers[2].new(t, &reference).LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs...)
	noIDs.new(t, &plain).LogAttrs(ctx, slog.LevelInfo, recordMessage, attrs...)
	newZerolog(&own)()
	t.Logf("%s%s", &plain, &own)
	for _, tt := range []struct {
		name    string
		got     []byte
		without []string // fields of the reference that the peer does not write
	}{
		{"phuslu-noids", plain.Bytes(), []string{"logging.googleapis.com/trace", "logging.googleapis.com/spanId", "logging.googleapis.com/trace_sampled"}},
		{"zerolog", own.Bytes(), []string{"user", "path", "comment", "gift", "address"}},
	} {
		want := decodeRecord(t, reference.Bytes())
		for _, k := range tt.without {
			if want[k] == nil {
				t.Errorf("%s is no field", k)
			}
			delete(want, k)
		}
		got := decodeRecord(t, tt.got)
		if level, ok := got["level"].(string); ok {
			got["level"] = strings.ToUpper(level)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.name, diff)
		}
	}
}

// decodeRecord decodes a line with the three fields every logger names its own
// way under slog's names, the time only checked for being there.
func decodeRecord(t *testing.T, line []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for from, to := range map[string]string{"severity": slog.LevelKey, "message": slog.MessageKey} {
		if v, ok := m[from]; ok {
			delete(m, from)
			m[to] = v
		}
	}
	if _, ok := m[slog.TimeKey].(string); !ok {
		t.Errorf("no time in %s", line)
	}
	delete(m, slog.TimeKey)
	return m
}
