package otlp

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
)

func marshal(m proto.Message) string {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// answer returns a fault with the given status, body and headers.
func answer(code int, body string, headers ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
		return true
	}
}

const protobuf = "application/x-protobuf"

// A badAnswer is one that delivers nothing, and what is said of it.
type badAnswer struct {
	name  string
	fault func(http.ResponseWriter, *http.Request) bool
	want  string
}

func badAnswers() []badAnswer {
	hang := func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true }
	reset := func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	datadog := func(w http.ResponseWriter, req *http.Request) bool { // only its /info tells
		if req.URL.Path == "/info" {
			return answer(200, `{"version":"7.60.0","endpoints":["/v0.4/traces"]}`)(w, req)
		}
		return answer(404, "404 page not found\n")(w, req)
	}
	return []badAnswer{
		{"401", answer(401, "who are you?"), `collector.test answers 401 Unauthorized: \"who are you?\"`},
		{"403", answer(403, "<html>no</html>", "Content-Type", "text/html"), "answers 403 Forbidden: an HTML page"},
		{"404", answer(404, "404 page not found\n", "Content-Type", "text/plain"), "no OTLP receiver listens at this path"},
		{"Datadog Agent", datadog, "a Datadog Agent listens there"},
		{"408", answer(408, ""), "408 Request Timeout: nothing"},
		{"429", answer(429, "", "Retry-After", "3"), "429 Too Many Requests"},
		{"500", answer(500, marshal(&status.Status{Message: "no memory"}), "Content-Type", protobuf), `500 Internal Server Error: \"no memory\"`},
		{"503", answer(503, `{"message":"not yet"}`, "Content-Type", "application/json"), `503 Service Unavailable: \"not yet\"`},
		{"redirect", answer(307, "", "Location", "https://login.test/"), "redirects are not followed"},
		{"captive page", answer(200, "<!DOCTYPE html><title>Log in</title>", "Content-Type", "text/html"), "is not a receiver's: an HTML page; no OTLP receiver listens there"},
		{"garbage", answer(200, "\xff\xff\xff\xff", "Content-Type", protobuf), "is not a receiver's: 4 bytes of protobuf"},
		{"text", answer(200, "OK", "Content-Type", "text/plain"), "is not a receiver's"},
		{"JSON of another", answer(200, "[1", "Content-Type", "application/json"), "is not a receiver's"},
		{"endless", answer(200, strings.Repeat("x", 1<<20), "Content-Type", protobuf), "is not a receiver's"},
		{"hang", hang, "context deadline exceeded"},
		{"reset", reset, "unexpected EOF"},
	}
}

// TestFaults: what a receiver fails to take waits, is said once, and arrives
// when it works again.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range badAnswers() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{})
				r.set(tt.fault)
				for range 60 {
					r.work("x")
					time.Sleep(time.Second)
				}
				s, l := r.balanced(t)
				if s.Spans.Sent != 0 || s.Spans.Dropped.Total() != 0 || s.Spans.Retries == 0 || s.Spans.Requests > 20 {
					t.Errorf("spans, while it fails: %+v", s.Spans)
				}
				if l.Sent != 0 || l.Dropped.Total() != 0 || l.Retries == 0 || l.Requests > 20 {
					t.Errorf("records, while it fails: %+v", l)
				}
				r.set(nil)
				time.Sleep(2 * time.Minute)
				if err := r.tel.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				s, l = r.balanced(t)
				if s.Spans.Sent != 120 || len(r.got("span")) != 120 {
					t.Errorf("spans, afterwards: %+v, %d arrived", s.Spans, len(r.got("span")))
				}
				if l.Sent != l.Emitted || int64(len(r.got("record"))) != l.Sent || l.Sent < 120 {
					t.Errorf("records, afterwards: %+v, %d arrived", l, len(r.got("record")))
				}
				for _, line := range []string{"span exporter does not take spans", "log exporter does not take records"} {
					if n := r.out.said(line, tt.want); len(n) != 1 || len(r.out.said(line)) != 1 {
						t.Errorf("said: %q, want once %q", r.out.said(line), tt.want)
					}
				}
				for _, line := range []string{"span exporter takes spans again", "log exporter takes records again"} {
					if n := r.out.said(line); len(n) != 1 {
						t.Errorf("said: %q", n)
					}
				}
			})
		})
	}
}

// TestRetryAfter: the receiver is left alone for as long as it asks.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(answer(429, "", "Retry-After", "60"))
		r.work("x")
		time.Sleep(59 * time.Second)
		if n, m := r.asked("/v1/traces"), r.asked("/v1/logs"); n != 1 || m != 1 {
			t.Errorf("%d and %d requests in 59 s", n, m)
		}
		r.set(nil)
		time.Sleep(5 * time.Second)
		if s, l := r.balanced(t); s.Spans.Sent != 2 || l.Queued != 0 {
			t.Errorf("after it: %+v, %+v", s.Spans, l)
		}
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRejected: what a receiver will never take is counted, and not sent again.
func TestRejected(t *testing.T) {
	t.Parallel()
	partial := func(w http.ResponseWriter, req *http.Request) bool {
		w.Header().Set("Content-Type", protobuf)
		if req.URL.Path == "/v1/traces" {
			io.WriteString(w, marshal(&coltrace.ExportTraceServiceResponse{PartialSuccess: &coltrace.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "too old"}}))
		} else {
			io.WriteString(w, marshal(&collogs.ExportLogsServiceResponse{PartialSuccess: &collogs.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "too old"}}))
		}
		return true
	}
	for _, tt := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		all   bool
		want  string // that is said
	}{
		{"400", answer(400, "bad span"), true, `400 Bad Request: \"bad span\"`},
		{"415", answer(415, ""), true, "it takes no http/protobuf"},
		{"partial", partial, false, "of a batch: "},
		{"partial, in JSON", answer(200, `{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}`, "Content-Type", "application/json"), false, `of a batch: \"too old\"`},
		{"partial, in numbers", answer(200, `{"partialSuccess":{"rejectedLogRecords":1,"errorMessage":"too old"}}`, "Content-Type", "application/json"), false, `of a batch: \"too old\"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{})
				if err := r.tel.Flush(t.Context()); err != nil { // the record of the start
					t.Fatal(err)
				}
				before := r.logs.Stats()
				r.set(tt.fault)
				r.work("x")
				time.Sleep(5 * time.Second)
				s, l := r.balanced(t)
				wantSpans, wantRecords := int64(1), before.Dropped.Rejected+1
				if tt.all {
					wantSpans, wantRecords = 2, before.Dropped.Rejected+2
				}
				if s.Spans.Requests != 1 || s.Spans.Dropped.Rejected != wantSpans || s.Spans.Sent != 2-wantSpans {
					t.Errorf("spans: %+v", s.Spans)
				}
				// Besides the two there is what is said of the failures.
				if l.Retries != 0 || l.Dropped.Rejected < wantRecords || l.Queued+l.InFlight != 0 {
					t.Errorf("records: %+v", l)
				}
				if lines := r.out.said("rejects", tt.want); len(lines) != 2 {
					t.Errorf("said: %q", lines)
				}
				r.set(nil)
				if err := r.tel.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestWarning: a partial success that rejects nothing is one.
func TestWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(answer(200, `{"partialSuccess":{"errorMessage":"use another path"}}`, "Content-Type", "application/json"))
		r.work("x")
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s, l := r.balanced(t); s.Spans.Sent != 2 || l.Sent != l.Emitted {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
	})
}

// TestTooLarge: what is too much at once is sent in parts, and what is too much
// alone is dropped.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(func(w http.ResponseWriter, req *http.Request) bool {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Error(err)
			}
			if len(body) > 4<<10 {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			req.Body = io.NopCloser(strings.NewReader(string(body)))
			return false
		})
		for range 100 {
			r.work("x")
		}
		r.work(strings.Repeat("long ", 1000))
		time.Sleep(5 * time.Second) // what is said of it is a record too
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s, l := r.balanced(t)
		if s.Spans.Sent != 200 || s.Spans.Dropped.TooLarge != 2 || len(r.got("span")) != 200 {
			t.Errorf("spans: %+v, %d arrived", s.Spans, len(r.got("span")))
		}
		if l.Dropped.TooLarge != 2 || l.Sent != l.Emitted-2 || int64(len(r.got("record"))) != l.Sent {
			t.Errorf("records: %+v, %d arrived", l, len(r.got("record")))
		}
	})
}

// TestInvalidUTF8: one byte that protobuf cannot carry costs no batch.
func TestInvalidUTF8(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.work("good")
		r.work("bad\xff")
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s, l := r.balanced(t); s.Spans.Sent != 4 || l.Sent != l.Emitted {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
		for _, kind := range []string{"span", "record"} {
			var texts []string
			for _, i := range r.got(kind) {
				texts = append(texts, i.text+" "+i.attrs["order.id"])
			}
			if all := strings.Join(texts, "\n"); !strings.Contains(all, "child bad� bad�") || !strings.Contains(all, "child good good") {
				t.Errorf("%ss: %s", kind, all)
			}
		}
	})
}

// TestQueueFull: records that wait take a bounded place, and the newest stay.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{QueueBytes: 20 << 10})
		r.set(answer(503, ""))
		for range 100 {
			r.work("x")
		}
		r.work("last")
		r.tel.Logger().Info(strings.Repeat("x", 21<<10))
		s, l := r.balanced(t)
		if l.QueueBytes > 20<<10 || l.Dropped.QueueFull < 150 || l.Dropped.TooLarge != 1 || s.Spans.Queued != 202 {
			t.Errorf("got %+v", l)
		}
		r.set(nil)
		time.Sleep(time.Minute)
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		r.balanced(t)
		records := r.got("record")
		found := false
		for _, i := range records {
			found = found || i.text == "WARN in child last"
		}
		if !found {
			t.Errorf("the newest is not among the %d that arrived", len(records))
		}
	})
}

// TestExpired: records do not wait for ever.
func TestExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(answer(503, ""))
		r.work("x")
		time.Sleep(maxAge + time.Minute)
		if s, l := r.balanced(t); l.Dropped.Expired < 2 || s.Spans.Dropped.Expired != 2 {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
		r.set(nil)
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestShutdown: a receiver that hangs delays nothing beyond the deadline, and
// what is left is counted.
func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(func(_ http.ResponseWriter, req *http.Request) bool { <-req.Context().Done(); return true })
		r.work("x")
		time.Sleep(3 * time.Second) // both are in flight
		began := time.Now()
		err := r.logs.Shutdown(within(t, time.Second))
		if err == nil || !strings.Contains(err.Error(), "log records were not delivered") || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if err := r.tel.Shutdown(within(t, time.Second)); err == nil {
			t.Error("no error of what was left")
		}
		r.work("late")
		s, l := r.balanced(t)
		if s.Spans.Dropped.Shutdown != 4 || l.Dropped.Shutdown != l.Emitted || l.QueueBytes != 0 {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
		if err := r.logs.ForceFlush(t.Context()); err != nil {
			t.Errorf("a flush afterwards: %v", err)
		}
	})
}

// TestShutdownTriesOnceMore: whatever the last attempt said, and however long the
// pause after it would be.
func TestShutdownTriesOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.set(answer(503, "", "Retry-After", "300"))
		r.work("x")
		time.Sleep(10 * time.Second)
		r.set(nil)
		began := time.Now()
		if err := r.tel.Shutdown(within(t, time.Second)); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if s, l := r.balanced(t); s.Spans.Sent != 2 || l.Sent != l.Emitted {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
	})
}
