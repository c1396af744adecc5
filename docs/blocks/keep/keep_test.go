package keep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/kumihimo/kumihimo/obs/logging"
)

const (
	traceID = "6b06443e00000000ea01c4bcfea5a208"
	spanID  = "dca67b5a1e969b7e"
)

// inSpan returns a context with a span in it.
func inSpan(t *testing.T) context.Context {
	t.Helper()
	tid, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		t.Fatal(err)
	}
	sid, err := trace.SpanIDFromHex(spanID)
	if err != nil {
		t.Fatal(err)
	}
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: tid, SpanID: sid, TraceFlags: trace.FlagsSampled,
	}))
}

// ids are the fields of a line in that span.
func idFields(more map[string]any) map[string]any {
	m := map[string]any{
		"logging.googleapis.com/trace":         "projects/acme/traces/" + traceID,
		"logging.googleapis.com/spanId":        spanID,
		"logging.googleapis.com/trace_sampled": true,
		"dd.trace_id":                          traceID,
		"dd.span_id":                           "15899531161468574590",
	}
	for k, v := range more {
		m[k] = v
	}
	return m
}

func fields(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	if m["time"] == "" {
		t.Errorf("no time in %s", line)
	}
	delete(m, "time")
	return m
}

// TestZap: what zap's call sites say reaches kumihimo's lines.
func TestZap(t *testing.T) {
	t.Parallel()
	filter, err := logging.ParseFilter("info,store=debug,github.com/kumihimo/kumihimo/docs/blocks/keep=warn")
	if err != nil {
		t.Fatal(err)
	}
	ctx := inSpan(t)
	tests := []struct {
		name string
		log  func(*zap.Logger)
		want map[string]any // nil: nothing is written
	}{
		{"fields", func(l *zap.Logger) {
			l.With(zap.Any("ctx", ctx), zap.Int("n", 1)).Warn("loading", zap.String("user", "7"), zap.String("api_key", "k"))
		}, idFields(map[string]any{"severity": "WARNING", "message": "loading", "n": 1.0, "user": "7", "api_key": "[REDACTED]"})},
		{"namespace", func(l *zap.Logger) {
			l.Warn("x", zap.Bool("a", true), zap.Namespace("db"), zap.Int("rows", 2))
		}, map[string]any{"severity": "WARNING", "message": "x", "a": true, "db": map[string]any{"rows": 2.0}}},
		{"below the package's level", func(l *zap.Logger) { l.Info("x") }, nil},
		{"named", func(l *zap.Logger) { l.Named("store").Debug("x") },
			map[string]any{"severity": "DEBUG", "message": "x", "logger": "store"}},
		{"DPanic", func(l *zap.Logger) { l.DPanic("x") }, map[string]any{"severity": "CRITICAL", "message": "x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			tt.log(zap.New(NewCore(logging.NewHandler(&b, &logging.Options{Filter: filter, ProjectID: "acme"})), zap.AddCaller()))
			if tt.want == nil {
				if b.Len() > 0 {
					t.Errorf("wrote %s", b.Bytes())
				}
				return
			}
			got := fields(t, b.Bytes())
			for _, k := range []string{"stack_trace", "context", "serviceContext", "@type"} {
				delete(got, k) // of errors
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestZapError: an error keeps what it wraps.
func TestZapError(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l := zap.New(NewCore(logging.NewHandler(&b, nil)), zap.AddCaller())
	l.Error("not loaded", zap.Error(fmt.Errorf("load: %w", errors.New("no rows"))))
	got := fields(t, b.Bytes())
	if got["error.message"] != "load: no rows" || got["error.causes"] == nil {
		t.Errorf("no error in %s", b.Bytes())
	}
}

// TestZerolog: a line has the fields that both services look for.
func TestZerolog(t *testing.T) { // not parallel: zerolog's package variables
	var b bytes.Buffer
	l := NewZerolog(&b, "acme")
	l.Warn().Ctx(inSpan(t)).Str("user", "7").Msg("loading")
	want := idFields(map[string]any{"severity": "WARNING", "message": "loading", "user": "7"})
	if diff := cmp.Diff(want, fields(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	l.Info().Msg("x")
	if diff := cmp.Diff(map[string]any{"severity": "INFO", "message": "x"}, fields(t, b.Bytes())); diff != "" {
		t.Error(diff)
	}
}
