package benchmarks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	ddchi "github.com/DataDog/dd-trace-go/contrib/go-chi/chi.v5/v2"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/mocktracer"
	"github.com/go-chi/httplog/v3"
	"github.com/riandyrn/otelchi"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

// told is what a middleware tells of one request.
type told struct {
	spans int
	name  string // the span's
	attrs map[string]string
	fails bool   // the span does
	log   string // all lines
	level string // of the access record
	code  string // its status
}

// servicePeers are the middlewares of a server whose behaviour is compared.
// What new returns second is called when all requests have ended.
var servicePeers = []struct {
	name string
	new  func(testing.TB) (func(http.Handler) http.Handler, func() told)
}{
	{"kumihimo", newKumihimoPeer},
	{"otelchi", func(testing.TB) (func(http.Handler) http.Handler, func() told) {
		rec, tp := recordingProvider()
		return otelchi.Middleware(service, otelchi.WithTracerProvider(tp), otelchi.WithPropagators(propagation.TraceContext{}),
			otelchi.WithRequestMethodInSpanName(true)), func() told { return tellSpans(rec) }
	}},
	{"otelhttp", func(testing.TB) (func(http.Handler) http.Handler, func() told) {
		rec, tp := recordingProvider()
		return otelhttp.NewMiddleware(service, otelhttp.WithTracerProvider(tp), otelhttp.WithPropagators(propagation.TraceContext{})),
			func() told { return tellSpans(rec) }
	}},
	{"dd-trace-go", func(tb testing.TB) (func(http.Handler) http.Handler, func() told) {
		mt := mocktracer.Start()
		tb.Cleanup(mt.Stop)
		return ddchi.Middleware(ddchi.WithService(service)), func() told { return tellDatadog(mt) }
	}},
	{"httplog", func(testing.TB) (func(http.Handler) http.Handler, func() told) {
		buf := &lines{}
		logger := slog.New(slog.NewJSONHandler(buf, &slog.HandlerOptions{ReplaceAttr: httplog.SchemaGCP.ReplaceAttr}))
		return httplog.RequestLogger(logger, &httplog.Options{Level: slog.LevelInfo, Schema: httplog.SchemaGCP}),
			func() told { return tellLog(buf.String()) }
	}},
}

// lines is a buffer for the goroutines of a server.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func recordingProvider() (*tracetest.SpanRecorder, *sdktrace.TracerProvider) {
	rec := tracetest.NewSpanRecorder()
	return rec, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
}

func newKumihimoPeer(tb testing.TB) (func(http.Handler) http.Handler, func() told) {
	rec, buf := tracetest.NewSpanRecorder(), &lines{}
	tel := newTelemetry(tb, obs.Options{LogWriter: buf, Sampler: sdktrace.AlwaysSample(), SpanProcessors: []sdktrace.SpanProcessor{rec}})
	return chiobs.Config{Provider: tel.TracerProvider(), Logger: tel.Logger()}.Middleware, func() told {
		t, l := tellSpans(rec), tellLog(buf.String())
		t.log, t.level, t.code = l.log, l.level, l.code
		return t
	}
}

// tellSpans takes attributes of the old conventions under their new names.
func tellSpans(rec *tracetest.SpanRecorder) told {
	ended := rec.Ended()
	t := told{spans: len(ended), attrs: make(map[string]string)}
	for _, s := range ended {
		t.name, t.fails = s.Name(), s.Status().Code == codes.Error
		for _, kv := range s.Attributes() {
			key := string(kv.Key)
			if key == "http.status_code" {
				key = "http.response.status_code"
			}
			t.attrs[key] = kv.Value.String()
		}
	}
	return t
}

func tellDatadog(mt mocktracer.Tracer) told {
	ended := mt.FinishedSpans()
	t := told{spans: len(ended), attrs: make(map[string]string)}
	for _, s := range ended {
		for key, v := range s.Tags() {
			t.attrs[key] = fmt.Sprint(v)
		}
		t.name = t.attrs["resource.name"]
		t.attrs["http.response.status_code"] = t.attrs["http.status_code"]
		t.fails = t.attrs["error.message"] != ""
	}
	return t
}

// tellLog finds the access record among the lines.
func tellLog(text string) told {
	t := told{log: text}
	for line := range strings.Lines(text) {
		var m struct {
			Severity    string
			HTTPRequest *struct{ Status int }
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.level = "not JSON"
			return t
		}
		if m.HTTPRequest != nil {
			t.level, t.code = m.Severity, fmt.Sprint(m.HTTPRequest.Status)
		}
	}
	return t
}
