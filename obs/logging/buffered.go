package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kumihimo/kumihimo/internal/fault"
)

const (
	defaultBufferSize     = 256 << 10
	defaultBufferInterval = 100 * time.Millisecond

	// maxRetry is how rarely a sink that keeps failing is tried again.
	maxRetry = 5 * time.Second
)

var errBufferFull = errors.New("the buffer is full")

// A BufferedWriter writes lines in batches, where a Write for each costs more
// than making the line: to a pipe, and more so to a file. It must be in use
// before the first line, and not be copied:
//
//	out := &logging.BufferedWriter{W: os.Stdout}
//	defer out.Close(ctx)
//	logger := slog.New(logging.NewHandler(out, nil))
//
// What it holds is lost when the program ends without Close: by os.Exit, and
// so by log.Fatal, by a crash, and by SIGKILL. Where the CPU stands still
// between requests, as in Cloud Run's default billing, so does the timer: call
// Flush at a request's end, or do without.
//
// Its methods are safe for concurrent use.
type BufferedWriter struct {
	// W is where the lines go. While it fails they are kept, as far as there
	// is room, and tried again.
	W io.Writer

	// Size is how many bytes wait at most, those of a Write under way not
	// counted; 0 is 256 KiB. A line for which there is no room is dropped, and
	// counted. When W works again, a line says how many were.
	Size int

	// Interval is how long a line waits at most; 0 is 100 ms. A handler's
	// record at ERROR or above is written at once, with all before it; it waits
	// for that 50 ms at most, and not for a Write under way.
	Interval time.Duration

	// OnError is called, if not nil, when W begins to fail.
	OnError func(error)

	flushing sync.Mutex // held during Writes to W; taken before mu
	spare    []byte     // the other buffer; flushing guards it
	failures int        // in a row; flushing guards it
	reported int64      // of dropped; flushing guards it

	mu      sync.Mutex // guards what follows
	buf     []byte
	timer   *time.Timer
	armed   bool // timer will flush
	soon    bool // and without delay
	failing bool // W's last Write failed; the timer alone tries again
	closed  bool
	dropped int64                // in all
	note    func(n int64) []byte // a line in the handler's form; nil: in ours
}

// Write keeps p, which is one line, for later. It fails if there is no room.
// After Close it writes p at once.
func (b *BufferedWriter) Write(p []byte) (int, error) {
	b.mu.Lock()
	if len(b.buf) > 0 && len(b.buf)+len(p) > b.size() {
		b.dropped++
		b.mu.Unlock()
		return 0, errBufferFull
	}
	b.buf = append(b.buf, p...)
	closed := b.closed
	switch {
	case closed || b.failing:
	case len(b.buf) >= b.size()/2:
		b.arm(0)
	case !b.armed:
		b.arm(b.interval())
	}
	b.mu.Unlock()
	if closed {
		return len(p), b.Flush()
	}
	return len(p), nil
}

// Dropped returns how many lines were dropped so far.
func (b *BufferedWriter) Dropped() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// Flush writes what is kept. It waits for a Write under way.
func (b *BufferedWriter) Flush() error {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	return b.flush()
}

// urgeWait is how long a record at ERROR waits to be out: what comes next may
// be the program's end. A healthy pipe takes microseconds.
const urgeWait = 50 * time.Millisecond

// urge flushes and waits for that, though not for long; or it has it done after
// the Write under way, if there is one.
func (b *BufferedWriter) urge() {
	if b.flushing.TryLock() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer b.flushing.Unlock()
			b.flush() //nolint:errcheck // reported by OnError
		}()
		t := time.NewTimer(urgeWait)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.arm(0)
	}
}

// Close writes what is kept and returns W's error, or the context's if that is
// done first; a hanging W then still has its Write. Later lines are written one
// by one. W is not closed.
func (b *BufferedWriter) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- b.Flush() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("logging: lines are left in the buffer: %w", ctx.Err())
	}
}

// flush is Flush for who holds flushing.
func (b *BufferedWriter) flush() error {
	b.mu.Lock()
	out := b.buf
	b.buf = b.spare[:0]
	b.armed, b.soon = false, false
	dropped, note := b.dropped, b.note // after what out holds
	b.mu.Unlock()

	n, err := writeAll(b.W, out)
	b.spare = b.keep(out[n:], out)
	if err == nil {
		err = b.report(dropped, note)
	}
	b.mu.Lock()
	b.failing = err != nil
	b.mu.Unlock()
	if err == nil {
		b.failures = 0
		return nil
	}
	err = fmt.Errorf("logging: write: %w", err)
	if b.failures++; b.failures == 1 && b.OnError != nil {
		b.OnError(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.arm(min(b.interval()<<min(b.failures, 8), maxRetry))
	}
	return err
}

// keep puts back rest, the end of out that W did not take, before what came
// meanwhile. It returns the buffer that is free.
func (b *BufferedWriter) keep(rest, out []byte) (free []byte) {
	if len(rest) == 0 {
		return out
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	came := b.buf
	if room := b.size() - len(rest); len(came) > room {
		end := bytes.LastIndexByte(came[:max(room, 0)], '\n') + 1
		b.dropped += int64(bytes.Count(came[end:], []byte("\n")))
		came = came[:end]
	}
	n := copy(out[:cap(out)], rest)
	free = b.buf
	b.buf = append(out[:n], came...)
	return free
}

// report says how many lines were dropped since the last time.
func (b *BufferedWriter) report(dropped int64, note func(int64) []byte) error {
	n := dropped - b.reported
	if n == 0 {
		return nil
	}
	line := fmt.Appendf(nil, "kumihimo: %d log lines were dropped\n", n)
	if note != nil {
		line = note(n)
	}
	took, err := writeAll(b.W, line)
	if took > 0 { // what is left of it must follow
		b.reported = dropped
		b.keep(line[took:], line)
	}
	return err
}

// arm sets the timer for who holds mu.
func (b *BufferedWriter) arm(d time.Duration) {
	if b.soon {
		return
	}
	b.armed, b.soon = true, d == 0
	if b.timer == nil {
		b.timer = time.AfterFunc(d, func() { b.Flush() }) //nolint:errcheck // reported by OnError
		return
	}
	b.timer.Reset(d)
}

func (b *BufferedWriter) size() int {
	if b.Size > 0 {
		return b.Size
	}
	return defaultBufferSize
}

func (b *BufferedWriter) interval() time.Duration {
	if b.Interval > 0 {
		return b.Interval
	}
	return defaultBufferInterval
}

// noteBy has drops reported in a handler's form: the first's, if several share
// b.
func (b *BufferedWriter) noteBy(note func(n int64) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.note == nil {
		b.note = note
	}
}

// writeAll writes p in one Write. A panic of the writer is an error of it.
func writeAll(w io.Writer, p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("panic: %s", fault.Printed(v))
		}
	}()
	if len(p) == 0 {
		return 0, nil
	}
	n, err = w.Write(p)
	n = min(max(n, 0), len(p))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}
