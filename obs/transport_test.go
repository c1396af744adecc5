package obs

import (
	"errors"
	"io"
	"net/http"
	"net/url"
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
