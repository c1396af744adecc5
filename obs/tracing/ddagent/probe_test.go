package ddagent

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	const listing = `{"version":"7.80.0","endpoints":["/v0.4/traces","/v1.0/traces"]}`
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	traces := func(h http.HandlerFunc) http.HandlerFunc { // no /info
		return func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if r.URL.Path != "/v0.4/traces" {
				http.NotFound(w, r)
				return
			}
			if r.Method != http.MethodPost || string(b) != "\x90" || r.Header.Get("X-Datadog-Trace-Count") != "0" || err != nil {
				t.Errorf("%s with %q, %v", r.Method, b, err)
			}
			h(w, r)
		}
	}
	tests := []struct {
		name string
		h    http.HandlerFunc
		want Probe  // without Err and Date
		err  string // part of it; empty: none
	}{
		{"agent", write(listing), Probe{Status: 200, Agent: true, Version: "7.80.0", Protocol: "v1.0"}, ""},
		{"older agent", write(`{"version":"7.60.0","endpoints":["/v0.4/traces"]}`), Probe{Status: 200, Agent: true, Version: "7.60.0", Protocol: "v0.4"}, ""},
		{"odd version", write(`{"version":"7\u001b[31m` + strings.Repeat("x", 100) + `","endpoints":[]}`), Probe{Status: 200, Agent: true, Version: "7[31m" + strings.Repeat("x", 45), Protocol: "v0.4"}, ""},
		{"receiver", traces(write(`{"rate_by_service":{}}`)), Probe{Status: 200, Agent: true, Protocol: "v0.4"}, ""},
		{"old agent", traces(write("OK\n")), Probe{Status: 200, Agent: true, Protocol: "v0.4"}, ""},
		{"receiver that fails", traces(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), Probe{Status: 500}, "/v0.4/traces: status 500"},
		{"nothing", http.NotFound, Probe{Status: 404}, "/info: status 404"},
		{"page", write("<html>"), Probe{Status: 200}, "/info: the answer is not an agent's (it is text/html)"},
		{"other JSON", write(`{"swagger":"2.0"}`), Probe{Status: 200}, "/info: the answer is not an agent's"},
		{"refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, Probe{Status: 403}, "/info: status 403"},
		{"refused by an agent", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Datadog-Agent-Version", "7.80.0")
			w.WriteHeader(403)
		}, Probe{Status: 403, Agent: true, Version: "7.80.0"}, "/info: status 403"},
		{"redirect", http.RedirectHandler("/login", http.StatusFound).ServeHTTP, Probe{Status: 302}, "/info: status 302"},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, Probe{Status: 200}, "ended early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.h)
			t.Cleanup(server.Close)
			e := NewExporter(Options{URL: server.URL})
			got := e.Probe(t.Context())
			if tt.err == "" && got.Err != nil || tt.err != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), tt.err)) {
				t.Errorf("got the error %v, want %q", got.Err, tt.err)
			}
			if off := time.Since(got.Date); off < -time.Minute || off > 10*time.Minute {
				t.Errorf("the date is %v", got.Date)
			}
			got.Err, got.Date = nil, time.Time{}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if s := e.Stats(); s.Ended != 0 {
				t.Errorf("the account has %+v", s)
			}
		})
	}
}

// TestProbeWithoutAnswer names no password.
func TestProbeWithoutAnswer(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	panicking := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { panic("a bug of the program") })}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		opts Options
		err  string
	}{
		{"dead", t.Context(), Options{URL: "http://user:hunter2@127.0.0.1:1"}, "refused"},
		{"unusable URL", t.Context(), Options{URL: "ftp://user:hunter2@agent"}, "must be http"},
		{"canceled", canceled, Options{URL: "http://user:hunter2@127.0.0.1:1"}, "canceled"},
		{"panic", t.Context(), Options{URL: "http://user:hunter2@agent", HTTPClient: panicking}, "panicked"},
	} {
		p := NewExporter(tt.opts).Probe(tt.ctx)
		if p.Status != 0 || p.Err == nil || !strings.Contains(p.Err.Error(), tt.err) || strings.Contains(p.Err.Error(), "hunter2") {
			t.Errorf("%s: got %+v, want an error with %q", tt.name, p, tt.err)
		}
	}
}
