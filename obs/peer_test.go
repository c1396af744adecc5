package obs

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPeer: a client span says what its request was connected to, and the
// program's own trace of the request goes on.
func TestPeer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			where := "127.0.0.1:0"
			if network == "unix" {
				where = filepath.Join(t.TempDir(), "s")
			}
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), network, where)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.Listener.Close()
			s.Listener = ln
			s.Start()
			defer s.Close()

			rec, ctx := recording(t, Options{})
			called := false
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { called = true }})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop.example/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			base := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
			}}
			defer base.CloseIdleConnections()
			resp, err := Transport(base).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()

			got := attrsOf(rec.Ended()[0].Attributes())
			want, port := ln.Addr().String(), ""
			if a, ok := ln.Addr().(*net.TCPAddr); ok {
				want, port = a.IP.String(), strconv.Itoa(a.Port)
			}
			if got["network.peer.address"] != want || got["network.peer.port"] != port {
				t.Errorf("got %q, port %q, want %q, port %q", got["network.peer.address"], got["network.peer.port"], want, port)
			}
			if !called {
				t.Error("the program's own trace was not called")
			}
		})
	}
}
