package chiobs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
)

// An ending is how a request ended.
type ending struct {
	status    int    // see Outcome
	errorType string // see Outcome

	failed    bool       // the span's status is Error
	aborted   bool       // the handler broke off on purpose
	exception *exception // the panic's
}

// statusClientGone is nginx's status of a request whose client did not wait.
const statusClientGone = 499

// errorTimeout is the error.type of a request that was not answered in the time
// a middleware further out gave it.
const errorTimeout = "timeout"

func (q *request) end(p any) ending {
	switch {
	case p != nil && p != any(http.ErrAbortHandler):
		x := newException(p, q.redactor)
		return ending{status: http.StatusInternalServerError, errorType: x.kind, failed: true, exception: x}
	case p == nil && !q.w.returned:
		return ending{status: http.StatusInternalServerError, errorType: "runtime.Goexit", failed: true}
	case q.clientGone():
		// No failure of the service, as no 4xx is.
		return ending{status: statusClientGone, errorType: "client_closed_request", aborted: p != nil}
	case p != nil:
		return ending{status: q.w.status, aborted: true}
	case q.w.tooLate:
		return ending{status: http.StatusServiceUnavailable, errorType: errorTimeout, failed: true}
	case q.w.status == 0 && errors.Is(q.ctx.Err(), context.DeadlineExceeded):
		// Whoever set the deadline answers, as it would not with nothing to say.
		return ending{status: http.StatusGatewayTimeout, errorType: errorTimeout, failed: true}
	}
	q.w.decide(http.StatusOK) // net/http's answer where the handler has none
	e := ending{status: q.w.status}
	if e.status >= 500 {
		e.errorType, e.failed = strconv.Itoa(e.status), true
	}
	return e
}

// clientGone reports whether the connection was closed before the answer was
// complete: while the handler runs, nothing else cancels a request's context.
func (q *request) clientGone() bool {
	return errors.Is(q.ctx.Err(), context.Canceled) && !q.w.hijacked && !q.w.complete()
}
