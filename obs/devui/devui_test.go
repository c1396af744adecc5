package devui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

func TestSeesARequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	id := r.request("/orders/7", 500, errDeclined)
	r.flush(t)

	list := get[update](t, r, "/debug/obs/api/traces")
	if len(list.Traces) != 1 {
		t.Fatalf("%d traces, want 1", len(list.Traces))
	}
	row, level := list.Traces[0], int16(slog.LevelError)
	want := traceRow{ID: id.String(), Number: 1, At: row.At, Duration: row.Duration, Name: "GET /orders/{id}", Method: "GET", Route: "/orders/{id}",
		Path: "/orders/7", Service: "shop", Status: 500, Failed: true, Spans: 2, Logs: 1, Level: &level}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("row: want -, got +:\n%s", diff)
	}
	if row.Duration <= 0 || time.Since(time.UnixMicro(row.At)) > time.Hour {
		t.Errorf("at %d, duration %d", row.At, row.Duration)
	}
	if diff := cmp.Diff(&facets{[]string{"shop"}, []string{"/orders/{id}"}}, list.Facets); diff != "" {
		t.Errorf("facets: want -, got +:\n%s", diff)
	}

	doc := get[traceDoc](t, r, "/api/traces/"+id.String())
	if len(doc.Spans) != 2 || len(doc.Logs) != 1 || doc.Format != traceFormat {
		t.Fatalf("%+v", doc)
	}
	child, root := doc.Spans[0], doc.Spans[1]
	if child.Parent != root.ID || root.Parent != "" || root.At != 0 || child.At < 0 || child.Message != "card declined" || root.Kind != "server" || child.Detail != nil {
		t.Errorf("child %+v, root %+v", child, root)
	}
	log := doc.Logs[0]
	if log.Span != child.ID || log.Message != "order not loaded" || log.Attributes["error"] != "card declined" || !strings.HasPrefix(log.Source, "devui/rig_test.go:") ||
		*log.At < child.At || *log.At > child.At+child.Duration+int64(time.Millisecond) {
		t.Errorf("log %+v", log)
	}

	detail := get[detailDoc](t, r, "/api/traces/"+id.String()+"/spans/1")
	if detail.Source != "OpenTelemetry" || detail.Scope != "rig" || detail.Attributes["http.response.status_code"] != 500.0 || detail.Process["service.name"] != "shop" {
		t.Errorf("detail %+v", detail)
	}
	dd := detail.Datadog
	if dd.Name != "http.server.request" || dd.Resource != "GET /orders/{id}" || dd.Type != "web" || dd.Service != "shop" || dd.Meta["http.status_code"] != "500" || dd.Meta["env"] != "test" {
		t.Errorf("Datadog's form %+v", dd)
	}
	detail = get[detailDoc](t, r, "/api/traces/"+id.String()+"/spans/0")
	if e := detail.Events[0]; e.Name != "exception" || e.Attributes["exception.message"] != "card declined" || detail.Datadog.Meta["error.message"] != "card declined" {
		t.Errorf("events %+v, meta %v", detail.Events, detail.Datadog.Meta)
	}

	file := serve(r, request(t, "GET", "/api/traces/"+id.String()+"/file"))
	if !strings.Contains(file.Header().Get("Content-Disposition"), id.String()) || !strings.Contains(file.Body.String(), `"exception.message":"card declined"`) {
		t.Errorf("file: %v %s", file.Header(), file.Body)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	id := r.request("/orders/7", 200, nil)
	r.flush(t)
	tests := []struct {
		method, path string
		status       int
		kind, text   string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<!doctype html>"},
		{"GET", "/debug/obs/", 200, "text/html; charset=utf-8", "<!doctype html>"},
		{"HEAD", "/debug/obs/", 200, "text/html; charset=utf-8", ""},
		{"GET", "/debug/obs", 302, "", ""},
		{"GET", "/debug/obs/none.js", 404, "", ""},
		{"GET", "/debug/obs/..%2fdevui.go", 404, "", ""},
		{"POST", "/debug/obs/", 405, "", "want GET"},
		{"GET", "/debug/obs/api/none", 404, "", ""},
		{"GET", "/debug/obs/api/traces/zz", 400, "", "32 hexadecimal"},
		{"GET", "/debug/obs/api/traces/" + strings.Repeat("1", 32), 404, "", "not held"},
		{"GET", "/debug/obs/api/traces/" + id.String(), 200, "application/json", id.String()},
		{"GET", "/debug/obs/api/traces/" + id.String() + "/spans/9", 404, "", "no such span"},
		{"GET", "/debug/obs/api/traces/" + id.String() + "/spans/-1", 404, "", "no such span"},
		{"GET", "/debug/obs/api/traces/" + id.String() + "/none", 404, "", ""},
		{"GET", "/debug/obs/api/traces?min=long", 400, "", "min="},
		{"GET", "/debug/obs/api/stream?status=abc", 400, "", "status="},
		{"GET", "/debug/obs/api/traces?level=loud", 400, "", "level="},
		{"GET", "/debug/obs/api/traces?trace=1", 400, "", "trace="},
	}
	for _, tt := range tests {
		w := serve(r, request(t, tt.method, tt.path))
		if w.Code != tt.status || tt.kind != "" && w.Header().Get("Content-Type") != tt.kind || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%s %s: got %d %q %q, want %d", tt.method, tt.path, w.Code, w.Header().Get("Content-Type"), w.Body, tt.status)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: no policy", tt.path)
		}
	}
	// The router has taken the prefix off; the browser must not lose it.
	mux := http.NewServeMux()
	mux.Handle("/debug/obs", http.StripPrefix("/debug/obs", r))
	if w := serve(mux, request(t, "GET", "/debug/obs?x=1")); w.Header().Get("Location") != "obs/" {
		t.Errorf("location %q, want obs/", w.Header().Get("Location"))
	}
}

// TestScriptsAreText: whatever a name or message is, it arrives as a JSON
// string. That the page shows it as text is the browser tests' to see.
func TestScriptsAreText(t *testing.T) {
	t.Parallel()
	const script = `</script><img src=x onerror="alert(1)">`
	r := newRig(t, Options{})
	ctx, span := r.tracer.Start(t.Context(), script, trace.WithAttributes(attribute.String(script, script)))
	r.logger.InfoContext(ctx, script, script, script)
	span.End()
	r.flush(t)
	for _, path := range []string{"/api/traces", "/api/traces/" + span.SpanContext().TraceID().String() + "/file"} {
		w := serve(r, request(t, "GET", path))
		if strings.Contains(w.Body.String(), "<img") || !strings.Contains(w.Body.String(), `\u003cimg`) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

func TestRedacts(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Redact: []string{"shop.pin"}})
	pipeline := redact.New([]string{"iban"})
	ctx := obsctx.WithTrace(t.Context(), &obsctx.Trace{Pipeline: &obsctx.Pipeline{Redactor: pipeline}})
	ctx = obsctx.WithFields(ctx, []slog.Attr{slog.String("iban", "planted")})
	ctx, span := r.tracer.Start(ctx, "pay", trace.WithAttributes(
		attribute.String("authorization", "planted"), attribute.String("shop.pin", "planted"), attribute.String("iban", "planted"),
		attribute.String("url.full", "https://u:planted@bank.example/pay?sig=planted&a=b"), attribute.String("url.query", "token=planted&a=b"),
		attribute.StringSlice("urls", []string{"https://bank.example/?token=planted"}), attribute.String("plain", "seen"),
		attribute.String("json", `{"iban": "planted", "b": [{"shop.pin": "planted"}]}`), attribute.String("not.json", `{"a": "seen`)))
	span.RecordError(errors.New("get https://u:planted@bank.example/: refused"))
	r.logger.With("password", "planted").InfoContext(ctx, "paid https://bank.example/?sig=planted", "iban", "planted", "map", map[string]string{"iban": "planted", "password": "planted"}, "g", slog.GroupValue(slog.String("api_key", "planted")))
	span.AddLink(trace.Link{SpanContext: span.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("cookie", "planted")}})
	span.End()
	r.flush(t)
	w := serve(r, request(t, "GET", "/api/traces/"+span.SpanContext().TraceID().String()+"/file"))
	if strings.Contains(w.Body.String(), "planted") {
		t.Errorf("a secret is shown: %s", w.Body)
	}
	for _, want := range []string{redact.Placeholder, "seen", "a=b", "bank.example"} {
		if !strings.Contains(w.Body.String(), strings.ReplaceAll(want, "&", `\u0026`)) {
			t.Errorf("%q is not shown: %s", want, w.Body)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxTraces: 3, MaxSpans: 2})
	var ids []trace.TraceID
	for i := range 5 {
		ids = append(ids, r.request(fmt.Sprint("/orders/", i), 200, nil))
	}
	ctx, root := r.tracer.Start(t.Context(), "wide")
	for range 4 {
		_, s := r.tracer.Start(ctx, "leaf")
		s.End()
	}
	root.End()
	r.flush(t)
	list := get[update](t, r, "/api/traces")
	if len(list.Traces) != 3 || list.Traces[0].Name != "leaf" || list.Traces[0].Spans != 5 || list.Oldest != 4 {
		t.Errorf("oldest %d, %+v", list.Oldest, list.Traces)
	}
	if w := serve(r, request(t, "GET", "/api/traces/"+ids[0].String())); w.Code != 404 {
		t.Errorf("the first trace: %d, want 404", w.Code)
	}
	doc := get[traceDoc](t, r, "/api/traces/"+root.SpanContext().TraceID().String())
	if len(doc.Spans) != 2 || doc.Dropped != 3 {
		t.Errorf("%d spans and %d dropped, want 2 and 3", len(doc.Spans), doc.Dropped)
	}
	if s := r.Stats(); s.Traces != 3 || s.Spans != 6 || s.Evicted != 3 || s.DroppedSpans != 3 || s.Logs != 5 {
		t.Errorf("%+v", s)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	r := newRig(t, Options{MaxBytes: limit})
	text := strings.Repeat("x", 8<<10)
	for i := range 500 {
		_, s := r.tracer.Start(t.Context(), "big", trace.WithAttributes(attribute.String("a", text), attribute.Int("n", i)))
		r.logger.Info(text)
		s.End()
		if i%100 == 0 {
			r.flush(t)
		}
	}
	r.flush(t)
	s := r.Stats()
	if s.Bytes > limit || s.Bytes < limit/2 || s.Evicted == 0 || s.Traces == 0 || s.Logs == 0 {
		t.Errorf("%+v, want at most %d bytes", s, limit)
	}
	// One span cannot take them all: values and spans are cut.
	_, span := r.tracer.Start(t.Context(), "huge")
	for i := range 100 {
		span.SetAttributes(attribute.String(fmt.Sprint("k", i), strings.Repeat("y", 64<<10)))
	}
	span.End()
	r.flush(t)
	d := get[detailDoc](t, r, "/api/traces/"+span.SpanContext().TraceID().String()+"/spans/0")
	if d.Left < 80 || d.Left > 99 || len(d.Attributes) != 100-d.Left {
		t.Errorf("%d attributes and %d left out", len(d.Attributes), d.Left)
	}
}

// TestNeverBlocks fills the queue while nothing empties it.
func TestNeverBlocks(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.intake.draining.Lock()
	for range maxQueued + 10 {
		_, s := r.tracer.Start(t.Context(), "s")
		s.End()
		r.logger.Info("l")
	}
	r.intake.draining.Unlock()
	r.flush(t)
	if s := r.Stats(); s.DroppedSpans != 10 || s.DroppedLogs != 10 || s.Spans != maxQueued || s.Logs != maxQueued {
		t.Errorf("%+v", s)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	id := r.request("/orders/1", 200, nil)
	for range 2 {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.request("/orders/2", 200, nil)
	r.flush(t)
	if s := r.Stats(); s.Spans != 2 || s.Logs != 1 || s.DroppedSpans != 2 || s.DroppedLogs != 1 {
		t.Errorf("%+v", s)
	}
	get[traceDoc](t, r, "/api/traces/"+id.String())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.ForceFlush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestMissingParents: the list makes the best of what has come, and what comes
// late finds its place.
func TestMissingParents(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	ctx, root := r.tracer.Start(t.Context(), "root")
	ctx, server := r.tracer.Start(ctx, "server", trace.WithSpanKind(trace.SpanKindServer))
	_, inner := r.tracer.Start(ctx, "inner")
	for i, s := range []trace.Span{inner, server, root} {
		s.End()
		r.flush(t)
		row := get[update](t, r, "/api/traces").Traces[0]
		want := []struct {
			name string
			open bool
		}{{"inner", true}, {"server", false}, {"root", false}}[i]
		if row.Name != want.name || row.Open != want.open || row.Spans != i+1 {
			t.Errorf("after %d spans: %+v", i+1, row)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Level: slog.LevelInfo})
	if r.logger.Enabled(t.Context(), slog.LevelDebug) || !r.logger.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the level is not Options'")
	}
	l := r.logger.With("a", 1).WithGroup("g").With("b", 2).WithGroup("").WithGroup("h")
	l.Info("m", "c", 3, slog.Group("i", "d", 4), "a", 5)
	l.With("x", "y").With().Warn("n", "x", "z", "err", errDeclined, "p", (*int)(nil))
	r.logger.Log(t.Context(), 1000, "loud", "big", int64(1)<<60, "t", time.Unix(0, 0).UTC())
	r.flush(t)
	u := r.store.since(0, filter{}, false, true)
	var got []map[string]any
	for _, d := range u.Logs {
		got = append(got, d.Attributes)
	}
	want := []map[string]any{
		{"a": int64(1), "g.b": int64(2), "g.h.c": int64(3), "g.h.i.d": int64(4), "g.h.a": int64(5)},
		{"a": int64(1), "g.b": int64(2), "g.h.x": "z", "g.h.err": "card declined", "g.h.p": "null"},
		{"big": "1152921504606846976", "t": "1970-01-01T00:00:00Z"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if u.Logs[2].Level != 99 || u.Logs[0].Trace != "" || u.Logs[0].Number != 1 {
		t.Errorf("%+v", u.Logs)
	}
}

func TestStatusAndTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for _, tt := range []struct {
		start, end time.Time
		want       int64
	}{
		{time.Unix(1, 0), time.Unix(2, 0), 1e9},
		{time.Unix(2, 0), time.Unix(1, 0), 0},
		{time.Unix(-5, 0), time.Unix(-1, 0), 0},
		{time.Unix(1<<40, 0), time.Unix(1<<41, 0), 0},
	} {
		_, s := r.tracer.Start(t.Context(), "s", trace.WithTimestamp(tt.start))
		s.End(trace.WithTimestamp(tt.end))
		r.flush(t)
		doc := get[traceDoc](t, r, "/api/traces/"+s.SpanContext().TraceID().String()+"/file")
		if got := doc.Spans[0]; got.Duration != tt.want || got.At != 0 || got.Detail.Datadog == nil {
			t.Errorf("%v to %v: %+v", tt.start, tt.end, got)
		}
	}
}

var _ sdktrace.SpanProcessor = (*rig)(nil)
