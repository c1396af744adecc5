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
// f's error: spans that could not be sent are logged, and fail no program. It
// is for jobs and workers; a server has [Telemetry.Serve].
//
// On SIGINT or SIGTERM f's context is cancelled. f should then return within
// two thirds of Options.ShutdownGrace: the rest is kept for what telemetry has
// still to send. If it does not, telemetry is shut down all the same, and Run
// returns when f does. A second signal ends the program at once, with the exit
// code 128 plus the signal's number. A panic of f goes on once telemetry has
// been sent.
func (t *Telemetry) Run(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{t: t, ctx: ctx, cancel: cancel, signals: make(chan os.Signal, 1),
		finished: make(chan struct{}), done: make(chan struct{})}
	signal.Notify(w.signals, syscall.SIGINT, syscall.SIGTERM)
	w.running.Go(w.run)
	defer func() {
		limit := defaultDrain // nobody hurries a job that is done
		if ctx.Err() != nil {
			limit = t.flushTime()
		}
		close(w.finished)
		t.shutDownLogged(context.WithoutCancel(ctx), limit)
		signal.Stop(w.signals)
		close(w.done)
		w.running.Wait()
	}()
	return f(ctx)
}

// shutDownLogged shuts down with a limit. What is lost is logged by Shutdown,
// other errors here.
func (t *Telemetry) shutDownLogged(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := t.Shutdown(ctx); err != nil {
		t.internal.LogAttrs(ctx, slog.LevelDebug, "telemetry did not stop in order", slog.Any("error", err))
	}
}

// watch looks after a function that Run runs.
type watch struct {
	t        *Telemetry
	ctx      context.Context // the function's
	cancel   context.CancelCauseFunc
	signals  chan os.Signal
	finished chan struct{} // closed when the function has returned
	done     chan struct{} // closed when telemetry is shut down, too
	running  sync.WaitGroup
}

// run waits for signals and the end of ctx. A signal that comes when the
// function has returned is the first all the same: what is sent still, is.
func (w *watch) run() {
	var late <-chan time.Time
	stopped, finished := w.ctx.Done(), w.finished
	asked := 0
	for {
		select {
		case s := <-w.signals:
			if asked++; asked > 1 {
				os.Exit(exitCode(s))
			}
			if finished != nil && stopped != nil {
				stopped, late = nil, w.stop(s.String())
			}
		case <-stopped:
			stopped = nil
			if finished != nil {
				late = w.stop(context.Cause(w.ctx).Error())
			}
		case <-late:
			w.running.Go(func() { w.t.shutDownLogged(context.WithoutCancel(w.ctx), w.t.flushTime()) })
		case <-finished:
			finished, late = nil, nil
		case <-w.done:
			return
		}
	}
}

// stop asks the function to return. What it returns fires when it is late.
func (w *watch) stop(cause string) (late <-chan time.Time) {
	w.t.internal.LogAttrs(context.WithoutCancel(w.ctx), slog.LevelInfo, "stopping",
		slog.String("cause", cause), slog.Duration("grace", w.t.settings.grace))
	w.cancel(errors.New(cause))
	return time.After(w.t.settings.grace - w.t.flushTime())
}

// exitCode is that of a program that a signal has ended, as a shell has it.
func exitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return 1
}

// flushTime is how much of the grace is telemetry's.
func (t *Telemetry) flushTime() time.Duration { return t.settings.grace / flushShare }

// Serve runs srv until ctx ends or a SIGINT or SIGTERM comes, as [Telemetry.Run]
// runs a function: then it stops listening, lets the requests in flight
// finish, and sends what telemetry is left, all within Options.ShutdownGrace.
// Connections that are still open when the requests' two thirds of it are over
// are closed, hijacked ones among them, and the error says so.
//
// It listens on srv.Addr, with TLS if srv.TLSConfig has certificates. The error
// is nil after a clean stop, whatever became of the telemetry.
func (t *Telemetry) Serve(ctx context.Context, srv *http.Server) error {
	return t.Run(ctx, func(ctx context.Context) error {
		addr := srv.Addr
		switch {
		case addr != "":
		case hasCertificates(srv):
			addr = ":https"
		default:
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
	defer conns.closeAll()
	ended := make(chan error, 1)
	go func() { ended <- serveOn(srv, conns) }()
	select {
	case err := <-ended:
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		// The program itself shuts it down; a second Shutdown would call its
		// hooks again.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.drainTime())
		defer cancel()
		conns.wait(ctx)
		return nil
	case <-ctx.Done():
		err := t.drain(ctx, srv)
		<-ended //nolint:errcheck // http.ErrServerClosed
		return err
	}
}

// unwindShare is the share of the requests' time in which those that are cut
// off can still end their spans and write their records.
const unwindShare = 8

// drainTime is how much of the grace is the requests' in flight: what Run's
// watch allows, less what is left to those cut off.
func (t *Telemetry) drainTime() time.Duration {
	limit := t.settings.grace - t.flushTime()
	return limit - limit/unwindShare
}

// drain lets the requests in flight finish.
func (t *Telemetry) drain(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.drainTime())
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		err = errors.Join(err, srv.Close())
		t.unwind((t.settings.grace - t.flushTime()) / unwindShare)
		return fmt.Errorf("obs: serve: requests were cut off: %w", err)
	}
	return nil
}

// unwind waits until no span is open, or the limit is over: http.Server knows
// of the handlers it has cut off only that their connections are closed, and
// when Run returns the program may be gone.
func (t *Telemetry) unwind(limit time.Duration) {
	const step = 5 * time.Millisecond
	for waited := time.Duration(0); waited < limit && t.Stats().Spans.Open > 0; waited += step {
		time.Sleep(step)
	}
}

// hasCertificates reports whether srv is to speak TLS.
func hasCertificates(srv *http.Server) bool {
	c := srv.TLSConfig
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

func serveOn(srv *http.Server, ln net.Listener) error {
	if hasCertificates(srv) {
		return srv.ServeTLS(ln, "", "")
	}
	return srv.Serve(ln)
}

// connections is a listener that remembers what it accepted: http.Server
// forgets a connection that was hijacked.
type connections struct {
	net.Listener

	mu    sync.Mutex // guards what follows
	open  map[*connection]struct{}
	empty chan struct{} // closed when open is; nil while nobody waits
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
	c.owner.forget(c)
	return c.TCPConn.Close()
}

func (l *connections) forget(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
	if len(l.open) == 0 && l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// wait returns when no connection is open, or ctx is done. One goroutine waits
// at a time.
func (l *connections) wait(ctx context.Context) {
	empty := make(chan struct{})
	l.mu.Lock()
	if len(l.open) == 0 {
		close(empty)
	} else {
		l.empty = empty
	}
	l.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
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
