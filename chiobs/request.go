package chiobs

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/flight"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/logging"
)

// request is all that one request needs, in one allocation: also the context
// by which its handlers find it, and the writer they get. It is never reused: a
// handler's goroutine may hold any of these for longer than the request lasts.
type request struct {
	context.Context // the middleware's own, with the caller's trace
	outlet
	*facts  // nil if nobody wants to know; report looks for those of late
	handler *handler
	routing *chi.Context    // nil without a router
	ctx     context.Context // carries the span
	r       *http.Request   // as handed to the next handler
	span    trace.Span
	flight  *flight.Flight // of the records that are withheld
	w       responseWriter
	holder  holder
	body    *countedBody          // nil if its length was declared
	late    atomic.Pointer[facts] // of an inner middleware that wants to know, maybe on another goroutine
}

// facts are what is known of a request before a handler can change it.
type facts struct {
	started           time.Time
	secure            bool
	peerPort          uint16 // 0 if unknown
	peer              string // the other end of the connection
	name              string // the method, or otherName
	host, path, query string
	record            logging.HTTPRequest
}

// Value returns what belongs to the request, besides what its outer context has.
// Routers ask for the routing context again and again.
func (q *request) Value(key any) any {
	switch {
	case q.routing != nil && key == any(chi.RouteCtxKey):
		return q.routing
	case key == any(requestKey{}):
		return q
	}
	return q.Context.Value(key)
}

// nobodyAsks reports whether the facts of a request are of no use.
func nobodyAsks(s *settings, o *outlet) bool {
	return o.disabled && s.Access >= AccessOff && s.OnStart == nil && len(s.onEnd) == 0
}

func newRequest(ctx context.Context, h *handler, w http.ResponseWriter, p pipeline) *request {
	var q *request
	if nobodyAsks(h.settings, &p.outlet) {
		q = new(request)
	} else {
		known := &struct {
			request
			facts
		}{}
		q = &known.request
		q.facts = &known.facts
	}
	q.Context, q.outlet, q.handler = ctx, p.outlet, h
	q.routing = h.routing(ctx)
	q.holder.settings = h.settings
	q.w.inner = w
	return q
}

// start starts the span, and makes the context and the request that the next
// handler gets.
func (q *request) start(r *http.Request, caller trace.SpanContext, recorder *flight.Recorder) {
	s := q.holder.settings
	if q.facts != nil {
		q.learn(q.facts, r)
		q.w.started.Store(&q.started)
		q.holder.added = q.appendAsked(s, r)
	}
	ctx := q.answerIDs(q.startSpan(r, caller), s, r)
	q.ctx, q.flight = recorder.Begin(ctx)
	q.r = r.WithContext(q.ctx)
	if r.ContentLength < 0 && r.Body != nil {
		q.body = &countedBody{ReadCloser: r.Body}
		q.r.Body = q.body
	}
	if s.FlushLast {
		q.handler.inFlight.Add(1)
	}
}

func (q *request) startSpan(r *http.Request, caller trace.SpanContext) (ctx context.Context) {
	tracer := q.handler.tracerOf(q.provider)
	if q.disabled {
		ctx, q.span = tracer.Start(q, "") // none starts
		return ctx
	}
	x := q.scratch()
	ctx, q.span = tracer.Start(q, q.name, q.startOptions(x, r, caller)...)
	q.done(x)
	return ctx
}

// scratch is where attributes are put together. OpenTelemetry's SDK copies what
// it gets, so that one may serve many requests. It is not emptied in between:
// that would cost as much as to fill it.
type scratch struct {
	attrs    [24]attribute.KeyValue
	options  [3]trace.SpanStartOption
	starting obsctx.StartAttributes
}

func (q *request) scratch() *scratch {
	if q.copies {
		if x, ok := q.handler.scratches.Get().(*scratch); ok {
			return x
		}
	}
	return new(scratch)
}

// done takes x back, if nobody can still have it.
func (q *request) done(x *scratch) {
	if q.copies {
		q.handler.scratches.Put(x)
	}
}

// learn notes the facts in f.
func (q *request) learn(f *facts, r *http.Request) {
	f.started = time.Now()
	s := q.handler.settings
	f.name = s.methodName(r.Method)
	f.peer, f.peerPort = peer(r.RemoteAddr)
	client, proxied := s.client(f.peer, r.Header)
	f.secure = isSecure(r)
	f.host = clean(hostOf(r, proxied))
	f.path = clean(r.URL.EscapedPath())
	f.query = clean(q.redactor.Query(r.URL.RawQuery))
	f.record = logging.HTTPRequest{
		Method:      clean(r.Method),
		RequestSize: max(r.ContentLength, 0),
		UserAgent:   clean(only(r.Header["User-Agent"])),
		RemoteIP:    client,
		Referer:     clean(q.redactor.URL(only(r.Header["Referer"]))),
		Protocol:    r.Proto,
	}
}

// countedBody counts what is read of a body of unknown length.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// finish is deferred around the next handler. A panic ends in a 500 if nothing
// was written, else in http.ErrAbortHandler, which makes the server cut the
// answer off so that the client does not take it for whole.
func (q *request) finish() {
	p := recover()
	e := q.end(p)
	defer q.leave()
	defer func() { q.report(e, p) }() // must happen even if what follows panics
	switch {
	case p == nil:
	case e.exception != nil && q.handler.settings.Repanic:
		panic(p)
	case e.exception == nil || q.w.status != 0:
		panic(http.ErrAbortHandler)
	default:
		http.Error(&q.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// report ends the span and then logs: what is logged at ERROR after that can
// no longer become an event of the span, which has it already.
func (q *request) report(e ending, p any) {
	defer q.flight.End(e.failed)
	if q.facts == nil {
		q.facts = q.late.Load()
	}
	if q.facts == nil {
		q.holder.seal()
		q.span.End()
		if e.exception != nil {
			q.logPanic(e.exception)
		}
		return
	}
	now := time.Now()
	q.record.Latency = now.Sub(q.started)
	if q.body != nil {
		q.record.RequestSize += q.body.n.Load()
	}
	route := routeOf(q.ctx, q.r, q.w.status)
	s := q.holder.current()
	if len(s.onEnd) > 0 {
		o := q.outcome(e, route)
		if e.exception != nil {
			o.Panic = p
		}
		for _, h := range s.onEnd {
			q.add(h.onEnd(q.r, o, q.logger))
		}
	}
	if len(s.responseHeaders) > 0 {
		q.add(appendHeaders(nil, s.responseHeaders, q.w.Header()))
	}
	added, lost := q.holder.seal()

	var buf [256]byte
	t := q.texts(buf[:0], e, route)
	q.endSpan(e, t.name, route)
	if e.exception != nil {
		q.logPanic(e.exception)
	}
	q.logAccess(access{settings: s, ending: e, texts: t, route: route, at: now, added: added, lost: lost})
}

func (q *request) outcome(e ending, route string) Outcome {
	return Outcome{
		Status: e.status, Route: route, ErrorType: e.errorType,
		RequestSize: q.record.RequestSize, ResponseSize: q.w.bytes,
		Duration: q.record.Latency, FirstByte: q.w.firstByte, Hijacked: q.w.hijacked,
	}
}

// texts are parts of one string, which is one allocation.
type texts struct {
	name    string // of the span
	message string // of the record; it begins with the name
	url     string // the requested one as far as it is known behind a proxy, without secrets
}

func (q *request) texts(b []byte, e ending, route string) texts {
	b = append(b, q.name...)
	if route != "" {
		b = append(append(b, ' '), route...)
	}
	name := len(b)
	if e.status != 0 {
		b = strconv.AppendInt(append(b, ' '), int64(e.status), 10)
	}
	if e.aborted {
		b = append(b, " aborted"...)
	}
	message := len(b)
	if q.host != "" {
		b = append(append(append(b, q.scheme()...), "://"...), q.host...)
	}
	b = append(b, q.path...)
	if q.query != "" {
		b = append(append(b, '?'), q.query...)
	}
	s := string(b)
	return texts{s[:name], s[:message], s[message:]}
}

func (q *request) endSpan(e ending, name, route string) {
	defer q.span.End()
	if q.disabled || !q.span.IsRecording() {
		return
	}
	// A handler that has named the span knows better.
	if s, ok := q.span.(interface{ Name() string }); !ok || s.Name() == q.name {
		q.span.SetName(name)
	}
	x := q.scratch()
	q.span.SetAttributes(q.endAttributes(x, e, route)...)
	q.done(x)
	if e.exception != nil {
		e.exception.addTo(q.ctx, q.span)
		q.span.SetStatus(codes.Error, e.exception.message)
	} else if e.failed {
		q.span.SetStatus(codes.Error, "")
	}
}
