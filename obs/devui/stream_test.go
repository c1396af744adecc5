package devui

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// listener reads a page's event stream.
type listener struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
}

func listen(t *testing.T, url string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a bound, no expectation
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s", resp.Status, body(t, resp))
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 64<<20)
	return &listener{t, resp, in}
}

// next returns the next event; ok is false at the stream's end.
func (l *listener) next() (name string, u update, ok bool) {
	l.t.Helper()
	for l.in.Scan() {
		if n, found := strings.CutPrefix(l.in.Text(), "event: "); found {
			name = n
		}
		if data, found := strings.CutPrefix(l.in.Text(), "data: "); found {
			if err := json.Unmarshal([]byte(data), &u); err != nil {
				l.t.Fatal(err)
			}
			return name, u, true
		}
	}
	return "", u, false
}

// until reads changes until done says so.
func (l *listener) until(done func(update) bool) {
	l.t.Helper()
	for {
		name, u, ok := l.next()
		if !ok || name != "change" {
			l.t.Fatalf("got %q %+v, %t", name, u, ok)
		}
		if done(u) {
			return
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	empty := listen(t, srv.URL+"/api/stream")
	if name, u, _ := empty.next(); name != "all" || len(u.Traces) != 0 || u.Facets == nil {
		t.Errorf("got %q %+v", name, u)
	}
	r.request("/orders/1", 200, nil)
	empty.until(func(u update) bool {
		return len(u.Traces) == 1 && u.Traces[0].Spans == 2 && u.Logs == nil && u.Stats.Spans == 2
	})

	failing := listen(t, srv.URL+"/api/stream?failed=1")
	tail := listen(t, srv.URL+"/api/stream?want=logs&level=error")
	if name, u, _ := failing.next(); name != "all" || len(u.Traces) != 0 {
		t.Errorf("got %q %+v", name, u)
	}
	if name, u, _ := tail.next(); name != "all" || len(u.Logs) != 0 {
		t.Errorf("got %q %+v", name, u)
	}
	r.request("/orders/2", 200, nil)
	r.request("/orders/3", 500, errDeclined)
	failing.until(func(u update) bool { return len(u.Traces) == 1 && u.Traces[0].Path == "/orders/3" })
	tail.until(func(u update) bool {
		return len(u.Logs) == 1 && u.Logs[0].Message == "order not loaded" && u.Traces == nil
	})
	empty.until(func(u update) bool { return u.Stats.Traces == 3 })
}

// TestStreamEnds: neither a server nor the viewer waits for open pages.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(context.Context, *rig, *http.Server) error
	}{
		{"the server", func(ctx context.Context, _ *rig, s *http.Server) error { return s.Shutdown(ctx) }},
		{"the viewer", func(ctx context.Context, r *rig, _ *http.Server) error { return r.Shutdown(ctx) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{})
			srv := httptest.NewServer(r)
			t.Cleanup(srv.Close)
			pages := []*listener{listen(t, srv.URL+"/api/stream"), listen(t, srv.URL+"/api/stream?want=logs")}
			for _, l := range pages {
				l.next()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := tt.end(ctx, r, srv.Config); err != nil {
				t.Fatal(err)
			}
			for _, l := range pages {
				if name, u, ok := l.next(); ok {
					t.Errorf("got %q %+v, want the end", name, u)
				}
			}
		})
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.streams.open = maxStreams
	if w := serve(r, request(t, "GET", "/api/stream")); w.Code != 503 {
		t.Errorf("got %d, want 503", w.Code)
	}
}
