package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	// defaultGrace is a second less than Cloud Run gives between SIGTERM and
	// SIGKILL.
	defaultGrace = 9 * time.Second

	// flushShare is the share of the grace that is kept for telemetry.
	flushShare = 3
)

// Run calls f and then [Telemetry.Shutdown], whatever becomes of f, and returns
// both errors. It is for jobs and workers; a server has [Telemetry.Serve].
//
// On SIGINT or SIGTERM f's context is cancelled. f should then return within
// two thirds of Options.ShutdownGrace: the rest is kept for what telemetry has
// still to send. If it does not, telemetry is shut down all the same, and Run
// returns when f does. A second signal ends the program at once. A panic of f
// goes on once telemetry has been sent.
func (t *Telemetry) Run(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	finished := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { t.watch(ctx, cancel, signals, finished) })
	defer func() {
		close(finished)
		limit := defaultDrain // nobody hurries a job that is done
		if ctx.Err() != nil {
			limit = t.flushTime()
		}
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		err = errors.Join(err, t.Shutdown(stopCtx))
		watching.Wait()
	}()
	return f(ctx)
}

// watch waits for a signal, or ctx's end, and then gives f its time.
func (t *Telemetry) watch(ctx context.Context, cancel context.CancelCauseFunc, signals chan os.Signal, finished <-chan struct{}) {
	cause := ""
	select {
	case <-finished:
		return
	case s := <-signals:
		cause = s.String()
	case <-ctx.Done():
		cause = context.Cause(ctx).Error()
	}
	t.internal.LogAttrs(context.WithoutCancel(ctx), slog.LevelInfo, "stopping",
		slog.String("cause", cause), slog.Duration("grace", t.settings.grace))
	signal.Stop(signals) // the next one has its usual effect
	cancel(errors.New(cause))
	late := time.NewTimer(t.settings.grace - t.flushTime())
	defer late.Stop()
	select {
	case <-finished:
	case <-late.C:
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.flushTime())
		defer cancel()
		if err := t.Shutdown(stopCtx); err != nil {
			t.internal.LogAttrs(stopCtx, slog.LevelWarn, "telemetry shut down late", slog.Any("error", err))
		}
	}
}

// flushTime is how much of the grace is telemetry's.
func (t *Telemetry) flushTime() time.Duration { return t.settings.grace / flushShare }

// Serve runs srv until ctx ends or a SIGINT or SIGTERM comes, as [Telemetry.Run]
// runs a function: then it stops listening, lets the requests in flight
// finish, and sends what telemetry is left, all within Options.ShutdownGrace.
// Connections that are still open when the requests' two thirds of it are over
// are closed, hijacked ones among them.
//
// It listens on srv.Addr, with TLS if srv.TLSConfig has certificates. The error
// is nil after a clean stop.
func (t *Telemetry) Serve(ctx context.Context, srv *http.Server) error {
	return t.Run(ctx, func(ctx context.Context) error {
		addr := srv.Addr
		if addr == "" {
			addr = ":http"
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("obs: serve: %w", err)
		}
		conns := &connections{Listener: ln, open: make(map[*connection]struct{})}
		t.internal.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("address", ln.Addr().String()))
		return t.serve(ctx, srv, conns)
	})
}

func (t *Telemetry) serve(ctx context.Context, srv *http.Server, conns *connections) error {
	ended := make(chan error, 1)
	go func() { ended <- serveOn(srv, conns) }()
	select {
	case err := <-ended: // it broke down, or the program itself shut it down
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		conns.closeAll()
		return err
	case <-ctx.Done():
	}
	// A little less than Run's watch allows, so that a slow request does not
	// make telemetry stop before its record is in.
	drain := t.settings.grace - t.flushTime()
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain-drain/8)
	defer cancel()
	err := srv.Shutdown(drainCtx)
	if err != nil {
		err = fmt.Errorf("obs: serve: requests were cut off: %w", errors.Join(err, srv.Close()))
	}
	conns.closeAll()
	_ = <-ended // http.ErrServerClosed
	return err
}

func serveOn(srv *http.Server, ln net.Listener) error {
	if c := srv.TLSConfig; c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil) {
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}

// connections is a listener that remembers what it accepted: http.Server
// forgets a connection that was hijacked.
type connections struct {
	net.Listener

	mu   sync.Mutex // guards open
	open map[*connection]struct{}
}

// connection is a TCP connection with its faster ways of copying.
type connection struct {
	*net.TCPConn
	owner *connections
}

func (l *connections) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	kept := &connection{tcp, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[kept] = struct{}{}
	return kept, nil
}

// Close closes the connection and forgets it.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.TCPConn.Close()
}

func (l *connections) closeAll() {
	l.mu.Lock()
	open := l.open
	l.open = make(map[*connection]struct{})
	l.mu.Unlock()
	for c := range open {
		_ = c.TCPConn.Close() // it may be closed by now
	}
}
