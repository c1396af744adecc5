package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs"
)

// shop is a service whose stock is out of reach.
type shop struct {
	logger *slog.Logger
	client *http.Client
	stock  string // URL
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	ctx := obs.With(r.Context(), slog.String("order.id", chi.URLParam(r, "id")))
	s.logger.DebugContext(ctx, "order asked for", "query", r.URL.Query().Encode())
	if err := s.load(ctx); err != nil {
		s.logger.ErrorContext(ctx, "order not served", "error", err) // the same error, again
		http.Error(w, "no order", http.StatusInternalServerError)
	}
}

var errStock = errors.New("stock: 503 from inventory")

func (s *shop) load(ctx context.Context) (err error) {
	ctx, span := obs.Start(ctx, "order.load", slog.Int("items", 2))
	defer span.End(&err)
	req, err := http.NewRequestWithContext(obs.With(ctx, slog.String("url.template", "/stock/{id}")), http.MethodGet, s.stock+"/stock/7?token=planted", nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.logger.InfoContext(ctx, "stock asked", "status_code", resp.StatusCode)
	if resp.StatusCode != http.StatusOK {
		s.logger.ErrorContext(ctx, "stock is out of reach", "error", errStock)
		return fmt.Errorf("load order: %w", errStock)
	}
	return nil
}

// TestFailingRequest follows one failing request into the log, where its debug
// records stand although the filter withholds them, and to the intake of
// Datadog's agent, where each span has the error once, and the innermost its
// stack.
func TestFailingRequest(t *testing.T) {
	a := agent.Start(t)
	inventory := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer inventory.Close()
	var log bytes.Buffer
	tel, err := obs.New(t.Context(), obs.Options{
		Service: "shop", Env: "prod", ProjectID: "acme-shop", LogFormat: "json", LogFilter: "info", LogWriter: &log,
		AgentURL: a.URL, AgentAuth: "none", FlightRecorder: &obs.FlightRecorder{},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{tel.Logger(), &http.Client{Transport: obs.Transport(nil)}, inventory.URL}
	r := chi.NewRouter()
	r.Use(chiobs.Config{Provider: tel.TracerProvider()}.Middleware)
	r.Get("/orders/{id}", s.order)
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/orders/7?page=2", nil))
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := a.WaitSpans(t, 3)
	a.Stop()
	t.Logf("the log:\n%s", &log)
	for _, span := range spans {
		t.Logf("at the intake: %s", describe(span))
	}
	if rec.Code != http.StatusInternalServerError || len(spans) != 3 {
		t.Fatalf("got %d, %d spans", rec.Code, len(spans))
	}
	checkFailingLog(t, log.String(), spans[0].TraceID)
	checkFailingSpans(t, spans)
	if strings.Contains(log.String()+fmt.Sprint(spans), "planted") {
		t.Error("a secret is shown")
	}
}

// describe says what of a span matters here.
func describe(s agent.Span) string {
	text := fmt.Sprintf("%s %q type=%s span=%d parent=%d error=%t", s.Name, s.Resource, s.Type, s.SpanID, s.ParentID, s.Error)
	for _, k := range []string{"http.route", "http.status_code", "order.id", "url.full", "error.type", "error.message", "error.stack"} {
		if v := s.Meta[k]; v != "" {
			text += fmt.Sprintf("\n\t%s=%q", k, v)
		}
	}
	for _, e := range s.Events {
		text += "\n\tevent " + e.Name
		for _, k := range []string{"exception.type", "exception.message", "error.causes", "exception.stacktrace"} {
			if v := e.Meta[k]; v != "" {
				text += fmt.Sprintf("\n\t\t%s=%q", k, v)
			}
		}
	}
	return text
}

func checkFailingLog(t *testing.T, log, traceID string) {
	t.Helper()
	var got []string
	last := ""
	for line := range strings.Lines(log) {
		var record struct {
			Severity, Message, Time, Logger string
			Trace                           string `json:"logging.googleapis.com/trace"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if record.Logger == "kumihimo" {
			continue
		}
		got = append(got, record.Severity+" "+record.Message)
		if record.Trace != "projects/acme-shop/traces/"+traceID || record.Time < last && record.Severity != "DEBUG" {
			t.Errorf("trace or time: %s", line)
		}
		last = record.Time
	}
	want := "INFO stock asked|DEBUG order asked for|ERROR stock is out of reach|ERROR order not served|ERROR GET /orders/{id} 500"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func checkFailingSpans(t *testing.T, spans []agent.Span) {
	t.Helper()
	byName := make(map[string]agent.Span)
	for _, s := range spans {
		byName[s.Resource] = s
	}
	server, load, call := byName["GET /orders/{id}"], byName["order.load"], byName["GET /stock/{id}"]
	if load.ParentID != server.SpanID || call.ParentID != load.SpanID || server.ParentID != 0 || server.TraceID != call.TraceID {
		t.Errorf("got %v", byName)
	}
	if !server.Error || !load.Error || !call.Error || call.Type != "http" || server.Type != "web" {
		t.Errorf("got %v", byName)
	}
	if len(server.Events) != 1 || len(load.Events) != 1 || len(call.Events) != 0 {
		t.Fatalf("events: got %v", byName)
	}
	event := load.Events[0].Meta
	if event["exception.message"] != errStock.Error() || !strings.Contains(event["exception.stacktrace"], "conformance.(*shop).load") {
		t.Errorf("got %v", event)
	}
	event = server.Events[0].Meta
	if event["exception.message"] != "load order: "+errStock.Error() || event["exception.stacktrace"] != "" {
		t.Errorf("got %v", event)
	}
	if load.Meta["error.message"] != "load order: "+errStock.Error() || load.Meta["order.id"] != strconv.Itoa(7) {
		t.Errorf("got %v", load.Meta)
	}
}
