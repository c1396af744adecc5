package chiobs

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kumihimo/kumihimo/obs/logging"
)

func TestAttributes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*http.Request)
		want   map[string]string // "" means absent
	}{
		{"all", func(*http.Request) {}, map[string]string{
			"http.request.method": "GET", "http.request.method_original": "", "url.scheme": "http", "url.path": "/a%20b",
			"url.query":      "page=2&sig=REDACTED&X-Goog-Signature=REDACTED&access_token=REDACTED&voucher=REDACTED",
			"server.address": "shop.example", "server.port": "8080", "client.address": "203.0.113.7",
			"network.peer.address": "203.0.113.7", "network.peer.port": "41234", "network.protocol.version": "1.1",
			"user_agent.original": "test/1.0", "http.response.status_code": "200",
		}},
		{"little", func(r *http.Request) {
			r.Host, r.RemoteAddr, r.URL.RawQuery, r.ProtoMinor = "", "@", "", 0
			r.Header.Del("User-Agent")
		}, map[string]string{
			"url.query": "", "server.address": "", "server.port": "", "client.address": "",
			"network.peer.address": "", "network.peer.port": "", "network.protocol.version": "1.0", "user_agent.original": "",
		}},
		{"unknown method", func(r *http.Request) { r.Method = "BREW" }, map[string]string{
			"http.request.method": "_OTHER", "http.request.method_original": "BREW"}},
		{"lower-case method", func(r *http.Request) { r.Method = "get" }, map[string]string{
			"http.request.method": "_OTHER", "http.request.method_original": "get"}},
		{"QUERY", func(r *http.Request) { r.Method = "QUERY" }, map[string]string{
			"http.request.method": "QUERY", "http.request.method_original": ""}},
		{"TLS", func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, map[string]string{"url.scheme": "https"}},
		{"TLS ended before us", func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") },
			map[string]string{"url.scheme": "https"}},
		{"odd proxy", func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "gopher") },
			map[string]string{"url.scheme": "http"}},
		{"host without a port", func(r *http.Request) { r.Host = "shop.example" },
			map[string]string{"server.address": "shop.example", "server.port": ""}},
		{"IPv6", func(r *http.Request) { r.Host, r.RemoteAddr = "[2001:db8::1]:80", "[2001:db8::2]:4" }, map[string]string{
			"server.address": "2001:db8::1", "server.port": "80", "client.address": "2001:db8::2", "network.peer.port": "4"}},
		{"IPv6 without a port", func(r *http.Request) { r.Host, r.RemoteAddr = "[2001:db8::1]", "2001:db8::2" }, map[string]string{
			"server.address": "2001:db8::1", "server.port": "", "client.address": "2001:db8::2", "network.peer.port": ""}},
		{"nobody's port", func(r *http.Request) { r.Host = "evil:99999" },
			map[string]string{"server.address": "evil", "server.port": ""}},
		{"forwarded address is not believed", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") },
			map[string]string{"client.address": "203.0.113.7"}},
		{"not UTF-8", func(r *http.Request) { r.Header.Set("User-Agent", "a\xffb") },
			map[string]string{"user_agent.original": "a\uFFFDb"}},
		{"long", func(r *http.Request) { r.Header.Set("User-Agent", strings.Repeat("a", maxText+1)) },
			map[string]string{"user_agent.original": strings.Repeat("a", maxText)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			r := httptest.NewRequest("GET", "/a%20b?page=2&sig=planted&X-Goog-Signature=planted&access_token=planted&voucher=planted", nil)
			r.Host, r.RemoteAddr = "shop.example:8080", "203.0.113.7:41234"
			r.Header.Set("User-Agent", "test/1.0")
			tt.change(r)
			Config{Provider: g}.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).
				ServeHTTP(httptest.NewRecorder(), r)
			got := attrsOf(g.span(t).Attributes())
			for key, want := range tt.want {
				if v, ok := got[key]; v != want || ok != (want != "") {
					t.Errorf("%s: got %q (there: %t), want %q", key, v, ok, want)
				}
			}
		})
	}
}

func TestAccessRecord(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := httptest.NewRequest("POST", "/orders/7?page=2&token=planted", strings.NewReader("12345"))
	r.Host, r.RemoteAddr = "shop.example:8080", "203.0.113.7:41234"
	r.Header.Set("User-Agent", "test/1.0")
	r.Header.Set("Referer", "https://user:planted@shop.example/?sig=planted")
	Config{Provider: g}.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method, r.URL.Path, r.URL.RawQuery = "GET", "/changed", "token=planted" // some middlewares do
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte("made"))
	})).ServeHTTP(httptest.NewRecorder(), r)

	want := &logging.HTTPRequest{
		Method: "POST", URL: "http://shop.example:8080/orders/7?page=2&token=REDACTED", RequestSize: 5,
		Status: 201, ResponseSize: 4, UserAgent: "test/1.0", RemoteIP: "203.0.113.7",
		Referer: "https://REDACTED@shop.example/?sig=REDACTED", Protocol: "HTTP/1.1",
	}
	got := g.access(t).http()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(logging.HTTPRequest{}, "Latency")); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got.Latency <= 0 {
		t.Errorf("latency: got %v, want more", got.Latency)
	}
}

func TestAccessLevel(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		0: "WARN", 101: "INFO", 200: "INFO", 304: "INFO", 399: "INFO", 400: "WARN", 499: "WARN", 500: "ERROR", 599: "ERROR",
	} {
		if got := accessLevel(status).String(); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}
