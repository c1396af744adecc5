package obs

import (
	"strings"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/logging"
)

// TestFlushLines: a request's end, a job's and log.Fatal flush lines with
// spans, also where the agent takes none.
func TestFlushLines(t *testing.T) {
	t.Parallel()
	for _, agent := range []string{"", "http://127.0.0.1:1"} {
		out := &lockedBuffer{}
		lines := &logging.BufferedWriter{W: out, Interval: time.Hour}
		tel, err := build(t.Context(), Options{LogWriter: lines, AgentURL: agent, AgentAuth: "none"}, world("DD_TRACE_STARTUP_LOGS=false"))
		if err != nil {
			t.Fatal(err)
		}
		tel.Logger().Info("kept")
		if out.String() != "" {
			t.Errorf("written before: %s", out)
		}
		if err := tel.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), "kept") {
			t.Errorf("agent %q: got %q", agent, out)
		}
		shutDown(t, tel)
	}
}
