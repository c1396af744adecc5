package ddagent

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// limitless is a provider that lets a program do what it wants.
func (r *rig) limitless() trace.Tracer {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.proc), sdktrace.WithResource(resource.Empty()),
		sdktrace.WithIDGenerator(&counterIDs{n: 1 << 32}),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{AttributeValueLengthLimit: -1, AttributeCountLimit: -1,
			EventCountLimit: -1, LinkCountLimit: -1, AttributePerEventCountLimit: -1, AttributePerLinkCountLimit: -1})).Tracer("t")
}

// TestBadSpans ends a span that nobody should make between two ordinary ones.
// It arrives, cut down if it must be, and its neighbours unharmed.
func TestBadSpans(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 12<<20)
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	tests := []struct {
		name  string
		spoil func(trace.Span)
		begin time.Time // zero: now
		last  time.Time
		check func(t *testing.T, s span)
	}{
		{name: "100,000 attributes", spoil: func(s trace.Span) {
			kvs := make([]attribute.KeyValue, 100_000)
			for i := range kvs {
				kvs[i] = attribute.String("key."+strconv.Itoa(i), "value that takes some room")
			}
			s.SetAttributes(kvs...)
		}, check: func(t *testing.T, s span) {
			left := s.metrics()[keyTruncated].(float64)
			if n := len(s.meta()); n < 10_000 || float64(n)+left < 100_000 {
				t.Errorf("%d attributes arrived, %v are said to be left out", n, left)
			}
		}},
		{name: "10,000 events", spoil: func(s trace.Span) {
			for range 10_000 {
				s.AddEvent("event", trace.WithAttributes(attribute.String("k", strings.Repeat("v", 1000))))
			}
		}, check: func(t *testing.T, s span) {
			if n := len(s["span_events"].([]any)); n < 100 || n >= 10_000 {
				t.Errorf("%d events arrived", n)
			}
		}},
		{name: "10,000 links", spoil: func(s trace.Span) {
			for range 10_000 {
				s.AddLink(trace.Link{SpanContext: s.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("k", strings.Repeat("v", 1000))}})
			}
		}, check: func(t *testing.T, s span) {
			if n := len(s["span_links"].([]any)); n < 100 || n >= 10_000 {
				t.Errorf("%d links arrived", n)
			}
		}},
		{name: "a tag of 12 MB", spoil: func(s trace.Span) { s.SetAttributes(attribute.String("k", long)) }, check: func(t *testing.T, s span) {
			if n := len(s.meta()["k"].(string)); n != maxValue {
				t.Errorf("%d bytes of the tag arrived", n)
			}
		}},
		{name: "a key of 12 MB", spoil: func(s trace.Span) { s.SetAttributes(attribute.String(long, "v")) }, check: func(t *testing.T, s span) {
			if s.meta()[long[:maxKey]] != "v" {
				t.Error("the key is gone")
			}
		}},
		{name: "a name of 12 MB", spoil: func(s trace.Span) { s.SetName(long) }, check: func(t *testing.T, s span) {
			if n := len(s["resource"].(string)); n != maxResource {
				t.Errorf("%d bytes of the name arrived", n)
			}
		}},
		{name: "a status of 12 MB", spoil: func(s trace.Span) { s.SetStatus(codes.Error, long) }, check: func(t *testing.T, s span) {
			if n := len(s.meta()["error.message"].(string)); n != maxValue {
				t.Errorf("%d bytes of the message arrived", n)
			}
		}},
		{name: "an array of a million", spoil: func(s trace.Span) { s.SetAttributes(attribute.Int64Slice("k", make([]int64, 1_000_000))) }, check: func(t *testing.T, s span) {
			if s.metrics()["k.0"] != 0.0 {
				t.Error("nothing of the array arrived")
			}
		}},
		{name: "NaN and infinities", spoil: func(s trace.Span) {
			s.SetAttributes(attribute.Float64("nan", math.NaN()), attribute.Float64("inf", math.Inf(1)), attribute.Float64Slice("list", []float64{math.NaN(), 1}))
		}, check: func(t *testing.T, s span) {
			for k, v := range s.metrics() {
				if f := v.(float64); math.IsNaN(f) || math.IsInf(f, 0) {
					t.Errorf("%s = %v arrived", k, f)
				}
			}
		}},
		{name: "a negative duration", last: year(1990), check: func(t *testing.T, s span) {
			if d := s["duration"].(uint64); d != 0 {
				t.Errorf("duration %d", d)
			}
		}},
		{name: "year 1970", begin: time.Unix(0, 0), check: started(2000, 2262)},
		{name: "year 1", begin: year(1), check: started(2000, 2262)},
		{name: "year 9999", begin: year(9999), last: year(9999), check: started(2000, 2262)},
		{name: "from year 1 to 9999", begin: year(1), last: year(9999), check: started(1999, 2262)},
		{name: "empty names", spoil: func(s trace.Span) {
			s.SetName("")
			s.SetAttributes(attribute.String("", "v"), attribute.String("service.name", ""), attribute.String("operation.name", ""), attribute.String("resource.name", ""), attribute.String("span.type", ""))
			s.AddEvent("")
		}, check: func(t *testing.T, s span) {
			if s["service"] == "" || s["name"] == "" || s["type"] == "" {
				t.Errorf("service %q, name %q, type %q", s["service"], s["name"], s["type"])
			}
		}},
		{name: "no UTF-8 anywhere", spoil: func(s trace.Span) {
			bad := "a\xff\xfeb"
			s.SetName(bad)
			s.SetAttributes(attribute.String(bad, bad), attribute.String("service.name", bad), attribute.StringSlice("k", []string{bad}))
			s.AddEvent(bad, trace.WithAttributes(attribute.String(bad, bad)))
			s.SetStatus(codes.Error, bad)
		}, check: func(*testing.T, span) {}},
	}
	for i, tt := range append(tests, tests...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				if i >= len(tests) { // the second time in v1.0
					r.agent.speak("v1", true)
				}
				_, before, _ := r.trace(keepIt)
				before.End()
				opts := []trace.SpanStartOption{}
				if !tt.begin.IsZero() {
					opts = append(opts, trace.WithTimestamp(tt.begin))
				}
				_, bad := r.limitless().Start(context.Background(), "bad", opts...)
				if tt.spoil != nil {
					tt.spoil(bad)
				}
				if tt.last.IsZero() {
					bad.End()
				} else {
					bad.End(trace.WithTimestamp(tt.last))
				}
				_, after, _ := r.trace(keepIt)
				after.End()
				r.flushed()
				if s := r.check(3); s.Sent != 3 {
					t.Errorf("%+v", s)
				}
				id := bad.SpanContext().SpanID()
				for _, c := range r.agent.chunks() {
					if c[0].id() == be64(id[:]) {
						tt.check(t, c[0])
					}
				}
				r.stop()
			})
		})
	}
}

func started(from, to int) func(*testing.T, span) {
	return func(t *testing.T, s span) {
		start, duration := s["start"].(uint64), s["duration"].(uint64)
		if start > math.MaxInt64 || duration > math.MaxInt64-start {
			t.Fatalf("start %d, duration %d overflow", start, duration)
		}
		if y := time.Unix(0, int64(start)).UTC().Year(); y < from || y > to {
			t.Errorf("it began in %d", y)
		}
	}
}

// TestHugeTrace ends 200,000 spans of one trace, far faster than any agent could
// take them; a million take five times as long and show the same. Memory stays
// within the queue's bytes, and each span is sent or counted.
func TestHugeTrace(t *testing.T) {
	n := 200_000
	if raceEnabled || testing.Short() {
		n = 20_000
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 4 << 20
		r := newRig(t, Options{QueueBytes: limit}, ProcessorOptions{})
		r.agent.speak("v1", true)
		ctx, root, _ := r.trace(keepIt)
		tracer := r.provider.Tracer("t")
		for i := range n {
			_, child := tracer.Start(ctx, "child")
			child.End()
			if i%10_000 == 0 {
				if used := r.exporter.Stats().QueueBytes; used > limit*11/10 {
					t.Fatalf("%d bytes are queued, of %d", used, limit)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		root.End()
		r.flushed()
		s := r.check(n + 1)
		if other := s.Dropped.Total() - s.Dropped.QueueFull; s.Sent < 10_000 || other != 0 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		for _, c := range r.agent.chunks() {
			if len(c) > 2000 {
				t.Fatalf("a chunk of %d spans", len(c))
			}
		}
		r.stop()
	})
}

// TestBadAgents answer as no agent should. What they have not taken for certain
// waits; when a good one stands there it arrives, once.
func TestBadAgents(t *testing.T) {
	t.Parallel()
	drip := func(head, body string, every time.Duration) faultFunc {
		return hijacked(func(c net.Conn) {
			io.WriteString(c, head)
			for _, b := range []byte(body) {
				time.Sleep(every)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		})
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
	tests := []struct {
		name  string
		fault faultFunc
	}{
		{"garbage for HTTP", hijacked(func(c net.Conn) { io.WriteString(c, "\x16\x03\x01garbage\r\n\r\n") })},
		{"garbage for a body", answerWith(200, "\x00\xff\xfe{{{")},
		{"half a body", hijacked(func(c net.Conn) { io.WriteString(c, head+`{"rate_by_service":{"service:`) })},
		{"half a header", hijacked(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") })},
		{"1 B/s", drip(head, strings.Repeat(" ", 1000), time.Second)},
		{"a header at 1 B/s", drip("", head, time.Second)},
		{"never", hang},
		{"closes at once", reset},
		{"an endless body", func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) bool {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return true
				}
			}
		}},
		{"rates that are none", answerWith(200, `{"rate_by_service":[1,2,3]}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				r.agent.set(tt.fault)
				for range 100 {
					_, span, _ := r.trace(keepIt)
					span.End()
				}
				time.Sleep(5 * time.Minute)
				if s := r.check(100); s.Sent != 0 || s.Dropped.Total() != 0 || s.Queued+s.InFlight != 100 || s.Requests < 5 || s.Requests > 60 {
					t.Errorf("after five minutes: %+v", s)
				}
				if n := len(r.logs.records); n != 1 {
					t.Errorf("%d reports in five minutes, want 1", n)
				}
				r.agent.set(nil)
				time.Sleep(2 * time.Minute)
				if s := r.check(100); s.Sent != 100 {
					t.Errorf("with a good agent: %+v", s)
				}
				for id, n := range r.agent.ids() {
					if n != 1 {
						t.Errorf("span %d was accepted %d times", id, n)
					}
				}
				r.stop()
				time.Sleep(time.Hour) // what still drips, ends
			})
		})
	}
}

// TestTransportThatPanics costs attempts, not the process.
func TestTransportThatPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		var r *rig
		var good http.RoundTripper
		r = newRig(t, Options{HTTPClient: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if broken.Load() {
				panic("a bug")
			}
			return good.RoundTrip(req)
		})}}, ProcessorOptions{})
		good = r.agent.client(t).Transport
		_, span, _ := r.trace(keepIt)
		span.End()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := r.check(1); s.Queued != 1 || s.Retries == 0 {
			t.Errorf("%+v", s)
		}
		broken.Store(false)
		time.Sleep(time.Minute)
		if s := r.check(1); s.Sent != 1 {
			t.Errorf("%+v", s)
		}
		checkReports(t, r.logs, true)
		r.stop()
	})
}
