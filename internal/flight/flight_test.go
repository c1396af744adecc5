package flight

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink keeps what is written.
type sink struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (s *sink) WriteLine(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, string(line))
}

func (s *sink) WriteNote(_ context.Context, n int64) { s.WriteLine(fmt.Appendf(nil, "lost %d", n)) }

func testOptions() Options {
	return Options{Level: slog.LevelDebug, Records: 100, Bytes: 4 << 10, TotalBytes: 1 << 20, PerSecond: 10}
}

func TestWrittenWhen(t *testing.T) {
	t.Parallel()
	keep := func(f *Flight, s Sink) { f.Add([]byte("a"), s); f.Add([]byte("b"), s) }
	for _, tt := range []struct {
		name string
		run  func(*Flight, Sink)
		want []string
	}{
		{"well", func(f *Flight, s Sink) { keep(f, s); f.End(false) }, nil},
		{"failed", func(f *Flight, s Sink) { keep(f, s); f.End(true) }, []string{"a", "b"}},
		{"triggered", func(f *Flight, s Sink) { keep(f, s); f.Trigger(); s.WriteLine([]byte("error")); f.End(false) }, []string{"a", "b", "error"}},
		{"and after", func(f *Flight, s Sink) { keep(f, s); f.Trigger(); f.Add([]byte("c"), s); f.End(false) }, []string{"a", "b", "c"}},
		{"twice", func(f *Flight, s Sink) { keep(f, s); f.End(true); f.End(true); f.Trigger() }, []string{"a", "b"}},
		{"too late", func(f *Flight, s Sink) { f.End(true); keep(f, s); f.Trigger() }, nil},
		{"slow", func(f *Flight, s Sink) { keep(f, s); time.Sleep(time.Second); f.End(false) }, []string{"a", "b"}},
		{"nearly slow", func(f *Flight, s Sink) { keep(f, s); time.Sleep(time.Second - 1); f.End(false) }, nil},
		{"another log's", func(f *Flight, s Sink) { keep(f, s); f.Add([]byte("x"), &sink{}); f.End(true) }, []string{"a", "b"}},
		{"nothing kept", func(f *Flight, _ Sink) { f.Trigger(); f.End(true) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := testOptions()
				o.Slow = time.Second
				r, s := New(o), &sink{}
				_, f := r.Begin(t.Context())
				tt.run(f, s)
				if !slices.Equal(s.lines, tt.want) {
					t.Errorf("got %q, want %q", s.lines, tt.want)
				}
				if held := r.held.Load(); held != 0 || f.chunks != nil || f.sink != nil {
					t.Errorf("retained: %d bytes, %v", held, f.chunks)
				}
			})
		})
	}
}

func TestNil(t *testing.T) {
	t.Parallel()
	var r *Recorder
	ctx, f := r.Begin(t.Context())
	f.Add(nil, nil)
	f.Trigger()
	f.End(true)
	if ctx != t.Context() || r.Of(ctx, slog.LevelError) != nil {
		t.Error("a nil recorder does something")
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	r, other := New(testOptions()), New(testOptions())
	ctx, f := r.Begin(t.Context())
	if r.Of(ctx, slog.LevelDebug) != f || r.Of(ctx, slog.LevelDebug-1) != nil || other.Of(ctx, slog.LevelError) != nil {
		t.Error("the context does not carry what it should")
	}
	f.Add([]byte("planted"), &sink{})
	if got := fmt.Sprintf("%v %+v", ctx, f); strings.Contains(got, "planted") || got != "flight flight" {
		t.Errorf("got %s", got)
	}
	if _, again := r.Begin(ctx); again != nil {
		t.Error("a flight within a flight")
	}
	f.End(false)
	if From(ctx) != nil {
		t.Error("the flight has not ended")
	}
	if _, next := r.Begin(ctx); next == nil {
		t.Error("no flight after the end of one")
	}
}

// TestBounds: the latest records stay, and are in order.
func TestBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	for _, tt := range []struct {
		name    string
		options func(*Options)
		add     int
	}{
		{"bytes", func(*Options) {}, 500},
		{"records", func(o *Options) { o.Records, o.Bytes = 8, 1<<20 }, 100},
		{"one record", func(o *Options) { o.Records = 1 }, 3},
		{"in all", func(o *Options) { o.TotalBytes = 3 << 10 }, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions()
			tt.options(&o)
			r, s := New(o), &sink{}
			_, f := r.Begin(t.Context())
			for i := range tt.add {
				f.Add(fmt.Appendf(nil, "%d %s", i, long), s)
				if f.bytes > o.Bytes || f.records > o.Records || r.held.Load() > o.TotalBytes || r.held.Load() != int64(f.bytes) {
					t.Fatalf("after %d: %d bytes (%d in all), %d records", i, f.bytes, r.held.Load(), f.records)
				}
			}
			f.End(true)
			n := len(s.lines) - 1
			if n < 1 || n > o.Records {
				t.Fatalf("got %d lines", n)
			}
			if want := fmt.Sprintf("lost %d", tt.add-n); s.lines[0] != want {
				t.Errorf("got %q, want %q", s.lines[0], want)
			}
			for i, line := range s.lines[1:] {
				if want := fmt.Sprintf("%d %s", tt.add-n+i, long); line != want {
					t.Errorf("line %d: got %q, want %q", i, line, want)
				}
			}
			if got, want := r.Stats(), (Stats{Written: int64(n), Lost: int64(tt.add - n)}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if r.held.Load() != 0 {
				t.Errorf("%d bytes retained", r.held.Load())
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	t.Parallel()
	o := testOptions()
	o.TotalBytes = 512
	r, s := New(o), &sink{}
	_, f := r.Begin(t.Context())
	f.Add([]byte("a"), s)
	f.Add(make([]byte, o.Bytes), s)
	f.End(true)
	if got, want := r.Stats(), (Stats{Lost: 2}); got != want || len(s.lines) != 0 {
		t.Errorf("got %+v, %q, want %+v", got, s.lines, want)
	}
}

// TestWrittenBytesAreBounded: an endless request that fails again and again.
func TestWrittenBytesAreBounded(t *testing.T) {
	t.Parallel()
	r, s := New(testOptions()), &sink{}
	_, f := r.Begin(t.Context())
	for range 1000 {
		f.Add(make([]byte, 100), s)
		f.Trigger()
	}
	f.End(true)
	written := 0
	for _, l := range s.lines {
		written += len(l)
	}
	if o := testOptions(); written > 2*o.Bytes || written < o.Bytes/2 {
		t.Errorf("got %d bytes, want about %d", written, o.Bytes)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := testOptions()
		o.PerSecond = 2
		r, s := New(o), &sink{}
		fail := func() {
			_, f := r.Begin(t.Context())
			f.Add([]byte("x"), s)
			f.Trigger()
			f.Add([]byte("y"), s)
			f.End(true)
		}
		for range 5 {
			fail()
		}
		if got, want := r.Stats(), (Stats{Written: 4, Limited: 6}); got != want {
			t.Errorf("at once: got %+v, want %+v", got, want)
		}
		time.Sleep(500 * time.Millisecond)
		fail()
		fail()
		if got, want := r.Stats(), (Stats{Written: 6, Limited: 8}); got != want {
			t.Errorf("after half a second: got %+v, want %+v", got, want)
		}
		if r.held.Load() != 0 {
			t.Errorf("%d bytes retained", r.held.Load())
		}
	})
}

// TestConcurrent: goroutines that outlive their request.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r, s := New(testOptions()), &sink{}
	var wg sync.WaitGroup
	for range 8 {
		ctx, f := r.Begin(t.Context())
		for range 4 {
			wg.Go(func() {
				for range 200 {
					r.Of(ctx, slog.LevelDebug).Add([]byte("line"), s)
				}
			})
		}
		wg.Go(f.Trigger)
		wg.Go(func() { f.End(true) })
	}
	wg.Wait()
	if r.held.Load() != 0 {
		t.Errorf("%d bytes retained", r.held.Load())
	}
}

// TestChunksAreWiped: what a request left is not to be found in memory.
func TestChunksAreWiped(t *testing.T) {
	t.Parallel()
	var p chunks
	c := p.get(firstChunk)
	c.lines = append(c.lines, "secret"...)
	all := c.lines[:cap(c.lines)]
	p.put(c)
	if strings.Contains(string(all), "secret") {
		t.Error("the chunk keeps its lines")
	}
	for size, want := range map[int]int{firstChunk: 0, 4 * firstChunk: 2, firstChunk + 1: -1, 512: -1, firstChunk << classes: -1} {
		if got := class(size); got != want {
			t.Errorf("class of %d: got %d, want %d", size, got, want)
		}
	}
	for n, want := range map[int]int{64 << 10: 16 << 10, 100_000: 16 << 10, 4 << 10: 1 << 10, 1 << 20: 256 << 10} {
		if got := largest(n); got != want {
			t.Errorf("largest of %d: got %d, want %d", n, got, want)
		}
	}
}
