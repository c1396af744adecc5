package logging

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A sink is a writer that can be made to fail, to take a part, and to hang.
type sink struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
	err    error
	take   int           // with err: bytes of each Write that are taken
	hang   chan struct{} // not nil: a Write waits for it
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.err != nil {
		n := min(s.take, len(p))
		s.buf.Write(p[:n])
		return n, s.err
	}
	return s.buf.Write(p)
}

func (s *sink) set(err error, take int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.take = err, take
}

func (s *sink) state() (text string, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String(), s.writes
}

func numbered(from, to int) (s string) {
	for i := from; i < to; i++ {
		s += fmt.Sprintf("line %04d\n", i) // ten bytes
	}
	return s
}

func put10(t *testing.T, b *BufferedWriter, from, to int) (failed int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := io.WriteString(b, numbered(i, i+1)); errors.Is(err, errBufferFull) {
			failed++
		} else if err != nil {
			t.Error(err)
		}
	}
	return failed
}

// TestBufferedTimer: lines wait for the interval and leave in one Write.
func TestBufferedTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		b := &BufferedWriter{W: out}
		for round := range 3 {
			put10(t, b, 10*round, 10*round+10)
			time.Sleep(defaultBufferInterval - 1)
			synctest.Wait()
			if text, writes := out.state(); writes != round || text != numbered(0, 10*round) {
				t.Errorf("round %d: %d writes before the interval's end: %q", round, writes, text)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if text, writes := out.state(); writes != round+1 || text != numbered(0, 10*round+10) {
				t.Errorf("round %d: %d writes at the interval's end: %q", round, writes, text)
			}
		}
		time.Sleep(time.Hour)
		if _, writes := out.state(); writes != 3 {
			t.Errorf("%d writes of an idle writer, want 3", writes)
		}
	})
}

// TestBufferedSteady: lines that keep coming do not put off the timer.
func TestBufferedSteady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		b := &BufferedWriter{W: out}
		for i := range 50 {
			put10(t, b, i, i+1)
			time.Sleep(defaultBufferInterval * 3 / 5)
		}
		if _, writes := out.state(); writes != 25 {
			t.Errorf("%d writes in 30 intervals of two lines each, want 25", writes)
		}
	})
}

// TestBufferedHalfFull: a busy writer does not wait for the timer.
func TestBufferedHalfFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		b := &BufferedWriter{W: out, Size: 200, Interval: time.Hour}
		for i := 0; i < 500; i += 10 {
			put10(t, b, i, i+10)
			synctest.Wait()
		}
		if text, writes := out.state(); text != numbered(0, 500) || writes != 50 || b.Dropped() != 0 {
			t.Errorf("%d writes, %d dropped, %d bytes", writes, b.Dropped(), len(text))
		}
	})
}

// TestBufferedError: a record at ERROR is out when the call returns, with what
// came before it.
func TestBufferedError(t *testing.T) {
	t.Parallel()
	for _, newHandler := range []func(io.Writer, *Options) slog.Handler{NewHandler, NewTextHandler} {
		synctest.Test(t, func(t *testing.T) {
			out := &sink{}
			logger := slog.New(newHandler(&BufferedWriter{W: out}, nil))
			logger.Info("one")
			logger.Warn("two")
			if text, _ := out.state(); text != "" {
				t.Errorf("written at once: %s", text)
			}
			logger.Error("three")
			text, writes := out.state()
			if i, j, k := strings.Index(text, "one"), strings.Index(text, "two"), strings.Index(text, "three"); i < 0 || j < i || k < j || writes != 1 {
				t.Errorf("%d writes: %s", writes, text)
			}
		})
	}
}

// TestBufferedErrorHanging: a record at ERROR does not wait for a Write that
// hangs, whoever began it.
func TestBufferedErrorHanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{hang: make(chan struct{})}
		b := &BufferedWriter{W: out}
		logger := slog.New(NewHandler(b, nil))
		began := time.Now()
		for range 3 {
			logger.Error("m")
		}
		if waited := time.Since(began); waited != urgeWait {
			t.Errorf("waited %v, want %v once", waited, urgeWait)
		}
		close(out.hang)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if text, _ := out.state(); strings.Count(text, "\n") != 3 {
			t.Errorf("got %s", text)
		}
	})
}

// TestBufferedHanging: nobody waits for a Write that hangs; what does not fit
// is dropped, and counted, and said when the sink works again.
func TestBufferedHanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{hang: make(chan struct{})}
		var lost int
		b := &BufferedWriter{W: out, Size: 8 << 10}
		logger := slog.New(NewHandler(b, &Options{Service: "shop", OnError: func(error) { lost++ }}))
		logger.Info("first")
		time.Sleep(defaultBufferInterval) // the Write of it hangs
		synctest.Wait()
		const records = 1000
		for i := range records {
			logger.Error("m", "i", i) // does not wait either
		}
		if lost == 0 || int64(lost) != b.Dropped() {
			t.Fatalf("OnError says %d are lost, Dropped %d", lost, b.Dropped())
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := b.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: got %v, want the context's error", err)
		}
		close(out.hang)
		synctest.Wait()
		text, _ := out.state()
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		lines[len(lines)-1] += "\n"
		note := decode(t, []byte(lines[len(lines)-1]))
		if len(lines) != 1+records-lost+1 || fmt.Sprint(note["dropped"]) != fmt.Sprint(lost) || note["severity"] != "WARNING" || note["dd.service"] != "shop" {
			t.Errorf("%d lines of %d with %d lost, then %v", len(lines), records, lost, note)
		}
		logger.Info("after Close")
		if text, _ := out.state(); !strings.Contains(text, "after Close") {
			t.Error("a line after Close does not leave at once")
		}
	})
}

// TestBufferedFailing: while the sink fails, lines are kept as far as there is
// room and it is tried ever more rarely; then they come out whole and in
// order.
func TestBufferedFailing(t *testing.T) {
	t.Parallel()
	for _, take := range []int{0, 3, 10, 15} {
		t.Run(fmt.Sprint(take, " bytes taken"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				out := &sink{}
				var reported []error
				b := &BufferedWriter{W: out, Size: 1000, OnError: func(err error) { reported = append(reported, err) }}
				full := errors.New("no space left on device")
				out.set(full, take)
				put10(t, b, 0, 20)
				time.Sleep(defaultBufferInterval)
				synctest.Wait()
				out.set(full, 0)
				_, before := out.state()
				failed := 0
				for i := 20; i < 200; i += 10 { // more than there is room for
					failed += put10(t, b, i, i+10)
					synctest.Wait()
				}
				if _, writes := out.state(); writes != before {
					t.Errorf("tried %d times for lines that came", writes-before)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				_, writes := out.state()
				if writes < 8 || writes > 30 {
					t.Errorf("tried %d times in a minute", writes)
				}
				if len(reported) != 1 || !errors.Is(reported[0], full) {
					t.Errorf("reported: %v, want one", reported)
				}
				out.set(nil, 0)
				time.Sleep(maxRetry)
				synctest.Wait()
				dropped := b.Dropped()
				if int64(failed) > dropped || dropped < 90 {
					t.Errorf("%d Writes failed, %d dropped", failed, dropped)
				}
				want := numbered(0, 200-int(dropped)) + fmt.Sprintf("kumihimo: %d log lines were dropped\n", dropped)
				if text, _ := out.state(); text != want {
					t.Errorf("got\n%s\nwant\n%s", text, want)
				}
				again := put10(t, b, 0, 103)
				if err := b.Flush(); err != nil {
					t.Error(err)
				}
				want += numbered(0, 100) + "kumihimo: 3 log lines were dropped\n"
				if text, _ := out.state(); text != want || again != 3 {
					t.Errorf("a second time: %d dropped, got\n%s", again, text)
				}
				out.set(full, 0)
				put10(t, b, 0, 1)
				if err := b.Flush(); !errors.Is(err, full) || len(reported) != 2 {
					t.Errorf("failing again: %v, reported %v", err, reported)
				}
			})
		})
	}
}

// TestBufferedFailsWhileFilling: what a Write did not take goes before what
// came meanwhile, of which the last has to go.
func TestBufferedFailsWhileFilling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{hang: make(chan struct{})}
		b := &BufferedWriter{W: out, Size: 1000}
		put10(t, b, 0, 40)
		time.Sleep(defaultBufferInterval) // the Write of these hangs
		synctest.Wait()
		if failed := put10(t, b, 40, 140); failed != 0 {
			t.Errorf("%d of a hundred did not fit", failed)
		}
		out.set(errors.New("no space"), 105) // ends within the eleventh line
		close(out.hang)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		out.set(nil, 0)
		time.Sleep(maxRetry)
		synctest.Wait()
		// 295 bytes of the first forty are left, which leaves room for 70 lines.
		want := numbered(0, 110) + "kumihimo: 30 log lines were dropped\n"
		if text, _ := out.state(); text != want || b.Dropped() != 30 {
			t.Errorf("%d dropped, got\n%s", b.Dropped(), text)
		}
	})
}

// TestBufferedNote: drops are said in the form of the handler.
func TestBufferedNote(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		new  func(io.Writer, *Options) slog.Handler
		want string
	}{
		{NewHandler, `"message":"log lines were dropped: the writer was too slow, or failed","dropped":2}` + "\n"},
		{NewTextHandler, "WARN  log lines were dropped: the writer was too slow, or failed  dropped=2\n"},
	} {
		out := &sink{}
		b := &BufferedWriter{W: out, Size: 20, soon: true} // no timer empties it before the last line
		logger := slog.New(tt.new(b, nil))
		for range 3 {
			logger.Info("a message longer than the buffer")
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
		if text, _ := out.state(); !strings.HasSuffix(text, tt.want) || strings.Count(text, "\n") != 2 {
			t.Errorf("got %s, want it to end in %s", text, tt.want)
		}
	}
}

// TestBufferedTornNote: a note that was written in part is ended before
// anything else is written.
func TestBufferedTornNote(t *testing.T) {
	t.Parallel()
	out := &sink{}
	b := &BufferedWriter{Size: 20, Interval: time.Hour, soon: true, W: writerFunc(func(p []byte) (int, error) {
		full := bytes.HasPrefix(p, []byte("kumihimo: 3"))
		if full {
			out.set(errors.New("no space"), 12)
		}
		n, err := out.Write(p)
		out.set(nil, 0)
		return n, err
	})}
	if failed := put10(t, b, 0, 5); failed != 3 {
		t.Fatalf("%d failed, want 3", failed)
	}
	if err := b.Flush(); err == nil {
		t.Error("no error of a note half written")
	}
	put10(t, b, 5, 6)
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
	want := numbered(0, 2) + "kumihimo: 3 log lines were dropped\n"
	if text, _ := out.state(); !strings.HasPrefix(text, want) {
		t.Errorf("got\n%s", text)
	}
}

// TestBufferedClose: Close writes what is left, twice is as good as once, and
// no timer stays.
func TestBufferedClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		b := &BufferedWriter{W: out}
		put10(t, b, 0, 3)
		for range 2 {
			if err := b.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		put10(t, b, 3, 5)
		if text, _ := out.state(); text != numbered(0, 5) {
			t.Errorf("got %q", text)
		}
	})
}

// TestBufferedPanic: a panic of the sink is an error, and no lock stays held.
func TestBufferedPanic(t *testing.T) {
	t.Parallel()
	b := &BufferedWriter{W: writerFunc(func([]byte) (int, error) { panic("writer") })}
	put10(t, b, 0, 1)
	for range 2 {
		if err := b.Flush(); err == nil || err.Error() != "logging: write: panic: writer" {
			t.Errorf("got %v", err)
		}
	}
}

// TestBufferedLongLine: a line longer than the whole buffer passes if there is
// no other.
func TestBufferedLongLine(t *testing.T) {
	t.Parallel()
	out := &sink{}
	b := &BufferedWriter{W: out, Size: 10, Interval: time.Hour}
	long := strings.Repeat("x", 100) + "\n"
	if _, err := io.WriteString(b, long); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	if text, _ := out.state(); text != long {
		t.Errorf("got %q", text)
	}
}

// TestBufferedConcurrent: every line that was taken comes out once and whole.
func TestBufferedConcurrent(t *testing.T) {
	t.Parallel()
	out := &sink{}
	b := &BufferedWriter{W: out, Size: 4 << 10, Interval: time.Millisecond}
	logger := slog.New(NewHandler(b, nil))
	const goroutines, records = 8, 300
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range records {
				if level := slog.LevelInfo; i%7 == 0 {
					logger.Log(context.Background(), slog.LevelError, "m", "g", g, "i", i)
				} else {
					logger.Log(context.Background(), level, "m", "g", g, "i", i)
				}
			}
		})
	}
	wg.Wait()
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	text, _ := out.state()
	for l := range strings.Lines(text) {
		m := decode(t, []byte(l))
		if key := fmt.Sprint(m["g"], m["i"]); m["dropped"] == nil {
			if seen[key] {
				t.Fatalf("twice: %s", l)
			}
			seen[key] = true
		}
	}
	if got := int64(len(seen)) + b.Dropped(); got != goroutines*records {
		t.Errorf("%d came out and %d were dropped, want %d in all", len(seen), b.Dropped(), goroutines*records)
	}
}

// TestBufferedAllocs: once both buffers have grown, a line costs nothing.
func TestBufferedAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector")
	}
	b := &BufferedWriter{W: io.Discard, Interval: time.Hour}
	h := NewHandler(b, nil)
	r := record(slog.LevelInfo, "m", slog.Int("k", 1))
	log := func() {
		for range 100 {
			h.Handle(context.Background(), r) //nolint:errcheck // to io.Discard
		}
		b.Flush() //nolint:errcheck // to io.Discard
	}
	log()
	log()
	if got := testing.AllocsPerRun(20, log); got != 0 {
		t.Errorf("%v allocations in 100 records, want 0", got)
	}
}
