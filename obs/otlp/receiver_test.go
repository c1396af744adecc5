package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/kumihimo/kumihimo/obs"
)

// item is a span or a record as a receiver gets it.
type item struct {
	kind, trace, span, parent, text string
	resource, attrs                 map[string]string
}

// receiver decodes what is posted to it. It is an http.RoundTripper too, which
// needs no connection and so works in a bubble of synctest.
type receiver struct {
	t *testing.T

	mu       sync.Mutex                                    // guards what follows
	fault    func(http.ResponseWriter, *http.Request) bool // true: it has answered, and nothing was taken
	items    []item
	requests []*http.Request
}

func (r *receiver) set(fault func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// got returns what was taken of a kind, in the order of arrival.
func (r *receiver) got(kind string) (items []item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.items {
		if i.kind == kind {
			items = append(items, i)
		}
	}
	return items
}

// asked returns the number of requests for a path.
func (r *receiver) asked(path string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range r.requests {
		if req.URL.Path == path {
			n++
		}
	}
	return n
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	var panicked any
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		r.ServeHTTP(w, req)
	}()
	select {
	case <-done:
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if panicked != nil { // as of a connection that is closed without an answer
		return nil, io.ErrUnexpectedEOF
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	fault := r.fault
	r.mu.Unlock()
	if fault != nil && fault(w, req) {
		return
	}
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			r.t.Errorf("%s: %v", req.URL.Path, err)
			return
		}
		body = z
	}
	data, err := io.ReadAll(body)
	if err != nil {
		r.t.Errorf("%s: %v", req.URL.Path, err)
	}
	items, answer := r.decode(req, data)
	r.mu.Lock()
	r.items = append(r.items, items...)
	r.mu.Unlock()
	b, err := proto.Marshal(answer)
	if err != nil {
		r.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(b)
}

func (r *receiver) decode(req *http.Request, data []byte) (items []item, answer proto.Message) {
	switch {
	case req.Header.Get("Content-Type") != "application/x-protobuf":
		r.t.Errorf("content type %q", req.Header.Get("Content-Type"))
	case strings.HasSuffix(req.URL.Path, "/v1/traces"):
		var m coltrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(data, &m); err != nil {
			r.t.Error(err)
		}
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					items = append(items, item{"span", hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId), hex.EncodeToString(s.ParentSpanId), s.Name, attrs(rs.Resource.GetAttributes()), attrs(s.Attributes)})
				}
			}
		}
		return items, &coltrace.ExportTraceServiceResponse{}
	case strings.HasSuffix(req.URL.Path, "/v1/logs"):
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(data, &m); err != nil {
			r.t.Error(err)
		}
		for _, rl := range m.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				for _, l := range sl.LogRecords {
					items = append(items, item{"record", hex.EncodeToString(l.TraceId), hex.EncodeToString(l.SpanId), "", l.SeverityText + " " + l.Body.GetStringValue(), attrs(rl.Resource.GetAttributes()), attrs(l.Attributes)})
				}
			}
		}
		return items, &collogs.ExportLogsServiceResponse{}
	default:
		r.t.Errorf("request to %s", req.URL)
	}
	return nil, &tracepb.Status{}
}

func attrs(kvs []*common.KeyValue) map[string]string {
	m := make(map[string]string)
	for _, kv := range kvs {
		m[kv.Key] = kv.Value.GetStringValue()
	}
	return m
}

// rig is a whole pipeline whose spans and records go to one receiver.
type rig struct {
	*receiver
	tel  *obs.Telemetry
	logs *LoggerProvider
	out  *output
}

// output is where kumihimo's own records are printed too.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// said returns the lines that contain all parts.
func (o *output) said(parts ...string) (lines []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range strings.Lines(o.buf.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{receiver: &receiver{t: t}, out: &output{}}
	if o.HTTPClient == nil && o.Endpoint == "" { // no connection needed
		o.HTTPClient = &http.Client{Transport: r.receiver}
		o.Endpoint = "http://collector.test"
	}
	spans, err := NewTraceExporter(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.logs, err = NewLoggerProvider(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.tel, err = obs.New(context.Background(), obs.Options{
		Service: "shop", Env: "prod", Version: "1.2", LogFormat: "text", LogWriter: r.out,
		SpanExporter: spans, LoggerProvider: r.logs,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// work makes a trace of two spans, and a record in each.
func (r *rig) work(text string) {
	ctx, root := r.tel.TracerProvider().Tracer("test").Start(context.Background(), "root "+text)
	r.tel.Logger().InfoContext(ctx, "in root "+text)
	child, span := obs.Start(ctx, "child "+text, slog.String("order.id", text))
	r.tel.Logger().WarnContext(child, "in child "+text, "order.id", text)
	span.End(nil)
	root.End()
}

// balanced checks both accounts, and returns them.
func (r *rig) balanced(t *testing.T) (obs.Stats, LogStats) {
	t.Helper()
	s, l := r.tel.Stats(), r.logs.Stats()
	if n := s.Spans; n.Started != n.Open+n.Forgotten+n.Ended || n.Ended != n.Sent+n.Dropped.Total()+n.Queued+n.InFlight {
		t.Errorf("the spans' account does not add up: %+v", n)
	}
	if l.Emitted != l.Sent+l.Dropped.Total()+l.Queued+l.InFlight {
		t.Errorf("the records' account does not add up: %+v", l)
	}
	return s, l
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// stub is one ended span.
func stub() []sdktrace.ReadOnlySpan {
	return tracetest.SpanStubs{{Name: "stub", SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	})}}.Snapshots()
}
