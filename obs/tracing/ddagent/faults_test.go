package ddagent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

type faultFunc func(w http.ResponseWriter, r *http.Request, n int, body []byte) bool

func status(code int, header ...string) faultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

func answerWith(code int, body string) faultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) bool {
		w.WriteHeader(code)
		io.WriteString(w, body)
		return true
	}
}

// hijacked gives f the connection.
func hijacked(f func(c net.Conn)) faultFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) bool {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		f(c)
		c.Close()
		return true
	}
}

var reset = hijacked(func(net.Conn) {})

func hang(_ http.ResponseWriter, r *http.Request, _ int, _ []byte) bool {
	<-r.Context().Done()
	return true
}

const portal = `<!DOCTYPE html><html><body>Please sign in</body></html>`

// TestFaults sends 400 traces in 4 s to an agent that fails for the first 3 s,
// and compares the account with what the agent has. With -v it prints both.
func TestFaults(t *testing.T) {
	t.Parallel()
	accounts := newAccounts(t)
	tests := []struct {
		name  string
		fault faultFunc // during the first 3 s
		want  Dropped
		some  bool // want says only which reason is not zero
	}{
		{name: "none"},
		{name: "408", fault: status(408)},
		{name: "429", fault: status(429)},
		{name: "429 with Retry-After", fault: status(429, "Retry-After", "2")},
		{name: "429 for a day", fault: status(429, "Retry-After", "86400")},
		{name: "429 until a date", fault: status(429, "Retry-After", "Sat, 01 Jan 2000 00:00:04 GMT")},
		{name: "429 with garbage", fault: status(429, "Retry-After", "soon")},
		{name: "500", fault: status(500)},
		{name: "502", fault: answerWith(502, portal)},
		{name: "503", fault: status(503, "Retry-After", "1")},
		{name: "504", fault: status(504)},
		{name: "401", fault: status(401)},
		{name: "403", fault: status(403)},
		{name: "301", fault: status(301, "Location", "http://elsewhere/")},
		{name: "307", fault: status(307, "Location", "/v0.4/traces")},
		{name: "reset", fault: reset},
		{name: "half an answer", fault: hijacked(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"rate")
		})},
		{name: "no HTTP", fault: hijacked(func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n") })},
		{name: "200 of a captive portal", fault: answerWith(200, portal)},
		{name: "empty 200", fault: status(200)},
		{name: "204", fault: status(204)},
		{name: "200 with other JSON", fault: answerWith(200, `{"ok":true}`)},
		{name: "hangs", fault: hang},
		{name: "400", fault: status(400), want: Dropped{Rejected: 1}, some: true},
		{name: "404", fault: status(404)},
		{name: "415", fault: status(415), want: Dropped{Rejected: 1}, some: true},
		{name: "413 for all", fault: status(413)},
	}
	for i, tt := range append(tests, tests...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				if i >= len(tests) { // the second time in v1.0
					r.agent.speak("v1", true)
				}
				begin := time.Now()
				r.agent.set(func(w http.ResponseWriter, req *http.Request, n int, body []byte) bool {
					return tt.fault != nil && time.Since(begin) < 3*time.Second && tt.fault(w, req, n, body)
				})
				for range 400 {
					_, span, _ := r.trace(keepIt)
					span.End()
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(2 * time.Minute)
				s := r.check(400)
				if s.Queued+s.InFlight != 0 {
					t.Errorf("%d spans still queued", s.Queued+s.InFlight)
				}
				checkDropped(t, s.Dropped, tt.want, tt.some)
				checkReports(t, r.logs, tt.fault != nil)
				if err := r.exporter.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				twice := 0
				for id, n := range r.agent.ids() {
					if n != 1 {
						t.Errorf("span %d was accepted %d times", id, n)
						twice += n - 1
					}
				}
				accounts.add(tt.name, i >= len(tests), r.exporter.Stats(), twice)
			})
		})
	}
}

// accounts are the figures of each fault, printed when all tests are over.
type accounts struct {
	mu   sync.Mutex
	rows []string
}

func newAccounts(t *testing.T) *accounts {
	a := &accounts{}
	t.Cleanup(func() {
		slices.Sort(a.rows)
		t.Logf("%-24s %-4s %5s %5s %6s %5s  lost\n%s", "fault", "", "ended", "sent", "queued", "twice", strings.Join(a.rows, "\n"))
	})
	return a
}

func (a *accounts) add(fault string, v1 bool, s Stats, twice int) {
	protocol := "v0.4"
	if v1 {
		protocol = "v1.0"
	}
	lost := "nothing"
	for _, reason := range []struct {
		name string
		n    int64
	}{
		{"queue full", s.Dropped.QueueFull}, {"rejected", s.Dropped.Rejected}, {"too large", s.Dropped.TooLarge},
		{"expired", s.Dropped.Expired}, {"unsampled", s.Dropped.Unsampled}, {"shutdown", s.Dropped.Shutdown},
	} {
		if reason.n != 0 {
			lost = fmt.Sprintf("%d %s", reason.n, reason.name) // no fault has two
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rows = append(a.rows, fmt.Sprintf("%-24s %-4s %5d %5d %6d %5d  %s", fault, protocol, s.Ended, s.Sent, s.Queued+s.InFlight, twice, lost))
}

func checkDropped(t *testing.T, got, want Dropped, some bool) {
	t.Helper()
	if some {
		for _, n := range []*int64{&got.QueueFull, &got.Rejected, &got.TooLarge, &got.Expired, &got.Unsampled, &got.Shutdown} {
			*n = min(*n, 1)
		}
	}
	if got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
}

// checkReports wants one warning and one record of recovery, or none at all.
func checkReports(t *testing.T, logs *logCounter, want bool) {
	t.Helper()
	n := 0
	if want {
		n = 1
	}
	if got := len(logs.at(slog.LevelWarn)); got != n {
		t.Errorf("%d warnings, want %d", got, n)
	}
	if got := len(logs.at(slog.LevelInfo)); got != n {
		t.Errorf("%d reports of recovery, want %d", got, n)
	}
}

func TestReportSaysWhatToDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.set(status(403))
		_, span, _ := r.trace(keepIt)
		span.End()
		time.Sleep(time.Minute)
		warnings := r.logs.at(slog.LevelWarn)
		if len(warnings) != 1 {
			t.Fatalf("%d warnings, want 1", len(warnings))
		}
		w := warnings[0]
		if got := attrOf(w, "agent").String(); got != "agent:8126" {
			t.Errorf("agent = %q", got)
		}
		if got := attrOf(w, "status").Int64(); got != 403 {
			t.Errorf("status = %d", got)
		}
		if got := attrOf(w, "hint").String(); !strings.Contains(got, "roles/run.invoker") {
			t.Errorf("hint = %q", got)
		}
		if n := r.agent.count(); n < 1 || n > 3 {
			t.Errorf("%d requests in the slow lane's first minute", n)
		}
		r.agent.set(nil)
		time.Sleep(2 * time.Minute)
		info := r.logs.at(slog.LevelInfo)
		if len(info) != 1 || attrOf(info[0], "spans.lost").Int64() != 0 || attrOf(info[0], "spans.waited").Int64() != 1 {
			t.Errorf("recovery: %v", info)
		}
		r.check(1)
		if err := r.exporter.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAgentDownThenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.setDown(true)
		for range 300 {
			_, span, _ := r.trace(keepIt)
			span.End()
			time.Sleep(time.Second)
		}
		if s := r.check(300); s.Queued != 300 || s.Sent != 0 {
			t.Errorf("with the agent down: %+v", s)
		}
		r.agent.setDown(false)
		time.Sleep(time.Minute)
		if s := r.check(300); s.Sent != 300 {
			t.Errorf("with the agent up again: %+v", s)
		}
		checkReports(t, r.logs, true)
		if err := r.exporter.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAgentDownForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 100 << 10
		r := newRig(t, Options{QueueBytes: limit}, ProcessorOptions{})
		r.agent.setDown(true)
		for range 2000 {
			_, span, _ := r.trace(keepIt)
			span.End()
			time.Sleep(time.Second)
			if used := r.exporter.Stats().QueueBytes; used > limit {
				t.Fatalf("the queue holds %d bytes of %d", used, limit)
			}
		}
		s := r.check(2000)
		if s.Dropped.QueueFull == 0 || s.Dropped.Expired != 0 {
			t.Errorf("dropped %+v, want only queue_full", s.Dropped)
		}
		time.Sleep(11 * time.Minute)
		s = r.check(2000)
		if s.Queued != 0 || s.Dropped.Expired == 0 {
			t.Errorf("after the age limit: %+v", s)
		}
		if n := len(r.logs.at(slog.LevelWarn)); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
		if err := r.exporter.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestTooLargeAlone: a span that cannot be cut down further is let go of, a
// tiny one waits: it is not the size that its agent minds.
func TestTooLargeAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value int
		want  Dropped
	}{{8 << 10, Dropped{TooLarge: 1}}, {1 << 10, Dropped{}}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{}, ProcessorOptions{})
			r.agent.set(status(413))
			_, span, _ := r.trace(keepIt)
			span.SetAttributes(attribute.String("value", strings.Repeat("x", tt.value)))
			span.End()
			time.Sleep(time.Minute)
			r.agent.set(nil)
			time.Sleep(time.Minute)
			if s := r.check(1); s.Dropped != tt.want || s.Sent != 1-tt.want.Total() {
				t.Errorf("%d bytes: %+v, want dropped %+v", tt.value, s, tt.want)
			}
			if err := r.exporter.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSplitOn413(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		const limit = 40 << 10
		r.agent.set(func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) bool {
			if len(body) <= limit {
				return false
			}
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		})
		big := attribute.String("big", strings.Repeat("x", 9000))
		n := 0
		for range 20 { // chunks that fit, but not together
			_, span, _ := r.trace(keepIt)
			span.SetAttributes(big)
			span.End()
			n++
		}
		ctx, root, _ := r.trace(keepIt) // a chunk that does not fit, of spans that do
		for range 12 {
			_, child := r.provider.Tracer("test").Start(ctx, "child", attrs(big))
			child.End()
			n++
		}
		root.End()
		n++
		_, huge, _ := r.trace(keepIt) // a span that does not fit, and is cut down
		for _, key := range []string{"a", "b", "c"} {
			huge.SetAttributes(attribute.String(key, strings.Repeat("x", 20000)))
		}
		huge.SetAttributes(attribute.Int("small", 7), attribute.Bool("flag", true), attribute.IntSlice("list", []int{1, 2}))
		huge.AddEvent("event", trace.WithAttributes(big))
		huge.End()
		n++
		time.Sleep(time.Minute)
		s := r.check(n)
		if s.Dropped.Total() != 0 || s.Sent != int64(n) {
			t.Errorf("sent %d of %d, dropped %+v", s.Sent, n, s.Dropped)
		}
		cut := spanWithID(t, r.agent, huge.SpanContext().SpanID())
		if got := cut.metrics()[keyTruncated]; got != 4.0 {
			t.Errorf("%s = %v, want 4", keyTruncated, got)
		}
		if got, want := cut.meta()["a"], strings.Repeat("x", reducedValue); got != want {
			t.Errorf("a = %.20q, want %d bytes", got, len(want))
		}
		if cut.metrics()["small"] != 7.0 || cut.meta()["flag"] != "true" {
			t.Errorf("what was small is not there: %v %v", cut.meta(), cut.metrics())
		}
		for _, chunk := range r.agent.chunks() {
			if _, ok := chunk[0].metrics()[keyPriority]; !ok {
				t.Errorf("a part of a split chunk has no priority: %v", chunk[0])
			}
		}
		if err := r.exporter.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func spanWithID(t *testing.T, a *fakeAgent, id trace.SpanID) span {
	t.Helper()
	for _, c := range a.chunks() {
		for _, s := range c {
			if s.id() == be64(id[:]) {
				return s
			}
		}
	}
	t.Fatalf("the agent has no span %v", id)
	return nil
}

// TestReduce cuts spans of any shape: what comes out can be read, is small, and
// is cut no further.
func TestReduce(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, ProcessorOptions{})
	r.exporter.running = true // nothing leaves
	_, s := r.limitless().Start(context.Background(), strings.Repeat("n", 9000))
	for i := range 900 {
		s.SetAttributes(attribute.String(fmt.Sprintf("key.%d\xff", i), strings.Repeat("\u00e9", i)), attribute.Float64(fmt.Sprint(i), 0.5),
			attribute.String(fmt.Sprintf("error.%d%s", i, strings.Repeat("k", 190)), strings.Repeat("e", 600)))
	}
	s.SetStatus(codes.Error, "at the end of a long list")
	s.End()
	c, _ := r.exporter.queue.evict()
	less, ok := c.reduce()
	if !ok || len(less.records) > reducedSpan {
		t.Fatalf("%t, %d bytes of %d", ok, len(less.records), len(c.records))
	}
	if _, again := less.reduce(); again {
		t.Error("cut twice")
	}
	traces, err := tracesOf(encodeV04(less))
	if err != nil {
		t.Fatal(err)
	}
	got := traces[0][0]
	if got.meta()["error.message"] != "at the end of a long list" || got["error"] != uint64(1) || got.metrics()[keyTruncated].(float64) < 2000 {
		t.Errorf("%v %v", got["error"], got.metrics()[keyTruncated])
	}
	var small chunk
	if _, ok := small.reduce(); ok {
		t.Error("an empty chunk is cut")
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.set(func(w http.ResponseWriter, req *http.Request, n int, body []byte) bool {
			return n == 1 && status(503, "Retry-After", "20")(w, req, n, body)
		})
		_, span, _ := r.trace(keepIt)
		span.End()
		time.Sleep(time.Minute)
		if r.check(1).Sent != 1 {
			t.Fatal("not sent")
		}
		if gap := r.agent.at[1].Sub(r.agent.at[0]); gap < 20*time.Second || gap > 21*time.Second {
			t.Errorf("second attempt after %v, want 20 s", gap)
		}
		if err := r.exporter.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorBodyIsReadInPart(t *testing.T) {
	t.Parallel()
	body := &countingBody{}
	judge(&http.Response{StatusCode: 500, Header: http.Header{}, Body: body})
	if body.n > maxErrorBody {
		t.Errorf("read %d bytes of an endless error body", body.n)
	}
}

type countingBody struct{ n int }

func (b *countingBody) Read(p []byte) (int, error) { b.n += len(p); return len(p), nil }
func (b *countingBody) Close() error               { return nil }

func TestShutdownWithAHungAgent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		deadline time.Duration // 0: none
		want     time.Duration
	}{
		{"at once", time.Nanosecond, 0},
		{"one second", time.Second, time.Second},
		{"none", 0, shutdownTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Options{}, ProcessorOptions{})
				r.agent.set(hang)
				for range 10 {
					_, span, _ := r.trace(keepIt)
					span.End()
				}
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				begin := time.Now()
				err := r.proc.Shutdown(ctx)
				if took := time.Since(begin); took < tt.want || took > tt.want+100*time.Millisecond {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if err == nil || !strings.Contains(err.Error(), "10 spans not delivered to agent:8126") {
					t.Errorf("err = %v", err)
				}
				_, late, _ := r.trace(keepIt)
				late.End()
				s := r.check(11)
				if want := (Dropped{Shutdown: 11}); s.Dropped != want {
					t.Errorf("dropped %+v, want %+v", s.Dropped, want)
				}
				if again := r.exporter.Shutdown(context.Background()); again == nil || again.Error() != err.Error() {
					t.Errorf("second Shutdown = %v, want %v", again, err)
				}
			})
		})
	}
}

// stuck is a RoundTripper that does not mind its context.
type stuck struct{ release chan struct{} }

func (s stuck) RoundTrip(*http.Request) (*http.Response, error) {
	<-s.release
	return nil, io.ErrUnexpectedEOF
}

func TestShutdownWithAStuckTransport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, Options{HTTPClient: &http.Client{Transport: stuck{release}}}, ProcessorOptions{})
		_, span, _ := r.trace(keepIt)
		span.End()
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.exporter.Shutdown(ctx); err == nil {
			t.Error("no error")
		}
		if took := time.Since(begin); took > 1100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		close(release)
		synctest.Wait()
		if s := r.check(1); s.Dropped.Shutdown != 1 {
			t.Errorf("dropped %+v", s.Dropped)
		}
	})
}

func TestShutdownTriesOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.set(status(403))
		_, span, _ := r.trace(keepIt)
		span.End()
		time.Sleep(5 * time.Second) // in the slow lane
		r.agent.set(nil)
		if err := r.exporter.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if s := r.check(1); s.Sent != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestProbesAreSmall: an agent that has failed is tried with part of what
// waits, and gets the rest in whole payloads once it is back.
func TestProbesAreSmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, ProcessorOptions{})
		r.agent.set(status(503))
		for range 2000 {
			_, span, _ := r.trace(keepIt)
			span.SetAttributes(tenAttrs()...)
			span.End()
		}
		time.Sleep(time.Minute)
		r.agent.set(nil)
		time.Sleep(time.Minute)
		if s := r.check(2000); s.Sent != 2000 {
			t.Errorf("%+v", s)
		}
		failed, largest := r.agent.bodies[1:3], slices.Max(r.agent.bodies)
		if slices.Max(failed) > probePayload || largest < 4*slices.Max(failed) {
			t.Errorf("attempts of %d bytes, later ones of %d", failed, largest)
		}
		r.stop()
	})
}
