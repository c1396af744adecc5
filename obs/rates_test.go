package obs

import (
	"io"
	"net/http"
	"testing"
)

// TestAgentsRates: what the agent's answers ask for is what new traces are
// sampled by, until a rate of the program's own is set.
func TestAgentsRates(t *testing.T) {
	t.Parallel()
	all := 1.0
	for _, tt := range []struct {
		name    string
		opts    Options
		sampled bool
	}{
		{"the agent's", Options{}, false},
		{"the program's", Options{SampleRate: &all}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Service, tt.opts.Env = "shop", "prod"
			tt.opts.AgentURL = serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Datadog-Agent-Version", "7.0.0")
				io.WriteString(w, `{"rate_by_service":{"service:,env:":1,"service:shop,env:prod":0}}`)
			}))
			tel, _ := newTest(t, tt.opts)
			tracer := tel.TracerProvider().Tracer("test")
			_, span := tracer.Start(t.Context(), "before an answer")
			if !span.SpanContext().IsSampled() {
				t.Error("before an answer: not sampled, want all")
			}
			span.End()
			if err := tel.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, span = tracer.Start(t.Context(), "after it")
			defer span.End()
			if got := span.SpanContext().IsSampled(); got != tt.sampled {
				t.Errorf("after it: sampled: got %t, want %t", got, tt.sampled)
			}
		})
	}
}
