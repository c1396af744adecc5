package ddagent

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// rejectsSpan answers 400 to payloads that have one of the names.
func rejectsSpan(names ...string) faultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) bool {
		for _, name := range names {
			if bytes.Contains(body, []byte(name)) {
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
		}
		return false
	}
}

// TestOneSpanIsRejected: of a payload that the agent cannot decode it alone is
// lost, wherever it stands, and it is found with few requests.
func TestOneSpanIsRejected(t *testing.T) {
	t.Parallel()
	const traces, children = 200, 40
	tests := []struct {
		name string
		bad  []int // of the traces: spans of their own
		in   []int // of the children of one trace among them
		most int64 // requests
	}{
		{"the first", []int{0}, nil, 24},
		{"the last", []int{traces - 1}, nil, 24},
		{"one in the middle", []int{77}, nil, 24},
		{"two side by side", []int{77, 78}, nil, 32},
		{"two apart", []int{3, 150}, nil, 40},
		{"one of a trace", nil, []int{13}, 40},
		{"one of a trace, and another", []int{150}, []int{0}, 60},
	}
	for i, tt := range append(tests, tests...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				if i >= len(tests) {
					r.agent.speak("v1", true)
				}
				r.agent.set(rejectsSpan("poison"))
				named := func(s trace.Span, bad bool) {
					if bad {
						s.SetName("poison")
					}
					s.End()
				}
				is := func(in []int, n int) bool { return bytes.Contains([]byte(list(in)), []byte(list([]int{n}))) }
				for n := range traces {
					if n == traces/2 && tt.in != nil {
						ctx, root, _ := r.trace(keepIt)
						for k := range children {
							_, s := r.provider.Tracer("t").Start(ctx, "child")
							named(s, is(tt.in, k))
						}
						root.End()
					}
					_, s, _ := r.trace(keepIt)
					named(s, is(tt.bad, n))
				}
				total := traces
				if tt.in != nil {
					total += children + 1
				}
				r.flushed()
				bad := int64(len(tt.bad) + len(tt.in))
				s := r.check(total)
				if s.Dropped.Rejected != bad || s.Dropped.Total() != bad || s.Sent != int64(total)-bad || s.QueueBytes != 0 {
					t.Errorf("of %d spans %d are bad: %+v", total, bad, s)
				}
				if s.Requests > tt.most {
					t.Errorf("%d requests, want at most %d", s.Requests, tt.most)
				}
				for id, n := range r.agent.ids() {
					if n != 1 {
						t.Errorf("span %d was accepted %d times", id, n)
					}
				}
				r.agent.set(nil) // and all is as before
				before := s.Requests
				for range traces {
					_, s, _ := r.trace(keepIt)
					s.End()
				}
				r.flushed()
				if s := r.check(total + traces); s.Requests != before+1 {
					t.Errorf("%d requests for the next payload", s.Requests-before)
				}
				r.stop()
			})
		})
	}
}

// list prints numbers so that none is part of another.
func list(numbers []int) (s string) {
	for _, n := range numbers {
		s += "<" + strconv.Itoa(n) + ">"
	}
	return s
}

// TestEverythingIsRejected: an agent that takes nothing costs a few requests
// more, once, and is reported once.
func TestEverythingIsRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.set(status(400))
		for range 100 {
			for range 200 {
				_, s, _ := r.trace(keepIt)
				s.End()
			}
			time.Sleep(3 * time.Second)
		}
		time.Sleep(time.Minute)
		if s := r.check(100 * 200); s.Dropped.Rejected != 100*200 || s.Requests > 100+2*maxStrikes {
			t.Errorf("%+v", s)
		}
		if n := len(r.logs.records); n != 1 {
			t.Errorf("%d reports, want 1", n)
		}
		r.agent.set(nil)
		_, s, _ := r.trace(keepIt)
		s.End()
		r.flushed()
		if s := r.check(100*200 + 1); s.Sent != 1 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}
