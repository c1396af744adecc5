package obs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// agentServer is a Datadog Agent that takes everything.
func agentServer(t *testing.T) string {
	t.Helper()
	return serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Datadog-Agent-Version", "7.0.0")
		io.WriteString(w, "{}")
	}))
}

func serveTest(t *testing.T, h http.Handler) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() { defer close(ended); srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return "http://" + ln.Addr().String()
}

// lockedBuffer is written to by loggers of several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTest(t *testing.T, opts Options, env ...string) (*Telemetry, *lockedBuffer) {
	t.Helper()
	out := &lockedBuffer{}
	opts.LogWriter = out
	tel, err := build(t.Context(), opts, world(env...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) }) // the test itself looks at the first
	return tel, out
}

func TestShutdownSendsAndCounts(t *testing.T) {
	t.Parallel()
	tel, out := newTest(t, Options{AgentURL: agentServer(t)})
	for range 3 {
		_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
		span.End()
	}
	for range 2 {
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	_, late := tel.TracerProvider().Tracer("test").Start(t.Context(), "late")
	late.End()
	s := tel.Stats().Spans
	if s.Ended != 4 || s.Sent != 3 || s.Dropped.Shutdown != 1 {
		t.Errorf("got %+v, want 4 ended, 3 sent, 1 after the shutdown", s)
	}
	tel.Logger().Info("after the end")
	for _, want := range []string{"telemetry stopped", "spans.sent=3", "after the end"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out)
		}
	}
}

// TestShutdownKeepsItsDeadline with an agent that never answers.
func TestShutdownKeepsItsDeadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	url := serveTest(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	tel, out := newTest(t, Options{AgentURL: url})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := tel.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 spans not delivered") {
		t.Errorf("got %v, want an error that says what was left", err)
	}
	if s := tel.Stats().Spans; s.Ended != 1 || s.Dropped.Shutdown != 1 {
		t.Errorf("got %+v, want the span counted as dropped", s)
	}
	if !strings.Contains(out.String(), "lost.shutdown=1") {
		t.Errorf("the log does not say so:\n%s", out)
	}
}

// hanging is a processor that heeds no context, and one that panics.
type hanging struct {
	release <-chan struct{}
	panics  bool
}

func (hanging) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (hanging) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (h hanging) ForceFlush(ctx context.Context) error          { return h.Shutdown(ctx) }
func (h hanging) Shutdown(context.Context) error {
	if h.panics {
		panic("boom")
	}
	<-h.release
	return nil
}

func TestForeignProcessors(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	tel, _ := newTest(t, Options{SpanProcessors: []sdktrace.SpanProcessor{hanging{release, false}, hanging{release, true}}})
	for _, f := range []func(context.Context) error{tel.Flush, tel.Shutdown} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := f(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "panic: boom") {
			t.Errorf("got %v, want both processors' failures", err)
		}
	}
}

// TestRun sends what f left, whatever became of f.
func TestRun(t *testing.T) {
	t.Parallel()
	failure := errors.New("no work")
	for _, tt := range []struct {
		name string
		f    func(ctx context.Context, cancel func()) error
		want error
	}{
		{"done", func(context.Context, func()) error { return nil }, nil},
		{"failed", func(context.Context, func()) error { return failure }, failure},
		{"stopped", func(ctx context.Context, cancel func()) error { cancel(); <-ctx.Done(); return nil }, nil},
		{"panicked", func(context.Context, func()) error { panic(failure) }, failure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, _ := newTest(t, Options{AgentURL: agentServer(t)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = p.(error)
					}
				}()
				return tel.Run(ctx, func(ctx context.Context) error {
					_, span := tel.TracerProvider().Tracer("test").Start(ctx, "work")
					defer span.End()
					return tt.f(ctx, cancel)
				})
			}()
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if s := tel.Stats().Spans; s.Sent != 1 {
				t.Errorf("got %+v, want the span sent", s)
			}
		})
	}
}

// TestRunOverTime: telemetry is sent though f does not stop.
func TestRunOverTime(t *testing.T) {
	t.Parallel()
	tel, _ := newTest(t, Options{AgentURL: agentServer(t), ShutdownGrace: 30 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	err := tel.Run(ctx, func(ctx context.Context) error {
		_, span := tel.TracerProvider().Tracer("test").Start(ctx, "work")
		span.End()
		cancel()
		<-tel.shutdownDone // by the watch, while f still runs
		return nil
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if s := tel.Stats().Spans; s.Ended != s.Sent+s.Dropped.Total() {
		t.Errorf("got %+v, want every span accounted for", s)
	}
}

// serveInBackground starts Serve and returns the server's address once it
// listens.
func serveInBackground(ctx context.Context, t *testing.T, tel *Telemetry, h http.Handler) (addr string, ended <-chan error) {
	t.Helper()
	listening := make(chan string, 1)
	srv := &http.Server{Addr: "127.0.0.1:0", Handler: h, BaseContext: func(ln net.Listener) context.Context {
		listening <- ln.Addr().String()
		return context.Background()
	}}
	errs := make(chan error, 1)
	go func() { errs <- tel.Serve(ctx, srv) }()
	select {
	case addr = <-listening:
	case err := <-errs:
		t.Fatal(err)
	}
	return addr, errs
}

// TestServe lets the request in flight finish.
func TestServe(t *testing.T) {
	t.Parallel()
	tel, out := newTest(t, Options{AgentURL: agentServer(t)})
	ctx, stop := context.WithCancel(t.Context())
	addr, ended := serveInBackground(ctx, t, tel, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, span := tel.TracerProvider().Tracer("test").Start(r.Context(), "work")
		defer span.End()
		stop()
		io.WriteString(w, "served")
	}))
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "served" {
		t.Errorf("got %q, %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := tel.Stats().Spans; s.Sent != 1 {
		t.Errorf("got %+v, want the span sent", s)
	}
	for _, want := range []string{"serving", "stopping", "telemetry stopped"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out)
		}
	}
}

// TestServeClosesWhatStaysOpen: a connection that was hijacked and a request
// that never ends.
func TestServeClosesWhatStaysOpen(t *testing.T) {
	t.Parallel()
	tel, _ := newTest(t, Options{ShutdownGrace: 60 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Add(2)
	addr, ended := serveInBackground(ctx, t, tel, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "yours\n")
			busy.Done()
			return
		}
		busy.Done()
		<-r.Context().Done()
	}))
	dial := func(path string) *bufio.Reader {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return bufio.NewReader(conn)
	}
	hijacked, stuck := dial("/hijack"), dial("/stuck")
	if line, _ := hijacked.ReadString('\n'); line != "yours\n" {
		t.Errorf("got %q", line)
	}
	busy.Wait()
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v, want an error that requests were cut off", err)
	}
	for name, r := range map[string]*bufio.Reader{"hijacked": hijacked, "stuck": stuck} {
		if rest, err := io.ReadAll(r); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: got %q, %v, want the end of the connection", name, rest, err)
		}
	}
}

func TestServeAddressInUse(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tel, _ := newTest(t, Options{})
	if err := tel.Serve(t.Context(), &http.Server{Addr: ln.Addr().String()}); err == nil || !strings.Contains(err.Error(), "obs: serve") {
		t.Errorf("got %v, want an error of listening", err)
	}
}

// TestServeShutDownByTheProgram: its requests end as they would without us.
func TestServeShutDownByTheProgram(t *testing.T) {
	t.Parallel()
	tel, _ := newTest(t, Options{})
	listening := make(chan string, 1)
	stopping, entered := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Addr: "127.0.0.1:0", BaseContext: func(ln net.Listener) context.Context {
		listening <- ln.Addr().String()
		return context.Background()
	}}
	srv.RegisterOnShutdown(func() { close(stopping) })
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-stopping
		io.WriteString(w, "served")
	})
	ended := make(chan error, 2)
	go func() { ended <- tel.Serve(context.Background(), srv) }()
	addr := <-listening
	go func() { <-entered; ended <- srv.Shutdown(context.Background()) }()
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "served" {
		t.Errorf("got %q, %v", body, err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestShutdownEndsTheSearchForTheProject, which a dead metadata server would
// make endless.
func TestShutdownEndsTheSearchForTheProject(t *testing.T) {
	t.Parallel()
	tel, _ := newTest(t, Options{}, "GCE_METADATA_HOST=127.0.0.1:1")
	shutDown(t, tel)
}

// TestOwnTransport: our requests go through nothing that the program has put
// into net/http's place, and no connection stays.
func TestOwnTransport(t *testing.T) {
	t.Parallel()
	tel, _ := newTest(t, Options{AgentURL: agentServer(t), AgentAuth: "google", TokenSource: noTokens{}})
	if tel.transport == nil || http.RoundTripper(tel.transport) == http.DefaultTransport {
		t.Errorf("got %v, want one of its own", tel.transport)
	}
}

// TestProjectOfTheMetadataServer is in the logs once the server has told it.
func TestProjectOfTheMetadataServer(t *testing.T) {
	t.Parallel()
	server := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if r.URL.Path == "/computeMetadata/v1/project/project-id" && r.Header.Get("Metadata-Flavor") == "Google" {
			io.WriteString(w, "acme\n")
		}
	}))
	tel, out := newTest(t, Options{LogFormat: "json"}, "GCE_METADATA_HOST="+strings.TrimPrefix(server, "http://"))
	tel.running.Wait() // for the answer
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	tel.Logger().InfoContext(ctx, "now")
	if want := `"logging.googleapis.com/trace":"projects/acme/traces/` + span.SpanContext().TraceID().String(); !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out, want)
	}
}
