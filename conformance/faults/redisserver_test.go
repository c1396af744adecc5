//go:build unix

package faults

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a real redis-server.
type redisServer struct {
	addr    string
	path    string
	admin   *redis.Client
	process *os.Process
	exited  chan struct{}
}

// needRedis returns the path of redis-server, which CI must have.
func needRedis(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil && (os.Getenv("CI") == "true" || *update) {
		t.Fatalf("want a real redis-server: %v", err)
	}
	if err != nil {
		t.Skip("no redis-server on PATH")
	}
	return path
}

func startRedis(t *testing.T, path string) *redisServer {
	t.Helper()
	for range 5 { // another process may take the port first
		p, err := reserve()
		if err != nil {
			t.Fatal(err)
		}
		p.socket.Close()
		s := &redisServer{addr: p.addr, path: path}
		if s.run(t) {
			s.admin = redis.NewClient(&redis.Options{Addr: s.addr, Password: password})
			t.Cleanup(func() {
				s.admin.Close()
				s.kill()
			})
			return s
		}
	}
	t.Fatal("redis-server does not start")
	return nil
}

const password = "hunter2"

// run starts the server at its address, and reports whether it takes
// connections.
func (s *redisServer) run(t *testing.T) bool {
	t.Helper()
	_, number, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.path, "--bind", "127.0.0.1", "--port", number, "--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--requirepass", password)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // it is killed
		close(exited)
	}()
	s.process, s.exited = cmd.Process, exited
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-ctx.Done():
			s.kill()
			return false
		case <-tick.C:
		}
	}
}

func (s *redisServer) kill() {
	s.process.Kill()
	<-s.exited
}

// do runs an administrator's command.
func (s *redisServer) do(t *testing.T, args ...any) {
	t.Helper()
	if err := s.admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// tokenKey waits for the token's key.
func (s *redisServer) tokenKey(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		keys, err := s.admin.Keys(ctx, "kumihimo:idtok:*").Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 1 {
			return keys[0]
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got the keys %q", keys)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listener hands each connection to f, in a goroutine of its own.
func listener(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			running.Go(func() { f(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// answering says the same to every command, of which RESP has one in each array.
func answering(t *testing.T, text string) (addr string) {
	return listener(t, func(c net.Conn) {
		defer c.Close()
		in := bufio.NewScanner(c)
		for in.Scan() {
			if strings.HasPrefix(in.Text(), "*") {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		}
	})
}

// slowly hands on what the server says after a while.
func slowly(t *testing.T, server string, wait time.Duration) (addr string) {
	return listener(t, func(c net.Conn) {
		defer c.Close()
		up, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		go func() {
			io.Copy(up, c) //nolint:errcheck // it ends with the connection
			up.Close()
		}()
		b := make([]byte, 4096)
		for {
			n, err := up.Read(b)
			time.Sleep(wait)
			if _, werr := c.Write(b[:n]); err != nil || werr != nil {
				return
			}
		}
	})
}
