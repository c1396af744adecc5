package devui

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	// maxStreams bounds open pages. A browser has six connections a server.
	maxStreams = 64

	// pace is the least time between two messages: a page is looked at, and a
	// service under load makes thousands of changes a second.
	pace = 100 * time.Millisecond

	// heartbeat keeps proxies and browsers from giving up on a silent stream.
	heartbeat = 25 * time.Second

	// patience is how long a browser may take for one message.
	patience = 10 * time.Second
)

// streams are the open pages'.
type streams struct {
	ended chan struct{} // closed when the viewer is shut down

	mu      sync.Mutex // guards what follows
	open    int
	servers map[*http.Server]chan struct{} // closed when the server is shut down
}

// join counts a stream in, and returns a channel that is closed when r's server
// shuts down: it would wait for the stream, which does not end.
func (s *streams) join(ctx context.Context) (ending <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxStreams {
		return nil, false
	}
	s.open++
	server, _ := ctx.Value(http.ServerContextKey).(*http.Server)
	if server == nil {
		return nil, true
	}
	if ch := s.servers[server]; ch != nil {
		return ch, true
	}
	if s.servers == nil {
		s.servers = make(map[*http.Server]chan struct{})
	}
	ch := make(chan struct{})
	s.servers[server] = ch
	server.RegisterOnShutdown(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.servers[server] == ch {
			delete(s.servers, server)
			close(ch)
		}
	})
	return ch, true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// stream tells a page what it wants, as server-sent events: all there is in one
// "all", then what changes in a "change" each. want says whether that is
// traces or logs; the rest of the query is the filter.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
func (v *Viewer) stream(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	logs := r.URL.Query().Get("want") == "logs"
	ending, ok := v.streams.join(r.Context())
	if !ok {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer v.streams.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	s := &eventStream{conn: http.NewResponseController(w), w: w}
	var count uint64
	first := true
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changed := v.store.wait() // before looking, so that nothing is missed
		u := v.store.since(count, f, !logs, logs)
		u.Stats = v.statsDoc()
		if first {
			u.Facets = v.store.facets()
		}
		if !s.send(first, u) {
			return
		}
		first, count = false, u.upTo
		if !s.idle(r.Context(), changed, beat.C, ending, v.streams.ended) {
			return
		}
	}
}

// eventStream is one page's.
type eventStream struct {
	conn *http.ResponseController
	w    http.ResponseWriter
}

func (s *eventStream) send(all bool, u update) bool {
	name := "change"
	if all {
		name = "all"
	}
	body, err := json.Marshal(u)
	return err == nil && s.write("event: "+name+"\ndata: "+string(body)+"\n\n")
}

func (s *eventStream) write(text string) bool {
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience)) // for HTTP/1 connections it works
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.conn.Flush() == nil
}

// idle waits for a change, and a little longer. It reports false when the
// stream is over.
func (s *eventStream) idle(ctx context.Context, changed <-chan struct{}, beat <-chan time.Time, ends ...<-chan struct{}) bool {
	var paced <-chan time.Time
	for {
		select {
		case <-changed:
			changed, paced = nil, time.After(pace)
		case <-paced:
			return true
		case <-beat:
			if !s.write(": still here\n\n") {
				return false
			}
		case <-ctx.Done():
			return false
		case <-ends[0]:
			return false
		case <-ends[1]:
			return false
		}
	}
}
