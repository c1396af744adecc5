package chiobs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/obs/logging"
)

// request is all that one request needs, in one allocation. It is never
// reused: a handler's goroutine may hold the writer for longer than the
// request lasts.
type request struct {
	pipeline
	ctx     context.Context // carries the span
	r       *http.Request   // as handed to the next handler
	span    trace.Span
	flight  *flight.Flight // of the records that are withheld
	w       responseWriter
	started time.Time

	// What is known of the request before a handler can change it.
	name                      string // the method, or otherName
	scheme, host, path, query string
	record                    logging.HTTPRequest

	returned bool // the next handler did return

	options [3]trace.SpanStartOption // storage
	attrs   [3]attribute.KeyValue    // storage
}

func newRequest(w http.ResponseWriter, r *http.Request, p pipeline) *request {
	ip, _ := peer(r.RemoteAddr)
	q := &request{
		pipeline: p,
		started:  time.Now(),
		name:     methodName(r.Method),
		scheme:   schemeOf(r),
		host:     clean(r.Host),
		path:     clean(r.URL.EscapedPath()),
		query:    clean(p.redactor.Query(r.URL.RawQuery)),
		record: logging.HTTPRequest{
			Method:      clean(r.Method),
			RequestSize: max(r.ContentLength, 0),
			UserAgent:   clean(r.UserAgent()),
			RemoteIP:    ip,
			Referer:     clean(p.redactor.URL(r.Referer())),
			Protocol:    r.Proto,
		},
	}
	q.w.inner = w
	return q
}

// An ending is how a request ended.
type ending struct {
	// status is the record's: what was answered, 499 if the client had gone,
	// 500 if the handler broke off by accident (the client then sees a broken
	// answer, whatever its status), 0 if it broke off on purpose before
	// answering.
	status int

	// errorType is the span's error.type, or "".
	errorType string

	failed    bool       // the span's status is Error
	aborted   bool       // the handler broke off on purpose
	exception *exception // the panic's
}

// statusClientGone is nginx's status of a request whose client did not wait.
const statusClientGone = 499

// finish is deferred around the next handler. A panic ends in a 500 if nothing
// was written, else in http.ErrAbortHandler, which makes the server cut the
// answer off so that the client does not take it for whole.
func (q *request) finish() {
	p := recover()
	e := q.end(p)
	defer func() { q.report(e) }() // must happen even if what follows panics
	switch {
	case p == nil:
	case e.exception == nil || q.w.status != 0:
		panic(http.ErrAbortHandler)
	default:
		http.Error(&q.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (q *request) end(p any) ending {
	switch {
	case p != nil && p != any(http.ErrAbortHandler):
		x := newException(p, q.redactor)
		return ending{status: http.StatusInternalServerError, errorType: x.kind, failed: true, exception: x}
	case p == nil && !q.returned:
		return ending{status: http.StatusInternalServerError, errorType: "runtime.Goexit", failed: true}
	case q.clientGone():
		// No failure of the service, as no 4xx is.
		return ending{status: statusClientGone, errorType: "client_closed_request", aborted: p != nil}
	case p != nil:
		return ending{status: q.w.status, aborted: true}
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

// report ends the span and then logs: what is logged at ERROR after that can
// no longer become an event of the span, which has it already.
func (q *request) report(e ending) {
	defer q.flight.End(e.failed)
	q.record.Latency = time.Since(q.started)
	route := routeOf(q.ctx, q.r, q.w.status)
	name := q.name
	if route != "" {
		name += " " + route
	}
	q.endSpan(e, name, route)
	if e.exception != nil {
		q.logPanic(e.exception)
	}
	q.logAccess(e, name, route)
}

func (q *request) endSpan(e ending, name, route string) {
	defer q.span.End()
	if !q.span.IsRecording() {
		return
	}
	// A handler that has named the span knows better.
	if s, ok := q.span.(interface{ Name() string }); !ok || s.Name() == q.name {
		q.span.SetName(name)
	}
	kvs := q.attrs[:0]
	if route != "" {
		kvs = append(kvs, semconv.HTTPRouteKey.String(route))
	}
	if q.w.status != 0 {
		kvs = append(kvs, semconv.HTTPResponseStatusCodeKey.Int(q.w.status))
	}
	if e.errorType != "" {
		kvs = append(kvs, semconv.ErrorTypeKey.String(e.errorType))
	}
	q.span.SetAttributes(kvs...)
	if e.exception != nil {
		e.exception.addTo(q.ctx, q.span)
		q.span.SetStatus(codes.Error, e.exception.message)
	} else if e.failed {
		q.span.SetStatus(codes.Error, "")
	}
}
