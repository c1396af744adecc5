package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/devui"
	"github.com/kumihimo/kumihimo/obs/emulator"
)

// A stage is what the services play on. On a machine where nothing is
// configured it is a Google Cloud and a Datadog Agent in miniature: tokens come
// from a metadata server, spans go through a front end that checks them to an
// agent, and what the agent received is shown after each request, and in a
// browser. Elsewhere it is nil and does nothing.
type stage struct {
	viewer    *devui.Viewer
	cloud     *emulator.Cloud
	pipelines []*obs.Telemetry
	requests  chan struct{} // has room for one
	stop      context.CancelFunc
	showing   sync.WaitGroup
	shown     int
	held      []emulator.Span // of requests that are not through
}

// configured are the variables that say where telemetry goes; each set one
// means that somebody has decided.
var configured = []string{
	"DD_TRACE_AGENT_URL", "DD_AGENT_HOST", "DD_TRACE_AGENT_PORT", "DD_TRACE_ENABLED", "OTEL_SDK_DISABLED",
	"K_SERVICE", "CLOUD_RUN_JOB", "FUNCTION_TARGET",
	"GCE_METADATA_HOST", "OBS_AGENT_AUTH", "OBS_AGENT_AUDIENCE",
}

func newStage() (*stage, error) {
	for _, name := range configured {
		if os.Getenv(name) != "" {
			return nil, nil
		}
	}
	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
	if err != nil {
		return nil, err
	}
	for name, value := range cloud.Environ() {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return &stage{viewer: devui.New(devui.Options{}), cloud: cloud, requests: make(chan struct{}, 1), stop: func() {}}, nil
}

// seen lets the viewer see the spans and records of a pipeline.
func (s *stage) seen(o obs.Options) obs.Options {
	if s != nil {
		o.SpanProcessors = append(o.SpanProcessors, s.viewer)
		o.LogHandlers = append(o.LogHandlers, s.viewer)
	}
	return o
}

// announce says where the viewer is, once ln listens.
func (s *stage) announce(ln net.Listener) context.Context {
	if s != nil {
		fmt.Printf("see traces and logs at http://%s%s/\n", ln.Addr(), viewerPath)
	}
	return context.Background()
}

const viewerPath = "/debug/obs"

// watch shows what arrives after each request.
func (s *stage) watch(pipelines ...*obs.Telemetry) {
	if s == nil {
		return
	}
	fmt.Println("no agent configured: this process runs one behind Google's authentication, and shows what it receives")
	s.pipelines = pipelines
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.showing.Go(func() {
		for {
			select {
			case <-s.requests:
				s.flush(ctx)
				s.show()
			case <-ctx.Done():
				return
			}
		}
	})
}

// around is outside of the middleware, so a request's span has ended when it
// takes note. In production nothing is flushed after a request.
func (s *stage) around(next http.Handler) http.Handler {
	if s == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == viewerPath || strings.HasPrefix(r.URL.Path, viewerPath+"/") {
			s.viewer.ServeHTTP(w, r) // which must not be seen itself
			return
		}
		defer func() {
			select {
			case s.requests <- struct{}{}:
			default: // one is waiting, and will see this one's spans too
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *stage) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, p := range s.pipelines {
		if err := p.Flush(ctx); err != nil {
			p.Logger().WarnContext(ctx, "spans not flushed", "error", err)
		}
	}
}

// show prints the traces of requests that are through: those of which the
// shop's server span, the last to end, has come.
func (s *stage) show() {
	all := s.cloud.Agent.Spans()
	s.held = append(s.held, all[min(s.shown, len(all)):]...)
	s.shown = len(all)
	through := make(map[string]bool)
	for _, span := range s.held {
		if span.Service == "shop" && span.Kind == "server" {
			through[span.TraceID] = true
		}
	}
	var whole, rest []emulator.Span
	for _, span := range s.held {
		if through[span.TraceID] {
			whole = append(whole, span)
		} else {
			rest = append(rest, span)
		}
	}
	s.held = rest
	fmt.Print(emulator.Tree(whole))
}

// account prints what became of all spans, once the pipelines are shut down.
func (s *stage) account(pipelines ...*obs.Telemetry) {
	if s != nil {
		s.stop()
		s.showing.Wait()
		s.show()
	}
	var ended, sent, lost int64
	for _, p := range pipelines {
		spans := p.Stats().Spans
		ended += spans.Ended
		sent += spans.Sent
		lost += spans.Dropped.Total()
	}
	fmt.Printf("spans: %d ended, %d sent, %d lost", ended, sent, lost)
	if s != nil {
		fmt.Printf("; the agent has %d", len(s.cloud.Agent.Spans()))
	}
	fmt.Println()
}

func (s *stage) close() {
	if s == nil {
		return
	}
	s.stop()
	s.showing.Wait()
	if err := errors.Join(s.cloud.Close(), s.viewer.Shutdown(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, "chi-app:", err)
	}
}
