package obstest_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

// TestCloud: spans go the whole way to the agent, and are recorded on it.
func TestCloud(t *testing.T) {
	t.Parallel()
	cloud := obstest.StartCloud(t, emulator.CloudOptions{
		Agent: emulator.AgentOptions{Fault: emulator.Times(1, emulator.Status(503))},
	})
	rec := obstest.NewIn(t, cloud.Environ(), obs.Options{Service: "shop", Redact: []string{"pin"}})
	ctx, span := obs.Start(rec.Context(), "checkout", slog.String("pin", "planted"))
	slog.InfoContext(ctx, "paid")
	span.End(nil)
	rec.Want(`
		checkout pin=[REDACTED]
		  INFO paid
	`)
	if err := rec.Telemetry().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := cloud.Agent.Spans()
	if len(spans) != 1 || spans[0].Service != "shop" || spans[0].Resource != "checkout" || spans[0].TraceID != rec.Traces()[0].ID {
		t.Errorf("the agent has %+v", spans)
	}
	if s := rec.Telemetry().Stats().Spans; s.Sent != 1 || s.Dropped.Total() != 0 {
		t.Errorf("got %+v", s)
	}
	if n := cloud.FrontEnd.Refused(); n != 0 {
		t.Errorf("%d requests came without a good token", n)
	}
}

// TestFailingAgent: it fails no test, and costs one no more than 2 s.
func TestFailingAgent(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	agent := obstest.StartAgent(t, emulator.AgentOptions{Fault: emulator.Reset()})
	rec := obstest.NewIn(f, nil, obs.Options{AgentURL: agent.URL()})
	_, span := obs.Start(rec.Context(), "checkout")
	span.End(nil)
	rec.Want("checkout")
	if f.Failed() {
		t.Error(f.said.String())
	}
	f.end()
	if s := rec.Telemetry().Stats().Spans; s.Sent != 0 || s.Dropped.Shutdown != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestEnviron: variables are a test's own, and tests of different ones run at
// once.
func TestEnviron(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		environ map[string]string
		records int
		spans   int
	}{
		{"none", nil, 2, 1},
		{"a filter", map[string]string{"OBS_LOG": "warn"}, 0, 1},
		{"a rate", map[string]string{"DD_TRACE_SAMPLE_RATE": "0"}, 2, 0},
		{"Cloud Run", map[string]string{"K_SERVICE": "shop", "GOOGLE_CLOUD_PROJECT": "acme"}, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec := obstest.NewIn(t, tt.environ)
			if err := checkout(rec.Context(), "7", nil); err != nil {
				t.Fatal(err)
			}
			spans := 0
			for _, tr := range rec.Traces() {
				spans += len(tr.Roots)
			}
			if len(rec.Records()) != tt.records || spans != tt.spans {
				t.Errorf("got %d records and %d roots, want %d and %d", len(rec.Records()), spans, tt.records, tt.spans)
			}
		})
	}
}

// TestWrongEnviron: a mistake in a variable fails the test at once.
func TestWrongEnviron(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	f.fatally(func() { obstest.NewIn(f, map[string]string{"DD_TRACE_SAMPLE_RATE": "2"}) })
	if said := f.said.String(); !strings.Contains(said, `DD_TRACE_SAMPLE_RATE="2"`) {
		t.Errorf("got %q", said)
	}
}
