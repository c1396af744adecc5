package obs

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// bridge hands records to OpenTelemetry's Logs API through otelslog, and keeps
// from it what it cannot stand (0.21): an error that is a typed nil panics
// there, an error's key is lost, and a severity may leave the API's range.
type bridge struct {
	red    *redact.Redactor
	root   slog.Handler                      // otelslog's, nothing bound
	bound  []func(slog.Handler) slog.Handler // what made inner of root
	inner  slog.Handler
	secret bool // an open group's name is a secret's
}

func newBridge(p log.LoggerProvider, red *redact.Redactor) slog.Handler {
	h := otelslog.NewHandler(scope, otelslog.WithLoggerProvider(p))
	return &bridge{red: red, root: h, inner: h}
}

// withResource returns p with the resource that the spans have, if p can be told.
func withResource(p log.LoggerProvider, res *resource.Resource) log.LoggerProvider {
	if r, ok := p.(interface {
		WithResource(*resource.Resource) log.LoggerProvider
	}); ok {
		return r.WithResource(res)
	}
	return p
}

// reportTo gives p a logger for what it has to say of itself, if it takes one.
func reportTo(p log.LoggerProvider, l *slog.Logger) {
	if r, ok := p.(interface{ ReportTo(*slog.Logger) }); ok {
		r.ReportTo(l)
	}
}

// flushLogs flushes Options.LoggerProvider, whose API has no such method but
// whose implementations have.
func (t *Telemetry) flushLogs(ctx context.Context) error {
	if p, ok := t.logs.(interface{ ForceFlush(context.Context) error }); ok {
		return await(ctx, guarded(func() error { return p.ForceFlush(ctx) }))
	}
	return nil
}

// stopLogs shuts Options.LoggerProvider down, after the last of our records.
func (t *Telemetry) stopLogs(ctx context.Context) error {
	if p, ok := t.logs.(interface{ Shutdown(context.Context) error }); ok {
		return await(ctx, guarded(func() error { return p.Shutdown(ctx) }))
	}
	return nil
}

// The levels of the API's severities 1 to 24.
const (
	lowestLevel  = slog.Level(-8)
	highestLevel = slog.Level(15)
)

func clamp(l slog.Level) slog.Level { return min(max(l, lowestLevel), highestLevel) }

func (b *bridge) Enabled(ctx context.Context, l slog.Level) bool {
	return b.inner.Enabled(ctx, clamp(l))
}

func (b *bridge) WithAttrs(attrs []slog.Attr) slog.Handler {
	cleaned := b.clean(nil, attrs, b.secret, 0)
	return b.bind(b.secret, func(h slog.Handler) slog.Handler { return h.WithAttrs(cleaned) })
}

func (b *bridge) WithGroup(name string) slog.Handler {
	if name == "" {
		return b
	}
	return b.bind(b.secret || b.red.Key(name), func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (b *bridge) bind(secret bool, f func(slog.Handler) slog.Handler) slog.Handler {
	bound := append(b.bound[:len(b.bound):len(b.bound)], f)
	return &bridge{red: b.red, root: b.root, bound: bound, inner: f(b.inner), secret: secret}
}

// Handle never panics: what does becomes the error.
func (b *bridge) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("obs: LoggerProvider panicked: %s", fault.Text(p))
		}
	}()
	inner := b.inner
	if f := obsctx.FieldsFrom(ctx); f != nil { // at the root, beneath what is bound
		inner = b.root.WithAttrs(b.fields(nil, f))
		for _, bind := range b.bound {
			inner = bind(inner)
		}
	}
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	out := slog.NewRecord(r.Time, clamp(r.Level), r.Message, r.PC)
	out.AddAttrs(b.clean(nil, attrs, b.secret, 0)...)
	return inner.Handle(ctx, out)
}

func (b *bridge) fields(out []slog.Attr, f *obsctx.Fields) []slog.Attr {
	if f == nil {
		return out
	}
	return b.clean(b.fields(out, f.Outer), f.Attrs, false, 0)
}

// maxGroups bounds groups within groups, which a LogValuer can make without
// end.
const maxGroups = 16

// clean appends attrs without their secrets and with errors as text: the first
// of a list under the names of the semantic conventions too.
func (b *bridge) clean(out, attrs []slog.Attr, secret bool, depth int) []slog.Attr {
	exception := false
	for _, a := range attrs {
		v := a.Value.Resolve()
		hide := secret || b.red.Key(a.Key)
		switch kind := v.Kind(); {
		case kind == slog.KindGroup && depth == maxGroups:
			v = slog.StringValue("!ERROR: group too deep")
		case kind == slog.KindGroup:
			v = slog.GroupValue(b.clean(nil, v.Group(), hide, depth+1)...)
		case hide && (kind == slog.KindString || kind == slog.KindAny):
			v = slog.StringValue(redact.Placeholder)
		case kind == slog.KindAny:
			err, ok := v.Any().(error)
			if !ok {
				v = b.plain(v)
				break
			}
			v = slog.StringValue(errorText(err, b.red))
			if !exception && depth == 0 {
				exception = true
				out = append(out, slog.String(string(semconv.ExceptionTypeKey), fault.Kind(err)),
					slog.String(string(semconv.ExceptionMessageKey), v.String()))
			}
		}
		out = append(out, slog.Attr{Key: a.Key, Value: v})
	}
	return out
}

// plain returns v, which may hold secrets that its key does not name, as a
// text without them. otelslog would take a struct's fields, and a map's, as they
// are.
func (b *bridge) plain(v slog.Value) slog.Value {
	switch v.Any().(type) {
	case nil, []byte:
		return v
	}
	return slog.StringValue(b.red.Sprint(v.Any()))
}
