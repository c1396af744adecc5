package chiobs

import (
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Config says how requests are traced and logged. The zero value suits a
// service behind others of the same owner; see Trust for one that faces the
// internet.
//
// Where middlewares of one provider stand around each other, the inner one
// refines the outer one: there is one span and one record. What the inner
// Config sets of Skip (which then leaves out the record alone), Logger, Access,
// AccessLevel and Slow replaces what the outer one says; its headers, tags and
// hooks come besides; the other fields are the outer one's to set. Two that say
// the same are a mistake that is reported once, at WARN.
type Config struct {
	// Provider makes the spans, and names the pipeline they belong to if it
	// is one of obs. Nil is OpenTelemetry's global one, looked up at each
	// request, so that the middleware may be made before obs.Init.
	Provider trace.TracerProvider

	// Logger takes the access records. Nil is the pipeline's logger, without
	// a pipeline slog.Default().
	Logger *slog.Logger

	// Trust says what the trace a caller sends is good for.
	Trust Trust

	// TrustedProxies are the addresses of the proxies in front of the service.
	// If the connection comes from one of them, the client is the last address
	// of X-Forwarded-For that is none of them, and X-Forwarded-Host is the host.
	// A connection without an address, as a unix socket's, counts as trusted.
	// Without proxies the client is the other end of the connection, whatever
	// headers it sends. On Cloud Run the connection comes from 169.254.0.0/16.
	TrustedProxies []netip.Prefix

	// Skip reports requests that get neither a span nor an access record,
	// such as health checks. The trace they came with (from a trusted caller)
	// still shows in logs and goes out with outgoing requests. Nil skips none.
	Skip func(*http.Request) bool

	// Methods are known besides those of RFC 9110, PATCH and QUERY. Others
	// are _OTHER, lest a caller invent span names.
	Methods []string

	// RequestHeaders and ResponseHeaders name headers to be recorded, as
	// http.request.header.<name> and http.response.header.<name>. Secret ones
	// are redacted.
	RequestHeaders, ResponseHeaders []string

	// RequestID is the header of a request's id, "X-Request-Id". It is answered
	// with, and stands as http.request_id on the span and every record of the
	// request. It is the caller's own if that is trusted and sends up to 128
	// visible ASCII characters, else the trace's id. "" is no such header.
	RequestID string

	// TraceResponse answers with the ids of the span, in the headers
	// traceresponse and Server-Timing, of which browsers show the latter.
	TraceResponse bool

	// BaggageTags are the keys of the caller's baggage that become tags,
	// baggage.<key>, of the span and the access record.
	BaggageTags []string

	// OnStart returns further attributes of the span and the access record. It
	// is called before the span starts, so that samplers see them. OnEnd does
	// so when the request has ended, before the span does. A hook that panics
	// is reported, once, and the request is served.
	OnStart func(*http.Request) []slog.Attr
	OnEnd   func(*http.Request, Outcome) []slog.Attr

	// Access says which requests get an access record.
	Access Access

	// AccessLevel is the level of a record by the request's status (see
	// Outcome). Nil: ERROR for 5xx, WARN for 4xx and for an answer that was
	// broken off before it began, else INFO.
	AccessLevel func(status int) slog.Level

	// Slow is from when on a request is slow. 0 is one second.
	Slow time.Duration

	// Repanic hands a handler's panic on, recorded, to a middleware further
	// out, which then has to answer.
	Repanic bool

	// FlushLast sends the telemetry before the last request in flight returns,
	// which takes that request up to 300 ms more. It is for instances that have
	// a CPU only while they serve, Cloud Run's default. When that fails it is
	// not tried again for 10 s.
	FlushLast bool
}

// Access says which requests get an access record. Each value includes what
// those after it include. The cost of each is in docs/access-logs.md.
type Access int

const (
	// AccessAll is every request's.
	AccessAll Access = iota

	// AccessSampled is AccessSlow's, and those of requests whose trace is kept.
	AccessSampled

	// AccessSlow is AccessErrors's, and those of requests that took Config.Slow.
	AccessSlow

	// AccessErrors is the records at ERROR and above.
	AccessErrors

	// AccessOff is none. What panicked is still logged, as a record of its own.
	AccessOff
)

// An Outcome is what became of a request.
type Outcome struct {
	// Status is what was answered, 500 if the handler panicked whatever it had
	// answered, 499 if the client had gone, 503 or 504 if a middleware further
	// out had run out of patience, 0 if the handler broke off before answering.
	Status int

	// Route is the pattern the request was routed by, or "".
	Route string

	// ErrorType is the span's error.type, or "".
	ErrorType string

	// RequestSize is that of the body as declared, else as read; both sizes are
	// in bytes.
	RequestSize, ResponseSize int64

	// Duration is that of the request; FirstByte is when the answer began, 0 if
	// it did not.
	Duration, FirstByte time.Duration

	// Panic is the value of the handler's panic, or nil.
	Panic any

	// Hijacked says that the handler took the connection over.
	Hijacked bool
}

// defaultSlow is a second, after which people notice that they wait.
const defaultSlow = time.Second

// settings are a Config made ready. They are read only once made.
type settings struct {
	Config
	requestHeaders, responseHeaders []header
	onEnd                           []*handler // outermost first
}

func newSettings(c Config, h *handler) *settings {
	s := &settings{Config: c}
	s.TrustedProxies, s.Methods, s.BaggageTags = slices.Clone(c.TrustedProxies), slices.Clone(c.Methods), slices.Clone(c.BaggageTags)
	s.requestHeaders = headersOf("http.request.header.", c.RequestHeaders)
	s.responseHeaders = headersOf("http.response.header.", c.ResponseHeaders)
	if s.Slow <= 0 {
		s.Slow = defaultSlow
	}
	if c.OnEnd != nil {
		s.onEnd = []*handler{h}
	}
	return s
}

// refined returns s with what inner says otherwise.
func (s *settings) refined(inner *settings, skip bool) *settings {
	m := *s
	if inner.Logger != nil {
		m.Logger = inner.Logger
	}
	if inner.Access != AccessAll {
		m.Access = inner.Access
	}
	if skip {
		m.Access = AccessOff
	}
	if inner.AccessLevel != nil {
		m.AccessLevel = inner.AccessLevel
	}
	if inner.Slow != defaultSlow {
		m.Slow = inner.Slow
	}
	m.responseHeaders = slices.Concat(s.responseHeaders, inner.responseHeaders)
	m.onEnd = slices.Concat(s.onEnd, inner.onEnd)
	return &m
}

// says reports whether a and b say the same. Their providers have been
// compared; functions are the same if their code is.
func (c *Config) says(d *Config) bool {
	code := func(f any) uintptr { return reflect.ValueOf(f).Pointer() }
	return c.Logger == d.Logger && c.Trust == d.Trust && c.RequestID == d.RequestID && c.TraceResponse == d.TraceResponse &&
		c.Access == d.Access && c.Slow == d.Slow && c.Repanic == d.Repanic && c.FlushLast == d.FlushLast &&
		slices.Equal(c.TrustedProxies, d.TrustedProxies) && slices.Equal(c.Methods, d.Methods) &&
		slices.Equal(c.RequestHeaders, d.RequestHeaders) && slices.Equal(c.ResponseHeaders, d.ResponseHeaders) &&
		slices.Equal(c.BaggageTags, d.BaggageTags) &&
		code(c.Skip) == code(d.Skip) && code(c.OnStart) == code(d.OnStart) && code(c.OnEnd) == code(d.OnEnd) &&
		code(c.AccessLevel) == code(d.AccessLevel)
}
