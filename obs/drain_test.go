package obs

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of one connection.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestCutOffRequestsEndTheirSpans: a request that is cut off has a moment to
// end its span before telemetry stops, and holds nothing up if it does not.
func TestCutOffRequestsEndTheirSpans(t *testing.T) {
	t.Parallel()
	// os/signal keeps the goroutine that the first Notify starts, which must
	// not be one of a bubble's.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	signal.Stop(c)
	const grace, requests = 9 * time.Second, 6 * time.Second
	for _, tt := range []struct {
		name       string
		unwinding  time.Duration
		sent, late int64
		stopped    time.Duration // since the stop
	}{
		{"at once", 0, 1, 0, requests * 7 / 8},
		{"in time", 500 * time.Millisecond, 1, 0, requests*7/8 + 500*time.Millisecond},
		{"too late", time.Hour, 0, 1, requests},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tel, _ := newTest(t, Options{ShutdownGrace: grace, AgentURL: "http://agent:8126", AgentAuth: "none",
					HTTPClient: &http.Client{Transport: takesAll{}}})
				ln := &pipes{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
				entered, left := make(chan struct{}), make(chan struct{})
				srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					defer close(left)
					_, span := tel.TracerProvider().Tracer("test").Start(r.Context(), "request")
					defer span.End()
					close(entered)
					<-r.Context().Done()
					time.Sleep(tt.unwinding)
				})}
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() {
					ended <- tel.Run(ctx, func(ctx context.Context) error {
						return tel.serve(ctx, srv, &connections{Listener: ln, open: make(map[*connection]struct{})})
					})
				}()
				client, server := net.Pipe()
				ln.conns <- server
				go io.WriteString(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
				<-entered
				stopped := time.Now()
				stop()
				if err := <-ended; err == nil || !strings.Contains(err.Error(), "cut off") {
					t.Errorf("got %v, want an error that requests were cut off", err)
				}
				if took := time.Since(stopped); took < tt.stopped || took > tt.stopped+100*time.Millisecond {
					t.Errorf("it took %v, want %v", took, tt.stopped)
				}
				<-left
				synctest.Wait()
				if s := tel.Stats().Spans; s.Sent != tt.sent || s.Dropped.Shutdown != tt.late {
					t.Errorf("got %+v, want %d sent and %d ended too late", s, tt.sent, tt.late)
				}
				client.Close()
			})
		})
	}
}

// takesAll is an agent without a network.
type takesAll struct{}

func (takesAll) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Datadog-Agent-Version": {"7.0.0"}}, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}
