package conformance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/conformance/agent"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// TestExporter sends spans of the common kinds through the SDK, the processor
// and the exporter alone, and finds each at the intake as Datadog would have
// it: named, typed, obfuscated and counted.
func TestExporter(t *testing.T) {
	a := agent.Start(t)
	exporter := ddagent.NewExporter(ddagent.Options{URL: a.URL, Service: "shop", Env: "prod", Version: "1.2", Tags: map[string]string{"team": "orders"}})
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{})))
	tracer := tp.Tracer("conformance")

	ctx, server := tracer.Start(context.Background(), "GET /orders/{id}", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/orders/{id}")))
	_, query := tracer.Start(ctx, "orders.load", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.query.text", "SELECT * FROM orders WHERE card = '4111'")))
	query.End()
	_, inner := tracer.Start(ctx, "price", trace.WithAttributes(attribute.Int("items", 3), attribute.Bool("gift", true)))
	inner.RecordError(errors.New("no price for item 8812"))
	inner.SetStatus(codes.Error, "no price for item 8812")
	inner.End()
	server.SetAttributes(attribute.Int("http.response.status_code", 200))
	server.End()
	if err := exporter.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	spans := a.WaitSpans(t, 3)
	a.Stop()
	t.Logf("at the intake:\n%s", agent.Tree(spans))
	if len(spans) != 3 {
		t.Fatalf("got %d spans, want 3", len(spans))
	}
	slices.SortFunc(spans, func(a, b agent.Span) int { return cmp.Compare(a.Resource, b.Resource) })
	root, sql, fn := spans[0], spans[1], spans[2]

	id := server.SpanContext().TraceID().String()
	for _, s := range spans {
		if s.TraceID != id || s.Service != "shop" || s.Env != "prod" || s.Version != "1.2" || s.Priority != 1 || s.Meta["team"] != "orders" {
			t.Errorf("%s: got trace %s service %s env %s version %s priority %d team %q", s.Resource, s.TraceID, s.Service, s.Env, s.Version, s.Priority, s.Meta["team"])
		}
	}
	if root.Resource != "GET /orders/{id}" || root.Name != "http.server.request" || root.Type != "web" || root.Kind != "server" || root.ParentID != 0 || root.Error {
		t.Errorf("server span: got %+v", root)
	}
	if sql.Name != "postgresql.query" || sql.Type != "sql" || sql.Kind != "client" || sql.ParentID != root.SpanID || strings.Contains(sql.Resource, "4111") {
		t.Errorf("query: got %+v", sql)
	}
	if fn.Resource != "price" || !fn.Error || fn.Meta["error.message"] != "no price for item 8812" || fn.Metrics["items"] != 3 || fn.ParentID != root.SpanID {
		t.Errorf("function: got %+v", fn)
	}
	if hits, errs := sumHits(a.Stats(), root); hits != 1 || errs != 0 {
		t.Errorf("server span: got %d hits, %d errors in the statistics, want 1, 0", hits, errs)
	}
}

// sumHits adds up what the statistics say about spans like s.
func sumHits(stats []agent.Stat, s agent.Span) (hits, errs uint64) {
	for _, st := range stats {
		if st.Service == s.Service && st.Env == s.Env && st.Name == s.Name && st.Resource == s.Resource && st.Type == s.Type {
			hits += st.Hits
			errs += st.Errors
		}
	}
	return hits, errs
}
