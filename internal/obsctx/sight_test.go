package obsctx

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

type hostile struct{}

func (hostile) Error() string { return "hostile" }
func (hostile) Is(error) bool { panic("Is") }

type list []string

func (list) Error() string { return "list" }

func TestSight(t *testing.T) {
	t.Parallel()
	a, b := trace.SpanID{1}, trace.SpanID{2}
	wrapped := fmt.Errorf("x: %w", io.EOF)
	s := &Trace{} // of all steps, one after another
	for _, tt := range []struct {
		name         string
		err          error
		span         trace.SpanID
		fresh, first bool
	}{
		{"new", wrapped, a, true, true},
		{"again", wrapped, a, false, false},
		{"wrapped once more", fmt.Errorf("y: %w", wrapped), a, false, false},
		{"unwrapped", io.EOF, a, false, false},
		{"another span", wrapped, b, true, false},
		{"again there", errors.Join(io.ErrClosedPipe, wrapped), b, false, false},
		{"what wraps the same", fmt.Errorf("z: %w", io.EOF), b, true, true},
		{"another error", io.ErrUnexpectedEOF, b, true, true},
		{"one that panics", hostile{}, a, true, true},
		{"one that cannot be compared", list{"a"}, a, true, true},
		{"the same", list{"a"}, a, true, true},
	} {
		if fresh, first := s.Sight(tt.err, tt.span); fresh != tt.fresh || first != tt.first {
			t.Errorf("%s: got %t, %t, want %t, %t", tt.name, fresh, first, tt.fresh, tt.first)
		}
	}
}

// TestSightIsBounded: and forgets all at once.
func TestSightIsBounded(t *testing.T) {
	t.Parallel()
	s := &Trace{}
	for i := range 3 * maxSightings {
		if _, first := s.Sight(fmt.Errorf("%d", i), trace.SpanID{1}); !first {
			t.Fatalf("%d: not the first", i)
		}
		if n := s.sightings.Load().count; n > maxSightings {
			t.Fatalf("%d are remembered", n)
		}
	}
}

// TestSightAtOnce: of those who see an error at the same time one is the first.
func TestSightAtOnce(t *testing.T) {
	t.Parallel()
	for range 50 {
		s := &Trace{}
		var fresh, first atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				isFresh, isFirst := s.Sight(io.EOF, trace.SpanID{byte(i%2 + 1)})
				if isFresh {
					fresh.Add(1)
				}
				if isFirst {
					first.Add(1)
				}
			})
		}
		wg.Wait()
		if fresh.Load() != 2 || first.Load() != 1 {
			t.Fatalf("got %d fresh, %d first, want 2, 1", fresh.Load(), first.Load())
		}
	}
}
