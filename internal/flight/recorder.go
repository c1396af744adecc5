package flight

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a [Recorder]; all must be set, Slow aside.
type Options struct {
	Level slog.Level // the lowest that is kept

	Records, Bytes int   // of one request; the oldest are forgotten
	TotalBytes     int64 // of all requests

	Slow      time.Duration // from which on a request is of interest; 0: none is for that
	PerSecond int           // requests whose records are written
}

// A Recorder makes flights and bounds them. It is safe for concurrent use.
type Recorder struct {
	opts    Options
	largest int // chunk
	chunks  chunks
	held    atomic.Int64 // bytes, of all flights

	written, lost, limited atomic.Int64 // records

	mu     sync.Mutex // guards the token bucket
	tokens float64
	filled time.Time
}

// New returns a Recorder.
func New(o Options) *Recorder {
	return &Recorder{opts: o, largest: largest(o.Bytes), tokens: float64(o.PerSecond)}
}

// Level is the lowest level that is kept.
func (r *Recorder) Level() slog.Level { return r.opts.Level }

// Stats is the account of a Recorder, in records.
type Stats struct {
	Written int64 // with their failed request
	Lost    int64 // forgotten for lack of room
	Limited int64 // not written because too many requests failed at a time
}

// Stats returns the account so far.
func (r *Recorder) Stats() Stats {
	return Stats{r.written.Load(), r.lost.Load(), r.limited.Load()}
}

// Begin returns a context that carries a new flight. The caller must call its
// End. A nil Recorder, and one that has a flight in ctx already, returns ctx
// and a Flight that does nothing.
func (r *Recorder) Begin(ctx context.Context) (context.Context, *Flight) {
	if r == nil {
		return ctx, nil
	}
	if f := From(ctx); f != nil && f.recorder == r {
		return ctx, nil
	}
	f := &Flight{Context: ctx, recorder: r, started: time.Now()}
	return f, f
}

// Of returns the flight of ctx that keeps records of level, or nil: there is
// none, or it is another recorder's.
func (r *Recorder) Of(ctx context.Context, level slog.Level) *Flight {
	if r == nil || level < r.opts.Level {
		return nil
	}
	if f := From(ctx); f != nil && f.recorder == r {
		return f
	}
	return nil
}

func (r *Recorder) reserve(n int) bool {
	if r.held.Add(int64(n)) <= r.opts.TotalBytes {
		return true
	}
	r.held.Add(-int64(n))
	return false
}

func (r *Recorder) release(c *chunk) {
	r.held.Add(-int64(cap(c.lines)))
	r.chunks.put(c)
}

// allow takes a token, of which PerSecond come in a second.
func (r *Recorder) allow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, rate := time.Now(), float64(r.opts.PerSecond)
	if !r.filled.IsZero() {
		r.tokens = min(r.tokens+now.Sub(r.filled).Seconds()*rate, rate)
	}
	r.filled = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

// withheld counts what f would have written, had there been a token.
func (r *Recorder) withheld(f *Flight) {
	if f.failed && !f.granted {
		r.limited.Add(int64(f.records))
	}
}
