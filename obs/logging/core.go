package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// maxPooled is the capacity up to which a line's buffer is used again.
const maxPooled = 64 << 10

// core is what a handler and all that are derived from it share.
type core struct {
	opts  Options
	sites callSites
	lines sync.Pool // of *line

	buffer *BufferedWriter // w, if it is one

	// note renders that n records were dropped.
	note func(ctx context.Context, message string, n int64) []byte

	mu   sync.Mutex // guards Writes to w
	w    io.Writer
	torn bool  // the last Write ended within a line
	lost int64 // lines since w last worked
}

func newCore(w io.Writer, opts *Options) *core {
	if opts == nil {
		opts = &Options{}
	}
	buffer, _ := w.(*BufferedWriter)
	return &core{opts: opts.withDefaults(), w: w, buffer: buffer}
}

// line returns an empty line. It must go back by release before its borrower
// returns, and nothing may keep a part of it.
func (c *core) line() *line {
	if l, ok := c.lines.Get().(*line); ok {
		return l
	}
	return &line{red: c.opts.Redactor, buf: make([]byte, 0, 1<<10), members: make([]member, 0, 32)}
}

func (c *core) release(l *line) {
	if cap(l.buf) > maxPooled {
		return
	}
	l.reset()
	c.lines.Put(l)
}

// spanName returns the name of ctx's span as an attribute, if that is wanted
// and the span can tell it.
func (c *core) spanName(ctx context.Context) (a slog.Attr, ok bool) {
	if !c.opts.SpanName {
		return a, false
	}
	if span, ok := trace.SpanFromContext(ctx).(interface{ Name() string }); ok {
		return slog.String("span.name", span.Name()), true
	}
	return a, false
}

// write writes b at once, or leaves it to the buffer.
func (c *core) write(b []byte, level slog.Level) error {
	err := c.tryWrite(b)
	if err != nil {
		err = fmt.Errorf("logging: write: %w", err)
		c.opts.OnError(err)
	}
	if c.buffer != nil && level >= slog.LevelError {
		c.buffer.urge()
	}
	return err
}

func (c *core) tryWrite(b []byte) error {
	if c.buffer != nil {
		_, err := c.buffer.Write(b)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock() // a Write may end its goroutine, as that of a test does
	err := c.writeLine(b)
	switch {
	case err != nil:
		c.lost++
	case c.lost > 0 && c.writeLine(c.lossNote(c.lost)) == nil:
		c.lost = 0
	}
	return err
}

// writeLine is for who holds mu.
func (c *core) writeLine(b []byte) error {
	if c.torn { // else this line would be the end of that one
		if _, err := writeAll(c.w, []byte("\n")); err != nil {
			return err
		}
		c.torn = false
	}
	n, err := writeAll(c.w, b)
	c.torn = err != nil && n > 0 && n < len(b)
	return err
}
