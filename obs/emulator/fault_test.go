package emulator

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestFaults orders each fault of each part, and looks at what a client sees.
func TestFaults(t *testing.T) {
	t.Parallel()
	parts := []struct {
		name    string
		healthy int
		start   func(*testing.T, Fault) (url string)
	}{
		{"agent", 200, func(t *testing.T, f Fault) string {
			return started[*Agent](t)(StartAgent(AgentOptions{Fault: f})).URL() + "/info"
		}},
		{"metadata server", 403, func(t *testing.T, f Fault) string {
			return started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{Fault: f})).server.url()
		}},
		{"front end", 200, func(t *testing.T, f Fault) string {
			agent := started[*Agent](t)(StartAgent(AgentOptions{}))
			return started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: agent.URL(), Fault: f})).URL() + "/info"
		}},
	}
	tests := []struct {
		name   string
		fault  Fault
		status int // 0: a reset
		body   string
	}{
		{"status", Status(503), 503, "Service Unavailable\n"},
		{"garbage", Garbage(), 200, "\x00\x01\x02"},
		{"captive page", CaptivePage(), 200, "<!DOCTYPE html>"},
		{"reset", Reset(), 0, ""},
	}
	for _, part := range parts {
		for _, tt := range tests {
			t.Run(part.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				url := part.start(t, Times(1, tt.fault))
				resp, err := client(t).Get(url)
				switch {
				case tt.status == 0:
					if !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("got %v, want a reset", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != tt.status || !strings.HasPrefix(string(body), tt.body) {
						t.Errorf("got %s %q, %v", resp.Status, body, err)
					}
				}
				if resp, _ := send(t, "GET", url, ""); resp.StatusCode != part.healthy {
					t.Errorf("the second request: got %s, want %d", resp.Status, part.healthy)
				}
			})
		}
	}
}

// TestDelay: the answer is the part's own, and a part that is closed waits for
// no delay.
func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Millisecond
	agent := started[*Agent](t)(StartAgent(AgentOptions{Fault: Delay(delay)}))
	began := time.Now()
	if resp, _ := send(t, "GET", agent.URL()+"/info", ""); resp.StatusCode != 200 || time.Since(began) < delay {
		t.Errorf("got %s after %v, want 200 after %v", resp.Status, time.Since(began), delay)
	}

	reached := make(chan struct{})
	day := Delay(24 * time.Hour)
	stuck, err := StartAgent(AgentOptions{Fault: func(w http.ResponseWriter, r *http.Request) bool {
		close(reached)
		return day(w, r)
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		resp, err := client(t).Get(stuck.URL() + "/info")
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-reached
	if err := stuck.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("a closed agent answers")
	}
}

// TestTimes: the count holds for requests that come at once.
func TestTimes(t *testing.T) {
	t.Parallel()
	const faulty, all = 5, 20
	agent := started[*Agent](t)(StartAgent(AgentOptions{Fault: Times(faulty, Status(500))}))
	c := client(t)
	var mu sync.Mutex
	counts := map[int]int{}
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			resp, err := c.Get(agent.URL() + "/info")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			counts[resp.StatusCode]++
		})
	}
	wg.Wait()
	if counts[500] != faulty || counts[200] != all-faulty {
		t.Errorf("got %v, want %d of 500 and %d of 200", counts, faulty, all-faulty)
	}
}
