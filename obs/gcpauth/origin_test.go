package gcpauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		transport *Transport
		want      string // in the error; empty: none
	}{
		{"https", &Transport{Origin: "https://agent-xyz.a.run.app"}, ""},
		{"https, port and path", &Transport{Origin: "https://agent:8443/prefix"}, ""},
		{"localhost", &Transport{Origin: "http://localhost:8126"}, ""},
		{"loopback", &Transport{Origin: "http://127.1.2.3:8126"}, ""},
		{"loopback, IPv6", &Transport{Origin: "http://[::1]:8126"}, ""},
		{"loopback, IPv6 without a port", &Transport{Origin: "http://[::1]"}, ""},
		{"loopback, IPv4 in IPv6", &Transport{Origin: "http://[::ffff:127.0.0.1]:1"}, ""},
		{"socket", &Transport{Origin: "unix:///var/run/datadog/apm.socket"}, ""},
		{"insecure, allowed", &Transport{Origin: "http://agent:8126", AllowInsecure: true}, ""},
		{"other header", &Transport{Origin: "https://agent", Header: "x-serverless-authorization"}, ""},
		{"insecure", &Transport{Origin: "http://agent:8126"}, "origin http://agent:8126: ID tokens travel over https"},
		{"private network", &Transport{Origin: "http://10.0.0.1:8126"}, "ID tokens travel over https"},
		{"looks like localhost", &Transport{Origin: "http://localhost.evil.com"}, "ID tokens travel over https"},
		{"looks like loopback", &Transport{Origin: "http://127.0.0.1.evil.com"}, "ID tokens travel over https"},
		{"any address", &Transport{Origin: "http://0.0.0.0:8126"}, "ID tokens travel over https"},
		{"empty", &Transport{}, "malformed origin"},
		{"no scheme", &Transport{Origin: "agent:8126"}, "malformed origin"},
		{"no host", &Transport{Origin: "https://"}, "malformed origin"},
		{"no port after the colon", &Transport{Origin: "https://agent:"}, "malformed origin"},
		{"wrong port", &Transport{Origin: "https://agent:x"}, "malformed origin"},
		{"ftp", &Transport{Origin: "ftp://agent"}, "malformed origin"},
		{"socket without a path", &Transport{Origin: "unix://"}, "malformed origin"},
		{"socket with a host", &Transport{Origin: "unix://host/path"}, "malformed origin"},
		{"password", &Transport{Origin: "https://user:hunter2@agent"}, "without user or password"},
		{"password, malformed", &Transport{Origin: "https://user:hunter2@agent:x"}, "malformed origin"},
		{"password, malformed host", &Transport{Origin: "https://user:hunter2#@agent"}, "malformed origin"},
		{"wrong header", &Transport{Origin: "https://agent", Header: "Cookie"}, `header "Cookie": want Authorization or X-Serverless-Authorization`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.transport.Check()
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			// The same mistake never sends a request.
			test.transport.Source, test.transport.Base = Static(""), roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("sent")
				return nil, errDown
			})
			_, sent := test.transport.RoundTrip(httptest.NewRequest("GET", "https://agent/", nil))
			if sent == nil || sent.Error() != err.Error() {
				t.Errorf("RoundTrip: %v", sent)
			}
		})
	}
}

func TestOriginIsBound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, origin, url, host string
		allowed                 bool
	}{
		{"same", "https://agent.a.run.app", "https://agent.a.run.app/v0.4/traces", "", true},
		{"default port", "https://agent.a.run.app:443", "https://agent.a.run.app/", "", true},
		{"default port in the request", "https://agent.a.run.app", "https://agent.a.run.app:443/", "", true},
		{"upper case", "https://Agent.a.run.app", "HTTPS://AGENT.A.RUN.APP/", "", true},
		{"path of the origin", "https://agent.a.run.app/prefix", "https://agent.a.run.app/", "", true},
		{"socket", "unix:///run/apm.socket", "http://localhost/v0.4/traces", "", true},
		{"downgrade", "https://agent.a.run.app", "http://agent.a.run.app/", "", false},
		{"other host", "https://agent.a.run.app", "https://evil.com/", "", false},
		{"subdomain", "https://agent.a.run.app", "https://x.agent.a.run.app/", "", false},
		{"suffix", "https://agent.a.run.app", "https://agent.a.run.app.evil.com/", "", false},
		{"other port", "https://agent.a.run.app", "https://agent.a.run.app:8443/", "", false},
		{"http's port over https", "https://agent.a.run.app", "https://agent.a.run.app:80/", "", false},
		{"other service behind the front end", "https://agent.a.run.app", "https://agent.a.run.app/", "other.a.run.app", false},
		{"Host header that agrees", "https://agent.a.run.app", "https://agent.a.run.app/", "AGENT.a.run.app:443", true},
		{"socket, other host", "unix:///run/apm.socket", "http://evil.com/", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			source := &fixed{tokens: []Token{mint(t, 0, time.Hour)}}
			sent := false
			tr := &Transport{Source: source, Origin: test.origin, Base: roundTrip(func(*http.Request) (*http.Response, error) {
				sent = true
				return answer(200, nil), nil
			})}
			r, err := http.NewRequestWithContext(t.Context(), "POST", test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			var closed atomic.Bool
			r.Body = &noting{strings.NewReader("body"), &closed}
			if test.host != "" {
				r.Host = test.host
			}
			_, err = tr.RoundTrip(r)
			if (err == nil) != test.allowed || sent != test.allowed {
				t.Errorf("error %v, sent %v", err, sent)
			}
			if !test.allowed && (source.calls != 0 || !closed.Load() || !strings.Contains(err.Error(), "bound to")) {
				t.Errorf("%d tokens asked for, body closed %v, error %v", source.calls, closed.Load(), err)
			}
		})
	}
	if _, err := (&Transport{Origin: "https://agent", Base: http.DefaultTransport}).RoundTrip(&http.Request{}); err == nil {
		t.Error("a request without a URL went out")
	}
}
