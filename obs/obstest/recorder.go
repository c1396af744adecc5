package obstest

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/spanqueue"
	"github.com/kumihimo/kumihimo/obs"
)

// Recorder is the telemetry of one test. All its methods are safe for
// concurrent use.
type Recorder struct {
	t     testing.TB
	tel   *obs.Telemetry
	ctx   context.Context
	agent bool // spans go to one, and are recorded as they end

	mu      sync.Mutex // guards what follows
	ended   []sdktrace.ReadOnlySpan
	records []Record
	open    map[trace.SpanID]string // names of spans that have not ended
	traces  []trace.TraceID         // that the recorder is known by
}

const (
	// flushTime bounds the wait for spans on their way through the pipeline.
	// They stay within the process: it is long for a machine under load.
	flushTime = 30 * time.Second

	// agentTime bounds what a test's end spends on an agent, which may be one
	// that fails on purpose.
	agentTime = 2 * time.Second
)

// New returns the recorder of a test, which ends with it. The test fails if a
// span is open then, or a goroutine of the test is left; a test that has
// failed prints what was recorded.
//
// The pipeline is [obs.New]'s with the given options, of which there may be
// one, except that the environment counts for nothing, records are JSON in
// LogWriter too, LogFilter's default is "debug", and spans go to a SpanExporter
// of the recorder's, then to that of the options. Where the options name an
// agent they go there, as [NewIn] says.
func New(t testing.TB, opts ...obs.Options) *Recorder {
	t.Helper()
	return NewIn(t, nil, opts...)
}

// NewIn is [New] in an environment of the variables environ, in place of the
// process's: tests that need different ones may run in parallel.
//
// If environ or the options name an agent, spans go there by production's way,
// and the recorder has every span that ended, kept by the sampler or not. This
// is a test against Google Cloud and a Datadog Agent in miniature:
//
//	cloud := obstest.StartCloud(t, emulator.CloudOptions{})
//	rec := obstest.NewIn(t, cloud.Environ())
//
// [obs.Telemetry.Flush] of the recorder's Telemetry sends what has ended; what
// the agent has not taken 2 s after the test's end is given up.
func NewIn(t testing.TB, environ map[string]string, opts ...obs.Options) *Recorder {
	t.Helper()
	router.once.Do(router.install)
	if len(opts) > 1 {
		t.Fatal("obstest: New takes one Options at most")
	}
	var o obs.Options
	if len(opts) == 1 {
		o = opts[0]
	}
	r := &Recorder{t: t, open: make(map[trace.SpanID]string)}
	r.agent = o.SpanExporter == nil && (o.AgentURL != "" || namesAgent(environ))
	if o.Service == "" && environ["DD_SERVICE"] == "" {
		o.Service = "test"
	}
	if o.LogFilter == "" && environ["OBS_LOG"] == "" {
		o.LogFilter = "debug"
	}
	o.LogFormat = "json"
	o.LogWriter = recordWriter{r, o.LogWriter}
	o.SpanProcessors = append([]sdktrace.SpanProcessor{spanWatcher{r}}, o.SpanProcessors...)
	if !r.agent {
		o.SpanExporter = spanKeeper{r, o.SpanExporter}
	}
	ctx := label(t)
	tel, err := obs.New(obsctx.WithEnvironment(ctx, environ), o)
	if err != nil {
		t.Fatal(err)
	}
	r.tel = tel
	r.ctx = context.WithValue(ctx, recorderKey{}, r)
	t.Cleanup(r.end)
	return r
}

func namesAgent(environ map[string]string) bool {
	return environ["DD_TRACE_AGENT_URL"] != "" || environ["DD_AGENT_HOST"] != "" || environ["DD_TRACE_AGENT_PORT"] != ""
}

// Context returns the test's context, by which telemetry finds the recorder. It
// ends just before the test does, as testing.TB's does.
func (r *Recorder) Context() context.Context { return r.ctx }

// Handler returns next, whose requests belong to the recorder: it is for
// servers, which get contexts of their own. A request that comes with the trace
// headers of a span of the test's finds its recorder by itself.
func (r *Recorder) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		next.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), recorderKey{}, r)))
	})
}

// Telemetry returns the recorder's pipeline, for code that takes one instead of
// the globals. It is shut down when the test ends.
func (r *Recorder) Telemetry() *obs.Telemetry { return r.tel }

// end is the test's end: all is sent, and nothing is left over.
func (r *Recorder) end() {
	r.t.Helper()
	unlabel()
	r.shutDown()
	r.mu.Lock()
	open := make([]string, 0, len(r.open))
	for _, name := range r.open {
		open = append(open, name)
	}
	traces := r.traces
	r.mu.Unlock()
	router.forget(traces)
	slices.Sort(open)
	if len(open) > 0 {
		r.t.Errorf("obstest: spans were never ended: %q", open)
	}
	if left := leaked(r.ctx); left != "" {
		r.t.Errorf("obstest: goroutines are left:\n%s", left)
	}
	if r.t.Failed() {
		r.t.Logf("recorded:\n%s", strings.TrimSuffix(r.String(), "\n"))
	}
}

func (r *Recorder) shutDown() {
	r.t.Helper()
	wait, complain := flushTime, r.t.Errorf
	if r.agent {
		wait, complain = agentTime, r.t.Logf // whether spans arrive is the test's to say
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := r.tel.Shutdown(ctx); err != nil {
		complain("obstest: shutdown: %v", err)
	}
}

// flush brings what has ended to the recorder.
func (r *Recorder) flush() {
	r.t.Helper()
	if r.agent {
		return // it is there already
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := r.tel.Flush(ctx); err != nil {
		r.t.Errorf("obstest: flush: %v", err)
	}
}

// spanKeeper is where the pipeline's spans arrive.
type spanKeeper struct {
	*Recorder
	next sdktrace.SpanExporter
}

func (k spanKeeper) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	k.ended = append(k.ended, spans...)
	k.mu.Unlock()
	if k.next != nil {
		return k.next.ExportSpans(ctx, spans)
	}
	return nil
}

func (k spanKeeper) Shutdown(ctx context.Context) error {
	if k.next != nil {
		return k.next.Shutdown(ctx)
	}
	return nil
}

// spanWatcher knows which spans are open, and which traces are the recorder's.
type spanWatcher struct{ *Recorder }

func (w spanWatcher) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	sc := s.SpanContext()
	w.mu.Lock()
	w.open[sc.SpanID()] = s.Name()
	known := slices.Contains(w.traces, sc.TraceID())
	if !known {
		w.traces = append(w.traces, sc.TraceID())
	}
	w.mu.Unlock()
	if !known {
		router.remember(sc.TraceID(), w.Recorder)
	}
}

func (w spanWatcher) OnEnd(s sdktrace.ReadOnlySpan) {
	if w.agent {
		s = spanqueue.Redacted(s, pipelineOf(w.ctx).Redactor)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, s.SpanContext().SpanID())
	if w.agent {
		w.ended = append(w.ended, s)
	}
}

func (spanWatcher) ForceFlush(context.Context) error { return nil }
func (spanWatcher) Shutdown(context.Context) error   { return nil }

// recordWriter takes the pipeline's lines.
type recordWriter struct {
	*Recorder
	next io.Writer
}

func (w recordWriter) Write(line []byte) (int, error) {
	rec, err := parseRecord(line)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	w.records = append(w.records, rec)
	w.mu.Unlock()
	if w.next != nil {
		return w.next.Write(line)
	}
	return len(line), nil
}
