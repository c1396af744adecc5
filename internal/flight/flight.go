// Package flight is the flight recorder: it keeps the records of a request
// that the log's filter withholds, rendered, and has them written when the
// request turns out to be of interest. What went well leaves no trace.
//
// Read flight.go for what is kept of one request, recorder.go for what bounds
// all of them, chunk.go for the memory.
package flight

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink is a log that takes lines it has rendered itself.
type Sink interface {
	// WriteLine writes a line that a flight kept.
	WriteLine(line []byte)

	// WriteNote writes that n records before those that follow were not kept.
	WriteNote(ctx context.Context, n int64)
}

// A Flight keeps the withheld records of one request. It is safe for
// concurrent use; all methods of a nil Flight do nothing. It is never reused:
// goroutines outlive their requests, and their contexts carry it.
type Flight struct {
	context.Context // with which the request began

	recorder *Recorder
	started  time.Time
	ended    atomic.Bool // set under mu

	writing sync.Mutex // held from taking lines to having written them, so that they stay in order

	mu      sync.Mutex // guards what follows
	sink    Sink       // of the first line; other logs' lines are not kept
	chunks  []*chunk   // oldest first
	records int        // in chunks
	bytes   int        // capacity of chunks
	lost    int64      // records not kept since the last ones were written
	written int        // bytes
	granted bool       // its lines may be written, as far as the rate goes
	failed  bool       // what comes until its end is of interest too

	first [8]*chunk // storage of chunks
}

// lengthSize is the size of the length before each line.
const lengthSize = 4

type key struct{}

// Value implements context.Context.
func (f *Flight) Value(k any) any {
	if k == (key{}) {
		return f
	}
	return f.Context.Value(k)
}

// String keeps who prints the context from reading what the lock guards.
func (f *Flight) String() string { return "flight" }

// From returns the flight of ctx that has not ended, or nil.
func From(ctx context.Context) *Flight {
	if f, ok := ctx.Value(key{}).(*Flight); ok && !f.ended.Load() {
		return f
	}
	return nil
}

// Add keeps line, for sink to write should it come to that. It copies line.
func (f *Flight) Add(line []byte, sink Sink) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended.Load() {
		return
	}
	if f.sink == nil {
		f.sink = sink
	}
	if f.sink != sink {
		return
	}
	if !f.room(lengthSize + len(line)) {
		f.lost++
		f.recorder.lost.Add(1)
		return
	}
	c := f.chunks[len(f.chunks)-1]
	c.lines = binary.BigEndian.AppendUint32(c.lines, uint32(len(line)))
	c.lines = append(c.lines, line...)
	c.records++
	f.records++
}

// room makes the last chunk one that has room for n bytes.
func (f *Flight) room(n int) bool {
	o := &f.recorder.opts
	if n > o.Bytes || f.written > o.Bytes {
		return false
	}
	if f.records >= o.Records {
		f.forget()
	}
	last := len(f.chunks) - 1
	if last >= 0 {
		c := f.chunks[last]
		if cap(c.lines)-len(c.lines) >= n && c.records < max(o.Records/chunksAtLeast, 1) {
			return true
		}
	}
	size := firstChunk
	if last >= 0 {
		size = 2 * cap(f.chunks[last].lines)
	}
	size = max(min(size, f.recorder.largest), n)
	for f.bytes+size > o.Bytes || !f.recorder.reserve(size) {
		if len(f.chunks) == 0 {
			return false
		}
		f.forget()
	}
	if f.chunks == nil {
		f.chunks = f.first[:0]
	}
	f.chunks = append(f.chunks, f.recorder.chunks.get(size))
	f.bytes += size
	return true
}

// forget drops the oldest chunk.
func (f *Flight) forget() {
	c := f.chunks[0]
	copy(f.chunks, f.chunks[1:])
	f.chunks[len(f.chunks)-1] = nil
	f.chunks = f.chunks[:len(f.chunks)-1]
	f.records -= c.records
	f.bytes -= cap(c.lines)
	f.lost += int64(c.records)
	f.recorder.lost.Add(int64(c.records))
	f.recorder.release(c)
}

// Trigger has written what was kept so far, and at the end what comes after.
func (f *Flight) Trigger() {
	if f == nil {
		return
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	var out cargo
	if !f.ended.Load() {
		f.failed = true
		out = f.take()
	}
	f.mu.Unlock()
	f.write(out)
}

// End ends the flight: what was kept is written if the request failed, was
// slow, or was of interest before, and is gone otherwise. Further calls do
// nothing.
func (f *Flight) End(failed bool) {
	if f == nil {
		return
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	if f.ended.Load() {
		f.mu.Unlock()
		return
	}
	slow := f.recorder.opts.Slow
	f.failed = f.failed || failed || slow > 0 && time.Since(f.started) >= slow
	var out cargo
	if f.failed {
		out = f.take()
	}
	f.ended.Store(true)
	f.drop()
	f.mu.Unlock()
	f.write(out)
}

// cargo is what is to be written.
type cargo struct {
	sink   Sink
	chunks []*chunk
	lost   int64
}

// take returns what was kept, if it may be written.
func (f *Flight) take() cargo {
	if f.records == 0 {
		return cargo{}
	}
	if !f.granted {
		if f.granted = f.recorder.allow(); !f.granted {
			return cargo{}
		}
	}
	out := cargo{f.sink, append([]*chunk(nil), f.chunks...), f.lost}
	for _, c := range f.chunks {
		f.written += len(c.lines)
	}
	clear(f.chunks)
	f.chunks, f.records, f.bytes, f.lost = nil, 0, 0, 0
	return out
}

func (f *Flight) write(out cargo) {
	if out.sink == nil {
		return
	}
	if out.lost > 0 {
		out.sink.WriteNote(f, out.lost)
	}
	var n int64
	for _, c := range out.chunks {
		for b := c.lines; len(b) > 0; {
			end := lengthSize + int(binary.BigEndian.Uint32(b))
			out.sink.WriteLine(b[lengthSize:end:end])
			b = b[end:]
			n++
		}
		f.recorder.release(c)
	}
	f.recorder.written.Add(n)
}

// drop lets go of everything that was kept.
func (f *Flight) drop() {
	f.recorder.withheld(f)
	for _, c := range f.chunks {
		f.recorder.release(c)
	}
	clear(f.first[:])
	f.chunks, f.records, f.bytes, f.sink = nil, 0, 0, nil
}
