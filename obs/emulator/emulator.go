// Package emulator is Google Cloud and a Datadog Agent in miniature, in the
// process: a metadata server that signs ID tokens, a front end that checks
// them as Cloud Run's does, and an agent that decodes what it gets and keeps
// it. The path of a span to Datadog is production's, token and all, on a
// machine that has none of it.
//
//	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
//	...
//	defer cloud.Close()
//	for name, value := range cloud.Environ() {
//		os.Setenv(name, value)
//	}
//	tel, err := obs.Init(ctx, obs.Options{Service: "shop"})
//	...
//	fmt.Print(emulator.Tree(cloud.Agent.Spans()))
//
// Everything listens on the loopback interface alone, and every key is made on
// the spot: the tokens let nobody in anywhere else. Package obs/obstest closes
// the parts when a test ends.
//
// It shares no code with what it checks. Read cloud.go for how the parts are
// wired; metadata.go and token.go for whose tokens they are; frontend.go,
// admission.go and forward.go for who is let in and what is done to a request;
// agent.go for what becomes of spans; span.go and tree.go for what they are;
// fault.go for what goes wrong on order.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const readHeaderTimeout = 10 * time.Second

// server is an HTTP server on a loopback port.
type server struct {
	http     *http.Server
	listener net.Listener
	stop     context.CancelFunc // ends the requests under way
	close    func() error

	mu      sync.Mutex // guards closed, and running.Add against running.Wait
	closed  bool
	running sync.WaitGroup
}

// listen takes a port; serve must follow.
func listen() (*server, error) {
	var l net.Listener
	var err error
	for _, loopback := range []string{"127.0.0.1:0", "[::1]:0"} {
		if l, err = net.Listen("tcp", loopback); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &server{listener: l, stop: stop}
	s.http = &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.close = sync.OnceValue(s.shutDown)
	return s, nil
}

// host is host:port.
func (s *server) host() string { return s.listener.Addr().String() }

func (s *server) url() string { return "http://" + s.host() }

// serve answers with h, unless fault does.
func (s *server) serve(h http.Handler, fault Fault) {
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler) // the connection is closed without an answer
		}
		defer s.running.Done()
		if fault == nil || !fault(w, r) {
			h.ServeHTTP(w, r)
		}
	})
	s.running.Go(func() {
		_ = s.http.Serve(s.listener) // always an error: that of being closed
	})
}

func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// shutDown closes the listener and every connection, and waits for all that
// runs.
func (s *server) shutDown() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	err := s.http.Close()
	if again := s.listener.Close(); err == nil && !errors.Is(again, net.ErrClosed) {
		err = again // Serve had not come to it
	}
	s.running.Wait()
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	return nil
}
