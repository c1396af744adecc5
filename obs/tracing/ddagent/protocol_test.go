package ddagent

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	pathV04 = "/v0.4/traces"
	pathV1  = "/v1.0/traces"
)

// one sends one span and lets it arrive.
func (r *rig) one() {
	r.t.Helper()
	_, span, _ := r.trace(keepIt)
	span.End()
	r.flushed()
}

func (r *rig) wantPaths(want ...string) {
	r.t.Helper()
	r.agent.mu.Lock()
	defer r.agent.mu.Unlock()
	if !slices.Equal(r.agent.paths, want) {
		r.t.Errorf("requests to %v, want %v", r.agent.paths, want)
	}
}

func (r *rig) wantInfos(want int) {
	r.t.Helper()
	r.agent.mu.Lock()
	defer r.agent.mu.Unlock()
	if r.agent.infos != want {
		r.t.Errorf("/info was read %d times, want %d", r.agent.infos, want)
	}
}

func TestVersionIsWhatTheAgentLists(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(_ *testing.T, r *rig, _ trace.Tracer) {
		r.agent.speak("a", true)
		time.Sleep(time.Hour)
		r.wantInfos(0) // nothing to send, nothing to ask
		for range 3 {
			r.one()
		}
		time.Sleep(time.Hour)
		r.wantPaths(pathV1, pathV1, pathV1)
		r.wantInfos(1)
		if s := r.check(3); s.Sent != 3 {
			r.t.Errorf("%+v", s)
		}
	})
}

// TestVersionFollowsTheAgent replaces the agent behind the URL by an older one
// and that by a newer one, as deployments do.
func TestVersionFollowsTheAgent(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(_ *testing.T, r *rig, _ trace.Tracer) {
		r.agent.speak("a", false)
		r.one()
		r.one()
		r.agent.speak("b", true)
		r.one() // whose answer shows the new state
		time.Sleep(time.Hour)
		r.wantInfos(1)
		r.one()
		r.wantPaths(pathV04, pathV04, pathV04, pathV1)
		r.wantInfos(2)
		r.agent.speak("c", false)
		r.one() // v1.0 works still
		r.one()
		r.wantPaths(pathV04, pathV04, pathV04, pathV1, pathV1, pathV04)
		r.wantInfos(3)
		r.check(6)
	})
}

// TestSeveralAgentsBehindOneURL answers from two in turn: each is asked once.
func TestSeveralAgentsBehindOneURL(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(_ *testing.T, r *rig, _ trace.Tracer) {
		for range 20 {
			r.agent.speak("a", true)
			r.one()
			r.agent.speak("b", true)
			r.one()
		}
		r.wantInfos(2)
		r.check(40)
	})
}

// TestEncodedAgainAfter404 takes a version away that the agent has listed.
func TestEncodedAgainAfter404(t *testing.T) {
	for _, tt := range []struct{ gone, left string }{{pathV1, pathV04}, {pathV04, pathV1}} {
		t.Run(tt.gone, func(t *testing.T) {
			bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
				r.agent.speak("a", tt.gone == pathV1)
				r.agent.set(func(w http.ResponseWriter, req *http.Request, _ int, _ []byte) bool {
					if req.URL.Path == tt.gone {
						http.NotFound(w, req)
						return true
					}
					return false
				})
				r.one()
				r.one()
				r.wantPaths(tt.gone, tt.left, tt.left)
				if s := r.check(2); s.Sent != 2 || len(r.logs.records) != 0 {
					t.Errorf("%+v, %d reports", s, len(r.logs.records))
				}
			})
		})
	}
}

// TestAgentsWithoutInfo are spoken to in v0.4, and lose nothing.
func TestAgentsWithoutInfo(t *testing.T) {
	tests := []struct {
		name  string
		info  func(http.ResponseWriter)
		infos int // reads for three spans
	}{
		{"404", nil, 1},
		{"the Collector's receiver", func(w http.ResponseWriter) { io.WriteString(w, "OK\n") }, 1},
		{"an old one", func(w http.ResponseWriter) { io.WriteString(w, `{"endpoints":["/v0.3/traces","/v0.4/traces"]}`) }, 1},
		{"a page", func(w http.ResponseWriter) { io.WriteString(w, portal) }, 1},
		{"other JSON", func(w http.ResponseWriter) { io.WriteString(w, `{"endpoints":"/v1.0/traces"}`) }, 1},
		{"half an answer", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"endpoints":["/v1.0/traces"`)
		}, 1},
		{"endless", func(w http.ResponseWriter) {
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
					return
				}
			}
		}, 1},
		{"never", func(http.ResponseWriter) { time.Sleep(time.Minute) }, 1},
		{"1 B/s", func(w http.ResponseWriter) {
			for range 60 {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}, 1},
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, ProcessorOptions{}, func(_ *testing.T, r *rig, _ trace.Tracer) {
				r.agent.info = tt.info
				for range 3 {
					r.one()
				}
				r.wantPaths(pathV04, pathV04, pathV04)
				r.wantInfos(tt.infos)
				r.check(3)
				time.Sleep(2 * time.Minute) // the handlers above return
			})
		})
	}
}

// TestInfoFailsAtFirst asks again once an answer tells of an agent that has
// not been asked: it costs the first payload the longer form.
func TestInfoFailsAtFirst(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(_ *testing.T, r *rig, _ trace.Tracer) {
		r.agent.state = "a"
		r.agent.info = func(w http.ResponseWriter) { w.WriteHeader(503) }
		r.one()
		r.one() // asks again, the state being new
		r.one()
		r.wantInfos(2)
		r.agent.speak("a", true)
		time.Sleep(infoPause)
		r.one()
		r.one()
		r.wantPaths(pathV04, pathV04, pathV04, pathV04, pathV1)
		r.wantInfos(3)
		r.check(5)
	})
}

// TestHungInfoHoldsNobody up: neither who ends spans nor Shutdown.
func TestHungInfoHoldsNobody(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		r.agent.info = func(http.ResponseWriter) { time.Sleep(time.Minute) }
		begin := time.Now()
		for range 100 {
			_, span, _ := r.trace(keepIt)
			span.End()
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("ending spans took %v", took)
		}
		r.stop()
		if took := time.Since(begin); took > infoTimeout+100*time.Millisecond {
			t.Errorf("Shutdown took %v", took)
		}
		r.check(100)
		time.Sleep(2 * time.Minute)
	})
}

// TestPayloadHasOneEnv: v1.0 says env and version once a payload.
func TestPayloadHasOneEnv(t *testing.T) {
	t.Parallel()
	a, b := &identity{env: "prod", version: "1"}, &identity{env: "prod", version: "1"}
	if !a.agrees(a) || !a.agrees(b) {
		t.Error("the same env and version do not agree")
	}
	for _, c := range []*identity{{env: "prod", version: "2"}, {env: "test", version: "1"}} {
		if a.agrees(c) {
			t.Errorf("%+v agrees with %+v", a, c)
		}
	}
}
