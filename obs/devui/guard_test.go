package devui

import (
	"net/http"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	local := newRig(t, Options{Hosts: []string{"obs.test"}})
	open := newRig(t, Options{AllowRemote: true, Hosts: []string{"obs.test"}})
	tests := []struct {
		name   string
		peer   string
		header []string
		local  bool // the viewer for this machine answers
		open   bool // the one for all does
	}{
		{"a browser here", "127.0.0.1:1", []string{"Sec-Fetch-Site", "none"}, true, true},
		{"IPv6", "[::1]:1", []string{"Host", "[::1]:8127"}, true, true},
		{"mapped", "[::ffff:127.0.0.1]:1", nil, true, true},
		{"a socket", "@", []string{"Host", "localhost"}, true, true},
		{"the page itself", "127.0.0.1:1", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8127"}, true, true},
		{"a name of its own", "127.0.0.1:1", []string{"Host", "OBS.test:80"}, true, true},
		{"a subdomain", "127.0.0.1:1", []string{"Host", "shop.localhost:80"}, true, true},
		{"a link from another port", "127.0.0.1:1", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true, true},

		{"another machine", "192.0.2.7:1", nil, false, true},
		{"another machine by address", "192.0.2.7:1", []string{"Host", "192.0.2.1:8127"}, false, true},
		{"no address", "nonsense", nil, false, true},
		{"through a proxy", "127.0.0.1:1", []string{"X-Forwarded-For", "192.0.2.7"}, false, true},
		{"through another", "127.0.0.1:1", []string{"X-Forwarded-Host", "a.example"}, false, true},
		{"through a third", "127.0.0.1:1", []string{"Forwarded", "for=192.0.2.7"}, false, true},
		{"through a fourth", "127.0.0.1:1", []string{"X-Real-Ip", "192.0.2.7"}, false, true},

		{"rebound", "127.0.0.1:1", []string{"Host", "evil.example:8127"}, false, false},
		{"rebound, alike", "127.0.0.1:1", []string{"Host", "localhost.evil.example"}, false, false},
		{"no host", "127.0.0.1:1", []string{"Host", ""}, false, false},
		{"another site", "127.0.0.1:1", []string{"Sec-Fetch-Site", "cross-site"}, false, false},
		{"another site's link", "127.0.0.1:1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false, false},
		{"another port's script", "127.0.0.1:1", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, false, false},
		{"another port's frame", "127.0.0.1:1", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false, false},
		{"a site unknown", "127.0.0.1:1", []string{"Sec-Fetch-Site", "new-kind"}, false, false},
		{"another origin", "127.0.0.1:1", []string{"Origin", "http://evil.example"}, false, false},
		{"another port", "127.0.0.1:1", []string{"Origin", "http://localhost:1"}, false, false},
		{"no origin", "127.0.0.1:1", []string{"Origin", "null"}, false, false},
	}
	for _, tt := range tests {
		for _, v := range []struct {
			who     string
			handler http.Handler
			want    bool
		}{
			{"local", local, tt.local}, {"local agent", local.Agent(), tt.local},
			{"open", open, tt.open}, {"open agent", open.Agent(), tt.open},
		} {
			path := "/"
			if strings.HasSuffix(v.who, "agent") {
				path = "/info"
			}
			r := request(t, "GET", path, tt.header...)
			r.RemoteAddr = tt.peer
			w := serve(v.handler, r)
			if want := map[bool]int{true: 200, false: 403}[v.want]; w.Code != want {
				t.Errorf("%s, %s: got %d %q, want %d", tt.name, v.who, w.Code, strings.TrimSpace(w.Body.String()), want)
			}
		}
	}
}
