package keep

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"

	"github.com/kumihimo/kumihimo/obs/logging"
)

// A Core hands zap's entries to a slog handler. The context of an entry is the
// last field that holds one: zap.Any("ctx", ctx).
type Core struct {
	handler slog.Handler
	ctx     context.Context
}

// NewCore returns a core for zap.New(core, zap.AddCaller()): the filter goes by
// the caller's package.
func NewCore(h slog.Handler) Core { return Core{h, context.Background()} }

// Enabled asks the handler.
func (c Core) Enabled(l zapcore.Level) bool { return c.handler.Enabled(c.ctx, level(l)) }

// With binds fields.
func (c Core) With(fields []zapcore.Field) zapcore.Core { return c.with(fields) }

// Check adds the core to an entry's if it wants it.
func (c Core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write hands an entry on.
func (c Core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.LoggerName != "" {
		c.handler = c.handler.WithAttrs([]slog.Attr{slog.String("logger", e.LoggerName)})
	}
	c = c.with(fields)
	return c.handler.Handle(c.ctx, slog.NewRecord(e.Time, level(e.Level), e.Message, e.Caller.PC))
}

// Sync has nothing to do: Telemetry.Shutdown writes what is left.
func (c Core) Sync() error { return nil }

func (c Core) with(fields []zapcore.Field) Core {
	for _, f := range fields {
		switch ctx, isContext := f.Interface.(context.Context); {
		case isContext:
			c.ctx = ctx
		case f.Type == zapcore.NamespaceType:
			c.handler = c.handler.WithGroup(f.Key)
		case f.Type == zapcore.ErrorType:
			c.handler = c.handler.WithAttrs([]slog.Attr{slog.Any(f.Key, f.Interface)})
		default:
			m := zapcore.NewMapObjectEncoder()
			f.AddTo(m)
			for k, v := range m.Fields {
				c.handler = c.handler.WithAttrs([]slog.Attr{slog.Any(k, v)})
			}
		}
	}
	return c
}

// level returns slog's number: zap's levels stand 1 apart, and slog's 4.
func level(l zapcore.Level) slog.Level {
	if l > zapcore.ErrorLevel {
		return logging.LevelCritical
	}
	return 4 * slog.Level(l)
}
