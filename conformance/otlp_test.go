package conformance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/conformance/collector"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	exporters "github.com/kumihimo/kumihimo/obs/otlp"
)

// otlpCloud is the Collector's receiver behind Google's authentication.
type otlpCloud struct {
	*collector.Collector
	front *emulator.FrontEnd
	opts  exporters.Options
}

func startOTLPCloud(t *testing.T) *otlpCloud {
	t.Helper()
	c := &otlpCloud{Collector: collector.Start(t)}
	metadata, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { metadata.Close() })
	if c.front, err = emulator.StartFrontEnd(emulator.FrontEndOptions{Backend: c.URL, Metadata: metadata}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.front.Close() })
	tokens := gcpauth.Cached(
		gcpauth.Metadata(gcpauth.MetadataOptions{Audience: c.front.Audience(), Host: metadata.Host()}),
		gcpauth.CacheOptions{Audience: c.front.Audience()})
	t.Cleanup(func() { tokens.Shutdown(context.Background()) }) //nolint:errcheck // it holds nothing
	c.opts = exporters.Options{Endpoint: c.front.URL(), TokenSource: tokens}
	return c
}

// service is one pipeline whose spans and records go to the receiver.
type service struct {
	*obs.Telemetry
	logs *exporters.LoggerProvider
}

func (c *otlpCloud) service(t *testing.T, name string) *service {
	t.Helper()
	spans, err := exporters.NewTraceExporter(t.Context(), c.opts)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := exporters.NewLoggerProvider(t.Context(), c.opts)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := obs.New(context.Background(), obs.Options{
		Service: name, Env: "prod", Version: "1.2", Tags: map[string]string{"team": "orders"},
		SpanExporter: spans, LoggerProvider: logs,
		LogWriter: io.Discard, // else what it says of itself is in the test's output
	})
	if err != nil {
		t.Fatal(err)
	}
	return &service{tel, logs}
}

// shop calls inventory, as the two services of examples/chi-app do.
func (s *service) shop(inventory string) http.Handler {
	client := &http.Client{Transport: obs.Transport(nil)}
	r := chi.NewRouter()
	r.Use(chiobs.Config{Provider: s.TracerProvider()}.Middleware)
	r.Get("/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, span := obs.Start(r.Context(), "order.load", slog.String("order.id", chi.URLParam(r, "id")))
		var err error
		defer func() { span.End(&err) }() // the response is written, whatever comes
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, inventory+"/stock/7", nil)
		if err != nil {
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		s.Logger().InfoContext(ctx, "order loaded", "order.id", chi.URLParam(r, "id"), "items", 2)
	})
	r.Get("/fail", func(w http.ResponseWriter, r *http.Request) {
		err := fmt.Errorf("charge 9900 cents: card declined")
		s.Logger().ErrorContext(r.Context(), "payment failed", "error", err)
		http.Error(w, "no", http.StatusInternalServerError)
	})
	r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("the shelf is empty") })
	return r
}

func (s *service) inventory() http.Handler {
	r := chi.NewRouter()
	r.Use(chiobs.Config{Provider: s.TracerProvider()}.Middleware)
	r.Get("/stock/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, span := obs.Start(r.Context(), "stock.count")
		s.Logger().DebugContext(ctx, "withheld by the filter")
		s.Logger().InfoContext(ctx, "stock counted", "article", chi.URLParam(r, "id"), "count", 3)
		span.End(nil)
	})
	return r
}

// TestOTLP sends two services through the verifying front end to the Collector's
// own receiver: every span and record arrives, each record at its span, with the
// span's resource.
func TestOTLP(t *testing.T) {
	c := startOTLPCloud(t)
	shop, inventory := c.service(t, "shop"), c.service(t, "inventory")
	stock := httptest.NewServer(inventory.inventory())
	t.Cleanup(stock.Close)
	front := httptest.NewServer(shop.shop(stock.URL))
	t.Cleanup(front.Close)
	for _, path := range []string{"/orders/7", "/fail", "/panic"} {
		resp, err := front.Client().Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	front.Close()
	stock.Close()
	sent, emitted := int64(0), int64(0)
	for _, s := range []*service{shop, inventory} {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		spans, logs := s.Stats().Spans, s.logs.Stats()
		if spans.Sent != spans.Ended || spans.Dropped.Total() != 0 || logs.Sent != logs.Emitted {
			t.Errorf("the accounts: %+v, %+v", spans, logs)
		}
		sent, emitted = sent+spans.Sent, emitted+logs.Sent
	}
	if c.front.Requests() == 0 || c.front.Refused() != 0 {
		t.Errorf("the front end: %d requests, %d refused", c.front.Requests(), c.front.Refused())
	}
	spans, records := c.Spans(), c.Records()
	if int64(len(spans)) != sent || int64(len(records)) != emitted {
		t.Errorf("%d spans and %d records arrived, %d and %d were sent", len(spans), len(records), sent, emitted)
	}
	want := []string{
		`shop      GET /orders/{id}     root                 INFO GET /orders/{id} 200`,
		`shop      order.load           GET /orders/{id}     INFO order loaded`,
		`shop      GET                  order.load           `,
		`inventory GET /stock/{id}      GET                  INFO GET /stock/{id} 200`,
		`inventory stock.count          GET /stock/{id}      INFO stock counted`,
		`shop      GET /fail            root                 ERROR payment failed, ERROR GET /fail 500`,
		`shop      GET /panic           root                 ERROR panic: the shelf is empty, ERROR GET /panic 500`,
	}
	rows := correlation(t, spans, records)
	t.Logf("service, span, parent, records:\n%s", strings.Join(rows, "\n"))
	slices.Sort(want)
	slices.Sort(rows)
	if diff := gocmp.Diff(want, rows); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// correlation finds for each span its parent and the records made in it, and
// compares resources.
func correlation(t *testing.T, spans []collector.Span, records []collector.Record) (rows []string) {
	t.Helper()
	slices.SortStableFunc(spans, func(a, b collector.Span) int { return cmp.Compare(a.StartTimestamp(), b.StartTimestamp()) })
	names := map[string]string{"": "root"}
	for _, s := range spans {
		names[s.SpanID().String()] = s.Name()
	}
	found := 0
	for _, s := range spans {
		var lines []string
		for _, r := range records {
			if r.SpanID() != s.SpanID() || r.TraceID() != s.TraceID() {
				continue
			}
			found++
			lines = append(lines, r.SeverityText()+" "+r.Body().AsString())
			if diff := gocmp.Diff(s.Resource, r.Resource); diff != "" {
				t.Errorf("%q: resources (-span +record):\n%s", r.Body().AsString(), diff)
			}
		}
		service, _ := s.Resource["service.name"].(string)
		if s.Resource["deployment.environment.name"] != "prod" || s.Resource["service.version"] != "1.2" || s.Resource["team"] != "orders" {
			t.Errorf("%s: resource %v", s.Name(), s.Resource)
		}
		rows = append(rows, fmt.Sprintf("%-9s %-20s %-20s %s", service, s.Name(), names[s.ParentSpanID().String()], strings.Join(lines, ", ")))
	}
	for _, r := range records {
		if r.TraceID().IsEmpty() { // kumihimo's own, of start and end
			found++
		}
	}
	if found != len(records) {
		t.Errorf("%d of %d records belong to no span", len(records)-found, len(records))
	}
	return rows
}

// TestWrongProtocol sends each protocol to who speaks the other: it is said once,
// with the setting that mends it.
func TestWrongProtocol(t *testing.T) {
	c := collector.Start(t)
	a := agent.Start(t)
	toAgent := func() (o obs.Options) {
		spans, err := exporters.NewTraceExporter(t.Context(), exporters.Options{Endpoint: a.URL})
		if err != nil {
			t.Fatal(err)
		}
		if o.LoggerProvider, err = exporters.NewLoggerProvider(t.Context(), exporters.Options{Endpoint: a.URL}); err != nil {
			t.Fatal(err)
		}
		o.SpanExporter = spans
		return o
	}
	for _, tt := range []struct {
		name string
		opts obs.Options
		want []string // parts of lines
	}{
		{"Datadog's to a Collector", obs.Options{AgentURL: c.URL}, []string{
			`msg="Datadog Agent does not take spans; they wait"`, "an OTLP receiver listens there: a Datadog Agent's traces port is 8126; to send OTLP use obs/otlp"}},
		{"OTLP to an agent", toAgent(), []string{
			`msg="span exporter does not take spans; they wait"`, `msg="log exporter does not take records; they wait"`,
			"a Datadog Agent listens there for Datadog's own protocol: send OTLP to its port 4318"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			tt.opts.LogHandlers = []slog.Handler{slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})}
			tt.opts.Service, tt.opts.LogWriter = "shop", io.Discard
			tel, err := obs.New(context.Background(), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
			span.End()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // and it is tried again in that time
			defer cancel()
			if err := tel.Shutdown(ctx); err == nil || tel.Stats().Spans.Dropped.Shutdown != 1 {
				t.Errorf("shutdown: %v, %+v", err, tel.Stats().Spans)
			}
			t.Log(said.String())
			for _, want := range tt.want {
				if !strings.Contains(said.String(), want) {
					t.Errorf("not said: %s", want)
				}
			}
			if n := strings.Count(said.String(), "they wait"); n != len(tt.want)-1 {
				t.Errorf("said %d times", n)
			}
		})
	}
}
