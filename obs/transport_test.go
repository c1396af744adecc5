package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// roundTrip is a base that keeps the last request.
type roundTrip struct {
	seen   *http.Request
	status int
	err    error
}

func (b *roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	b.seen = r
	if b.err != nil {
		return nil, b.err
	}
	return &http.Response{StatusCode: b.status, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

func TestTransport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, url string
		base              roundTrip
		wantName          string
		wantStatus        codes.Code
		wantAttrs         map[string]string
	}{
		{"ok", "GET", "https://api.example/a?x=1", roundTrip{status: 200}, "GET", codes.Unset,
			map[string]string{"http.request.method": "GET", "url.full": "https://api.example/a?x=1", "server.address": "api.example", "server.port": "443", "http.response.status_code": "200"}},
		{"client error", "POST", "http://api.example:8080/", roundTrip{status: 404}, "POST", codes.Error,
			map[string]string{"server.port": "8080", "error.type": "404"}},
		{"secrets", "GET", "https://u:planted@api.example/?sig=planted&token=planted&a=b", roundTrip{status: 200}, "GET", codes.Unset,
			map[string]string{"url.full": "https://REDACTED@api.example/?sig=REDACTED&token=REDACTED&a=b"}},
		{"odd method", "BREW", "https://api.example", roundTrip{status: 200}, "HTTP", codes.Unset,
			map[string]string{"http.request.method": "_OTHER", "http.request.method_original": "BREW"}},
		{"error", "GET", "https://api.example", roundTrip{err: &url.Error{Op: "Get", URL: "https://api.example/?sig=planted", Err: errors.New("no route")}}, "GET", codes.Error,
			map[string]string{"error.type": "*url.Error"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec, ctx := recording(t, Options{})
			req, err := http.NewRequestWithContext(ctx, tt.method, tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := Transport(&tt.base).RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, tt.base.err) {
				t.Errorf("error: got %v, want the base's", err)
			}
			span := rec.Ended()[0]
			if span.Name() != tt.wantName || span.Status().Code != tt.wantStatus || span.SpanKind().String() != "client" {
				t.Errorf("got %q, %v, %v", span.Name(), span.Status(), span.SpanKind())
			}
			got := attrsOf(span.Attributes())
			for k, want := range tt.wantAttrs {
				if got[k] != want {
					t.Errorf("%s: got %q, want %q", k, got[k], want)
				}
			}
			if all := span.Status().Description + got["url.full"]; strings.Contains(all, "planted") {
				t.Errorf("a secret is shown: %s", all)
			}
			if tt.base.seen.Header.Get("Traceparent") == "" || tt.base.seen.Header.Get("X-Datadog-Trace-Id") == "" {
				t.Errorf("the request carries no trace: %v", tt.base.seen.Header)
			}
			if len(req.Header) != 0 {
				t.Errorf("the caller's request was written to: %v", req.Header)
			}
		})
	}
}

func TestTransportHosts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		opts           Options
		url            string
		trace, baggage bool
	}{
		{"default", Options{}, "https://a.example", true, false},
		{"baggage host", Options{BaggageHosts: []string{"example"}}, "https://a.Example.", true, true},
		{"no suffix of a word", Options{BaggageHosts: []string{"example"}}, "https://badexample", true, false},
		{"propagation host", Options{PropagationHosts: []string{"a.example"}}, "https://a.example:444", true, false},
		{"another host", Options{PropagationHosts: []string{"a.example"}, BaggageHosts: []string{"b.example"}}, "https://b.example", false, false},
		{"no host", Options{PropagationHosts: []string{}}, "https://a.example", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, ctx := recording(t, tt.opts)
			member, err := baggage.NewMember("user", "u7")
			if err != nil {
				t.Fatal(err)
			}
			bag, err := baggage.New(member)
			if err != nil {
				t.Fatal(err)
			}
			base := &roundTrip{status: 200}
			req, err := http.NewRequestWithContext(baggage.ContextWithBaggage(ctx, bag), "GET", tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := Transport(base).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			h := base.seen.Header
			if got := h.Get("Traceparent") != ""; got != tt.trace {
				t.Errorf("trace: got %t, want %t", got, tt.trace)
			}
			if got := h.Get("Baggage") != ""; got != tt.baggage {
				t.Errorf("baggage: got %t, want %t", got, tt.baggage)
			}
		})
	}
}

// TestTransportOfTelemetry: our own traffic is not traced.
func TestTransportOfTelemetry(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	base := &roundTrip{status: 200}
	req, err := http.NewRequestWithContext(obsctx.Suppress(ctx), "GET", "https://agent.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Transport(base).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if base.seen != req || len(rec.Ended()) != 0 {
		t.Error("the request was traced")
	}
}

// TestTransportReplacesHeaders: what a proxy's request carries of another
// trace goes nowhere.
func TestTransportReplacesHeaders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		opts  Options
		trace bool
	}{
		{"allowed", Options{}, true},
		{"not allowed", Options{PropagationHosts: []string{"own.example"}}, false},
	} {
		_, ctx := recording(t, tt.opts)
		base := &roundTrip{status: 200}
		req, err := http.NewRequestWithContext(ctx, "GET", "https://foreign.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Datadog-Trace-Id": "7",
			"X-Datadog-Origin": "rum", "X-Datadog-Tags": "_dd.p.tid=1111111111111111", "Baggage": "user=planted", "Accept": "x",
		} {
			req.Header.Set(name, value)
		}
		resp, err := Transport(base).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := base.seen.Header
		if h.Get("Baggage") != "" || h.Get("X-Datadog-Origin") != "" || strings.Contains(h.Get("Traceparent"), "0af765") || h.Get("Accept") != "x" {
			t.Errorf("%s: got %v", tt.name, h)
		}
		if got := h.Get("Traceparent") != ""; got != tt.trace {
			t.Errorf("%s: carries a trace: got %t, want %t", tt.name, got, tt.trace)
		}
	}
}

// nothing is a base that returns neither a response nor an error.
type nothing struct{}

func (nothing) RoundTrip(*http.Request) (*http.Response, error) { return nil, nil }

func TestTransportWithoutAnswer(t *testing.T) {
	t.Parallel()
	_, ctx := recording(t, Options{})
	req, err := http.NewRequestWithContext(ctx, "GET", "https://a.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := (&http.Client{Transport: Transport(nothing{})}).Do(req); err == nil {
		resp.Body.Close()
		t.Error("want net/http's own error")
	}
}

// TestTransportTemplate: the context's field, the innermost, names the span.
func TestTransportTemplate(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	ctx = With(ctx, slog.String("url.template", "/"), slog.Int("n", 1))
	ctx = With(ctx, slog.String("url.template", "/users/{id}"))
	req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "api.example", Path: "/users/7"}}
	base := &roundTrip{status: 200} // and a nil header
	resp, err := Transport(base).RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	s := rec.Ended()[0]
	if a := attrsOf(s.Attributes()); s.Name() != "GET /users/{id}" || a["url.template"] != "/users/{id}" || a["n"] != "1" {
		t.Errorf("got %q, %v", s.Name(), a)
	}
}

// TestTransportRedirects: one span per attempt, each with its number.
func TestTransportRedirects(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	addr := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.URL.Path); n < 3 {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}
	}))
	req, err := http.NewRequestWithContext(ctx, "GET", addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: Transport(nil)}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var got []string
	for _, s := range rec.Ended() {
		a := attrsOf(s.Attributes())
		got = append(got, a["http.response.status_code"]+" "+a["http.request.resend_count"]+" "+a["network.protocol.version"])
	}
	if want := []string{"302  1.1", "302 1 1.1", "200 2 1.1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTransportErrors: what the base fails with goes on as it is, and says no
// secret; a base that panics does not leave the span open.
func TestTransportErrors(t *testing.T) {
	t.Parallel()
	rec, ctx := recording(t, Options{})
	req, err := http.NewRequestWithContext(ctx, "GET", "https://u:planted@api.example/?sig=planted", nil)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p := recover(); p != "base" {
				t.Errorf("panic: got %v, want the base's", p)
			}
		}()
		resp, err := Transport(roundTripper(func(*http.Request) (*http.Response, error) { panic("base") })).RoundTrip(req)
		t.Errorf("got %v, %v", resp, err)
	}()
	if s := rec.Ended(); len(s) != 1 || s[0].Status().Code != codes.Error {
		t.Fatalf("got %v, want one span that ended in an error", s)
	}
	failure := fmt.Errorf("dial %q: %w", req.URL.String(), context.DeadlineExceeded)
	resp, err := Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, failure })).RoundTrip(req)
	if resp != nil || err != failure { //nolint:errorlint // the very same
		t.Errorf("got %v, %v", resp, err)
	}
	s := rec.Ended()[1]
	if text := fmt.Sprint(s.Status(), attrsOf(s.Attributes())); strings.Contains(text, "planted") {
		t.Errorf("a secret is shown: %s", text)
	}
	if got := attrsOf(s.Attributes())["error.type"]; got != "context.deadlineExceededError" {
		t.Errorf("error.type: got %q", got)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
