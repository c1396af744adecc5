package logging

import (
	"fmt"
	"io"
	"sync"
)

// maxPooled is the capacity up to which a line's buffer is used again.
const maxPooled = 64 << 10

// core is what a handler and all that are derived from it share.
type core struct {
	opts  Options
	sites callSites
	lines sync.Pool // of *line

	mu sync.Mutex // guards Writes to w
	w  io.Writer
}

func newCore(w io.Writer, opts *Options) *core {
	if opts == nil {
		opts = &Options{}
	}
	return &core{opts: opts.withDefaults(), w: w}
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

// write writes b at once. A panic of the writer is an error of it.
func (c *core) write(b []byte) error {
	err := c.tryWrite(b)
	if err != nil {
		err = fmt.Errorf("logging: write: %w", err)
		c.opts.OnError(err)
	}
	return err
}

func (c *core) tryWrite(b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", printed(p))
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
