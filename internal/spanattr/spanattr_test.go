package spanattr

import (
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

type bad struct{}

func (bad) LogValue() slog.Value { panic("boom") }

type nilError struct{}

func (e *nilError) Error() string { return *(*string)(nil) }

func TestAppend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		attr slog.Attr
		want []attribute.KeyValue
	}{
		{"string", slog.String("k", "v"), []attribute.KeyValue{attribute.String("k", "v")}},
		{"int", slog.Int("k", 7), []attribute.KeyValue{attribute.Int("k", 7)}},
		{"uint beyond int64", slog.Uint64("k", math.MaxUint64), []attribute.KeyValue{attribute.String("k", "18446744073709551615")}},
		{"duration in nanoseconds", slog.Duration("k", time.Millisecond), []attribute.KeyValue{attribute.Int64("k", 1_000_000)}},
		{"error", slog.Any("k", errors.New("no")), []attribute.KeyValue{attribute.String("k", "no")}},
		{"group", slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.Bool("b", true))),
			[]attribute.KeyValue{attribute.Int("g.a", 1), attribute.Bool("g.h.b", true)}},
		{"inlined group", slog.Group("", slog.Int("a", 1)), []attribute.KeyValue{attribute.Int("a", 1)}},
		{"struct as JSON", slog.Any("k", struct{ A int }{1}), []attribute.KeyValue{attribute.String("k", `{"A":1}`)}},
		{"typed nil error", slog.Any("k", (*nilError)(nil)),
			[]attribute.KeyValue{attribute.String("k", "!PANIC: runtime error: invalid memory address or nil pointer dereference")}},
		{"secret", slog.String("db_password", "hunter2"), []attribute.KeyValue{attribute.String("db_password", "[REDACTED]")}},
		{"secret in a group", slog.Group("g", slog.Any("Token", []string{"hunter2"}), slog.Int("token", 7)),
			[]attribute.KeyValue{attribute.String("g.Token", "[REDACTED]"), attribute.Int("g.token", 7)}},
		{"secret group", slog.Group("credentials", slog.String("user", "hunter2"), slog.Group("g", slog.Any("x", struct{ A string }{"hunter2"}))),
			[]attribute.KeyValue{attribute.String("credentials.user", "[REDACTED]"), attribute.String("credentials.g.x", "[REDACTED]")}},
		{"secret in a struct", slog.Any("k", struct{ User, APIKey string }{"ada", "hunter2"}),
			[]attribute.KeyValue{attribute.String("k", `{"User":"ada","APIKey":"[REDACTED]"}`)}},
		{"no key", slog.Any("", 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Append(nil, nil, tt.attr)
			if d := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b attribute.Value) bool {
				return a.Type() == b.Type() && a.AsInterface() == b.AsInterface()
			})); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestPanickingLogValue(t *testing.T) {
	t.Parallel()
	got := Append(nil, nil, slog.Any("k", bad{}))
	if len(got) != 1 || !strings.HasPrefix(got[0].Value.AsString(), "LogValue panicked") {
		t.Errorf("got %v, want one attribute that says that LogValue panicked", got)
	}
}

func TestAppendFieldsInnermostLast(t *testing.T) {
	t.Parallel()
	ctx := obsctx.WithFields(t.Context(), []slog.Attr{slog.String("a", "outer")})
	ctx = obsctx.WithFields(ctx, []slog.Attr{slog.String("a", "inner")})
	got := AppendFields(nil, nil, obsctx.FieldsFrom(ctx))
	if len(got) != 2 || got[0].Value.AsString() != "outer" || got[1].Value.AsString() != "inner" {
		t.Errorf("got %v, want outer then inner", got)
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("k", "v")
	f.Fuzz(func(t *testing.T, k, v string) {
		kvs := Append(nil, nil, slog.Group(k, slog.String(k, v), slog.Any(v, []byte(k))))
		if len(kvs) > 2 {
			t.Errorf("%d attributes of 2", len(kvs))
		}
	})
}
