package rediscache

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// server is a Redis of one test.
type server struct {
	addr  string
	admin *redis.Client // what a test does behind the cache's back
	real  bool
	stop  func() // for good

	process *os.Process // of a real one
}

// startRedis starts a real redis-server where there is one, and miniredis
// elsewhere. CI must have the real one. Arguments are of redis-server; of
// miniredis the password alone, "--requirepass", is understood.
func startRedis(t *testing.T, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	var s *server
	switch {
	case err == nil:
		s = startReal(t, path, args)
		t.Logf("against %s", path)
	case os.Getenv("CI") == "true":
		t.Fatalf("CI must have a real redis-server: %v", err)
	default:
		t.Log("against miniredis: no redis-server on PATH")
		s = startMini(t, args)
	}
	options := &redis.Options{Addr: s.addr}
	if len(args) == 2 && args[0] == "--requirepass" {
		options.Password = args[1]
	}
	s.admin = redis.NewClient(options)
	t.Cleanup(func() { s.admin.Close() })
	return s
}

func startMini(t *testing.T, args []string) *server {
	t.Helper()
	m := miniredis.RunT(t)
	if len(args) == 2 && args[0] == "--requirepass" {
		m.RequireAuth(args[1])
	}
	return &server{addr: m.Addr(), stop: m.Close}
}

func startReal(t *testing.T, path string, args []string) *server {
	t.Helper()
	return startProcess(t, path, func(port string) []string {
		return append([]string{
			"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
		}, args...)
	})
}

// needReal returns the path of redis-server, or skips where there is none: what
// miniredis cannot be.
func needReal(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("CI must have a real redis-server: %v", err)
	}
	if err != nil {
		t.Skip("no redis-server on PATH")
	}
	return path
}

// startProcess starts redis-server on a free port.
func startProcess(t *testing.T, path string, args func(port string) []string) *server {
	t.Helper()
	// Another process may take the port before redis-server does.
	for range 5 {
		port := freePort(t)
		cmd := exec.Command(path, args(port)...)
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			cmd.Wait() //nolint:errcheck // it is killed
			close(exited)
		}()
		stop := func() {
			cmd.Process.Kill() //nolint:errcheck // it may be gone
			<-exited
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		if answers(t, addr, exited) {
			t.Cleanup(stop)
			return &server{addr: addr, real: true, stop: stop, process: cmd.Process}
		}
		stop()
	}
	t.Fatal("redis-server does not start")
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// answers waits until the server takes connections, or has exited.
func answers(t *testing.T, addr string, exited <-chan struct{}) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// blackHole takes connections and never answers.
func blackHole(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	return l.Addr().String()
}
