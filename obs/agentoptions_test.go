package obs

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// TestUnsampledPerSecond: of the traces that are not kept, as many go to the
// agent as the option says, and the others count as unsampled.
func TestUnsampledPerSecond(t *testing.T) {
	t.Parallel()
	const traces = 300
	none := 0.0
	for _, tt := range []struct {
		name      string
		perSecond int
		all       bool
	}{
		{"ten", 10, false},
		{"all", -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, _ := newTest(t, Options{
				SampleRate: &none, UnsampledPerSecond: tt.perSecond,
				AgentURL: serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					io.WriteString(w, "OK")
				})),
			})
			begin := time.Now()
			for range traces {
				_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
				span.End()
			}
			// A busy machine may take long for them: each second more lets more pass.
			most := int64(tt.perSecond) * int64(time.Since(begin)/time.Second+3)
			if err := tel.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := tel.Stats().Spans
			if s.Sent+s.Dropped.Unsampled != traces {
				t.Errorf("%+v", s)
			}
			if tt.all && s.Sent != traces || !tt.all && most < traces/2 && s.Dropped.Unsampled == 0 {
				t.Errorf("%d sent, %d unsampled", s.Sent, s.Dropped.Unsampled)
			}
		})
	}
}

// TestExternalEnv: what the admission controller says goes on to the agent.
func TestExternalEnv(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	url := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got.Store(r.Header.Get("Datadog-External-Env"))
		io.WriteString(w, "OK")
	}))
	const want = "it-false,cn-shop,pu-75a2b6d5"
	tel, _ := newTest(t, Options{AgentURL: url}, "DD_EXTERNAL_ENV="+want)
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	span.End()
	if err := tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got.Load() != want {
		t.Errorf("got %v, want %q", got.Load(), want)
	}
}
