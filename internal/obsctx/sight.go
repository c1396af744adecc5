package obsctx

import (
	"errors"

	"go.opentelemetry.io/otel/trace"
)

// maxSightings bounds what a trace remembers of its errors: a long-lived one
// forgets all when there are more, and then says one of them twice.
const maxSightings = 64

// A sighting is an error that a span has had. The list of them is immutable.
type sighting struct {
	err   error
	span  trace.SpanID
	next  *sighting
	count int
}

// Sight notes that span meets err. fresh reports whether it has not met it
// before, first whether no span of the trace has. An error is the same as one
// that it wraps, or is wrapped by: so it is recognised on its way up.
func (t *Trace) Sight(err error, span trace.SpanID) (fresh, first bool) {
	first = true
	var examined *sighting
	for {
		head := t.sightings.Load()
		for s := head; s != nil && s != examined; s = s.next {
			if !same(err, s.err) {
				continue
			}
			first = false
			if s.span == span {
				return false, false
			}
		}
		examined = head
		next := &sighting{err: err, span: span, next: head, count: 1}
		if head != nil {
			next.count += head.count
		}
		if next.count > maxSightings {
			next.next, next.count = nil, 1
		}
		if t.sightings.CompareAndSwap(head, next) {
			return true, first
		}
	}
}

// same runs without a lock: an error's own methods may do anything.
func same(a, b error) (same bool) {
	// Errors that cannot be compared, and Is methods, may panic.
	defer func() {
		if recover() != nil {
			same = false
		}
	}()
	return errors.Is(a, b) || errors.Is(b, a)
}
