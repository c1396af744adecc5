package devui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// rig is a viewer with a program that it watches.
type rig struct {
	*Viewer
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	logger   *slog.Logger
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	v := New(o)
	t.Cleanup(func() {
		if err := v.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(v), sdktrace.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "shop"), attribute.String("deployment.environment.name", "test"))))
	return &rig{v, p, p.Tracer("rig"), slog.New(v)}
}

// request is a server span with a child that fails if err is set.
func (r *rig) request(path string, status int, err error) trace.TraceID {
	ctx, span := r.tracer.Start(context.Background(), "GET /orders/{id}", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "GET"), attribute.String("http.route", "/orders/{id}"),
		attribute.String("url.path", path), attribute.Int("http.response.status_code", status)))
	ctx, child := r.tracer.Start(ctx, "order.load", trace.WithAttributes(attribute.String("order.id", strings.TrimPrefix(path, "/orders/"))))
	if err != nil {
		child.RecordError(err)
		child.SetStatus(codes.Error, err.Error())
		r.logger.ErrorContext(ctx, "order not loaded", "error", err)
	} else {
		r.logger.InfoContext(ctx, "order loaded", "items", 2)
	}
	child.End()
	span.End()
	return span.SpanContext().TraceID()
}

var errDeclined = errors.New("card declined")

// flush waits until what was taken can be seen.
func (r *rig) flush(t testing.TB) {
	t.Helper()
	if err := r.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func request(t testing.TB, method, target string, header ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.Host, r.RemoteAddr = "localhost:8127", "127.0.0.1:50000"
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// get decodes what the API answers.
func get[T any](t testing.TB, h http.Handler, path string) (v T) {
	t.Helper()
	w := serve(h, request(t, "GET", path))
	if w.Code != 200 {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
