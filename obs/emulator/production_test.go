package emulator_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)

// authenticated is a client whose requests the cloud's front end lets in.
func authenticated(t *testing.T, cloud *emulator.Cloud) *http.Client {
	source := gcpauth.Cached(
		gcpauth.Metadata(gcpauth.MetadataOptions{Audience: cloud.FrontEnd.Audience(), Host: cloud.Metadata.Host()}),
		gcpauth.CacheOptions{Audience: cloud.FrontEnd.Audience()})
	t.Cleanup(func() {
		if err := source.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	tr := &gcpauth.Transport{Source: source, Origin: cloud.FrontEnd.URL(), Base: &http.Transport{}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func startCloud(t *testing.T, o emulator.CloudOptions) *emulator.Cloud {
	cloud, err := emulator.StartCloud(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	return cloud
}

func TestGCPAuth(t *testing.T) {
	t.Parallel()
	cloud := startCloud(t, emulator.CloudOptions{FrontEnd: emulator.FrontEndOptions{Audience: "https://agent.example"}})
	client := authenticated(t, cloud)
	for range 3 {
		resp, err := client.Get(cloud.FrontEnd.URL() + "/info")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Datadog-Agent-State") == "" {
			t.Errorf("got %s, %v", resp.Status, resp.Header)
		}
	}
	if n := cloud.Metadata.Requests(); n != 1 {
		t.Errorf("%d tokens for 3 requests, want 1", n)
	}
	if n := cloud.FrontEnd.Refused(); n != 0 {
		t.Errorf("%d refused", n)
	}
}

// TestSpansArrive sends spans as production does, the first time to an agent
// that is overloaded.
func TestSpansArrive(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int32
	cloud := startCloud(t, emulator.CloudOptions{Agent: emulator.AgentOptions{Fault: func(w http.ResponseWriter, _ *http.Request) bool {
		if attempts.Add(1) > 1 {
			return false
		}
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}}})
	exporter := ddagent.NewExporter(ddagent.Options{URL: cloud.FrontEnd.URL(), HTTPClient: authenticated(t, cloud), Service: "shop", Env: "prod"})
	tracer := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(ddagent.NewProcessor(exporter, ddagent.ProcessorOptions{}))).Tracer("test")

	ctx, root := tracer.Start(t.Context(), "GET", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "GET"), attribute.String("http.route", "/users/{id}")))
	_, child := tracer.Start(ctx, "load user")
	child.SetStatus(codes.Error, "no such user")
	child.AddEvent("retry", trace.WithAttributes(attribute.Int("attempt", 2)))
	child.End()
	root.End()
	if err := exporter.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans, err := cloud.Agent.WaitSpans(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[uint64]emulator.Span)
	for _, s := range spans {
		byID[s.SpanID] = s
		if s.TraceID != root.SpanContext().TraceID().String() || s.Service != "shop" || s.Env != "prod" || s.Priority < 0 || s.Duration < 0 {
			t.Errorf("%+v", s)
		}
	}
	rootID, childID := root.SpanContext().SpanID(), child.SpanContext().SpanID()
	r, c := byID[number(rootID)], byID[number(childID)]
	if r.ParentID != 0 || r.Kind != "server" || r.Type != "web" || r.Resource != "GET /users/{id}" || r.Error {
		t.Errorf("root: %+v", r)
	}
	if c.ParentID != r.SpanID || !c.Error || c.Meta["error.message"] != "no such user" {
		t.Errorf("child: %+v", c)
	}
	if len(c.Events) != 1 || cmp.Diff(map[string]any{"attempt": int64(2)}, c.Events[0].Attributes) != "" {
		t.Errorf("events: %+v", c.Events)
	}
	if len(spans) != 2 || attempts.Load() < 2 {
		t.Errorf("%d spans in %d attempts, want 2 in 2 or more", len(spans), attempts.Load())
	}
}

func number(id trace.SpanID) (n uint64) {
	for _, b := range id {
		n = n<<8 | uint64(b)
	}
	return n
}
