package emulator

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// backend keeps the headers of the last request.
func backend(t *testing.T) (url string, seen chan http.Header) {
	seen = make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		h.Set("Host", r.Host)
		seen <- h
	}))
	t.Cleanup(s.Close)
	return s.URL, seen
}

const agentAudience = "https://agent.example"

func TestAdmission(t *testing.T) {
	t.Parallel()
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{}))
	url, seen := backend(t)
	f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: url, Audience: agentAudience, Metadata: m}))
	key, err := m.signer()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := newSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	// issue signs m's claims, once change has been at them.
	issue := func(k *signingKey, change func(*tokenHeader, *claims)) string {
		h, c := tokenHeader{Algorithm: algorithm, KeyID: key.id}, m.claims(agentAudience, false)
		if change != nil {
			change(&h, &c)
		}
		token, err := k.sign(h, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := issue(key, nil)
	head, rest, _ := strings.Cut(good, ".")
	claimsPart, signature, _ := strings.Cut(rest, ".")
	none := encodePart([]byte(`{"alg":"none"}`)) + "." + claimsPart
	stripped := strings.TrimSuffix(good, signature) + "SIGNATURE_REMOVED_BY_GOOGLE"

	tests := []struct {
		name    string
		headers []string
		status  int
		reason  string
	}{
		{"no header", nil, 403, "no token"},
		{"empty header", []string{"Authorization: "}, 403, "no token"},
		{"no bearer", []string{"Authorization: Basic dTpw"}, 401, "bearer"},
		{"empty bearer", []string{"Authorization: Bearer "}, 401, "bearer"},
		{"garbage", []string{"Authorization: Bearer garbage"}, 401, "JSON Web Token"},
		{"an error page", []string{"Authorization: Bearer <html>503</html>"}, 401, "JSON Web Token"},
		{"two parts", []string{"Authorization: Bearer " + head + "." + claimsPart}, 401, "JSON Web Token"},
		{"no signature", []string{"Authorization: Bearer " + head + "." + claimsPart + "."}, 401, "signature is not the key's"},
		{"half a signature", []string{"Authorization: Bearer " + good[:len(good)-100]}, 401, "signature"},
		{"its signature removed", []string{"Authorization: Bearer " + stripped}, 401, "signature"},
		{"alg none", []string{"Authorization: Bearer " + none + "."}, 401, `the algorithm is "none"`},
		{"alg none, signed", []string{"Authorization: Bearer " + none + "." + signature}, 401, `the algorithm is "none"`},
		{"alg HS256", []string{"Authorization: Bearer " + issue(key, func(h *tokenHeader, _ *claims) { h.Algorithm = "HS256" })}, 401, "HS256"},
		{"foreign key", []string{"Authorization: Bearer " + issue(foreign, nil)}, 401, "signature is not the key's"},
		{"unknown key", []string{"Authorization: Bearer " + issue(foreign, func(h *tokenHeader, _ *claims) { h.KeyID = foreign.id })}, 401, "unknown key"},
		{"no key", []string{"Authorization: Bearer " + issue(key, func(h *tokenHeader, _ *claims) { h.KeyID = "" })}, 401, "unknown key"},
		{"other claims", []string{"Authorization: Bearer " + head + "." + encodePart([]byte(`{"aud":"x"}`)) + "." + signature}, 401, "signature"},
		{"foreign audience", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Audience = audience{"https://other.example"} })}, 401, "audience"},
		{"slash at the end", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Audience = audience{agentAudience + "/"} })}, 401, "audience"},
		{"no audience", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Audience = nil })}, 401, "audience"},
		{"wrong issuer", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Issuer = "https://evil.example" })}, 401, "issuer"},
		{"expired", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Expires = time.Now().Unix() })}, 401, "expired"},
		{"from the future", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.IssuedAt += 3600 })}, 401, "future"},
		{"bad one preferred", []string{"X-Serverless-Authorization: Bearer garbage", "Authorization: Bearer " + good}, 401, "JSON Web Token"},

		{"good", []string{"Authorization: Bearer " + good}, 200, ""},
		{"good, lower case", []string{"Authorization: bearer " + good}, 200, ""},
		{"good, several audiences", []string{"Authorization: Bearer " + issue(key, func(_ *tokenHeader, c *claims) { c.Audience = audience{"x", agentAudience} })}, 200, ""},
		{"good one preferred", []string{"X-Serverless-Authorization: Bearer " + good, "Authorization: Basic dTpw"}, 200, ""},
	}
	refused := 0
	for _, tt := range tests {
		resp, body := send(t, "GET", f.URL()+"/a%3Cb", "", tt.headers...)
		if resp.StatusCode != tt.status || !strings.Contains(resp.Header.Get("X-Emulator-Reason"), tt.reason) {
			t.Errorf("%s: got %s, %q, want %d, %q", tt.name, resp.Status, resp.Header.Get("X-Emulator-Reason"), tt.status, tt.reason)
		}
		if tt.status == 200 {
			<-seen
			continue
		}
		refused++
		if !strings.Contains(body, fmt.Sprintf("<title>%d %s</title>", tt.status, http.StatusText(tt.status))) || !strings.Contains(body, "<code>/a&lt;b</code>") {
			t.Errorf("%s: not Google's page: %s", tt.name, body)
		}
		challenge := resp.Header.Get("WWW-Authenticate")
		if got := strings.HasPrefix(challenge, `Bearer error="invalid_token"`); got != (tt.status == 401) {
			t.Errorf("%s: WWW-Authenticate: %q", tt.name, challenge)
		}
	}
	if f.Requests() != int64(len(tests)) || f.Refused() != int64(refused) {
		t.Errorf("counted %d refused of %d, want %d of %d", f.Refused(), f.Requests(), refused, len(tests))
	}

	send(t, "GET", f.URL(), "", "Authorization: Bearer "+good)
	if got := (<-seen).Get("Authorization"); got != "Bearer "+stripped {
		t.Errorf("the backend sees %q, want the signature removed", got)
	}
	send(t, "GET", f.URL(), "", "X-Serverless-Authorization: Bearer "+good, "Authorization: Basic dTpw")
	if got := <-seen; got.Get("Authorization") != "Basic dTpw" || got.Get("X-Serverless-Authorization") != "" {
		t.Errorf("the backend sees %q and %q", got.Get("Authorization"), got.Get("X-Serverless-Authorization"))
	}
	m.RotateKey()
	if resp, _ := send(t, "GET", f.URL(), "", "Authorization: Bearer "+good); resp.StatusCode != 401 {
		t.Errorf("a token of the old key: got %s, want 401", resp.Status)
	}
	if resp, _ := send(t, "GET", f.URL(), "", "Authorization: Bearer "+identity(t, m, "audience="+agentAudience)); resp.StatusCode != 200 {
		t.Errorf("a token of the new key: got %s, want 200", resp.Status)
	}
}

func TestExpiredWhenIssued(t *testing.T) {
	t.Parallel()
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{TokenLife: -time.Minute}))
	url, _ := backend(t)
	f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: url, Metadata: m}))
	resp, _ := send(t, "GET", f.URL(), "", "Authorization: Bearer "+identity(t, m, "audience="+f.Audience()))
	if reason := resp.Header.Get("X-Emulator-Reason"); resp.StatusCode != 401 || !strings.Contains(reason, "expired") {
		t.Errorf("got %s, %q", resp.Status, reason)
	}
}

func TestInvokers(t *testing.T) {
	t.Parallel()
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"}))
	url, seen := backend(t)
	for email, want := range map[string]int{"shop@acme.iam.gserviceaccount.com": 200, "other@acme.iam.gserviceaccount.com": 403} {
		f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: url, Metadata: m, Invokers: []string{email}}))
		resp, _ := send(t, "GET", f.URL(), "", "Authorization: Bearer "+identity(t, m, "audience="+f.Audience()))
		if resp.StatusCode != want {
			t.Errorf("%s may: got %s, want %d", email, resp.Status, want)
		}
		if want == 200 {
			<-seen
		}
	}
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	url, seen := backend(t)
	f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: url}))
	send(t, "GET", f.URL(), "", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: gopher", "Authorization: Basic dTpw",
		"Tracestate: dd=s:1,other=x", "X-Datadog-Trace-Id: 42")
	got := <-seen
	want := map[string]string{
		"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "",
		"Host": strings.TrimPrefix(f.URL(), "http://"), "Authorization": "Basic dTpw",
		"Tracestate": "dd=s:1,other=x", "X-Datadog-Trace-Id": "42",
	}
	for name, value := range want {
		if got.Get(name) != value {
			t.Errorf("%s: got %q, want %q", name, got.Get(name), value)
		}
	}
	if got.Get("Traceparent") == "" || got.Get("X-Cloud-Trace-Context") == "" {
		t.Error("no trace headers")
	}
}

func TestTraceHeaders(t *testing.T) {
	t.Parallel()
	const (
		id     = "0af7651916cd43dd8448eb211c80319c"
		parent = "b7ad6b7169203331"
	)
	tests := []struct {
		name    string
		in      []string
		sampled bool
		kept    bool
	}{
		{"valid", []string{"00-" + id + "-" + parent + "-01"}, false, true},
		{"valid, unsampled", []string{"00-" + id + "-" + parent + "-00"}, true, true},
		{"later version", []string{"cc-" + id + "-" + parent + "-01-more"}, false, true},
		{"none", nil, true, false},
		{"two", []string{"00-" + id + "-" + parent + "-01", "00-" + id + "-" + parent + "-01"}, false, false},
		{"empty", []string{""}, false, false},
		{"version ff", []string{"ff-" + id + "-" + parent + "-01"}, false, false},
		{"more in version 0", []string{"00-" + id + "-" + parent + "-01-more"}, false, false},
		{"later version, no dash", []string{"cc-" + id + "-" + parent + "-01more"}, false, false},
		{"upper case", []string{"00-" + strings.ToUpper(id) + "-" + parent + "-01"}, false, false},
		{"zero trace", []string{"00-00000000000000000000000000000000-" + parent + "-01"}, false, false},
		{"zero parent", []string{"00-" + id + "-0000000000000000-01"}, false, false},
		{"no hex", []string{"00-" + id + "-" + parent + "-0g"}, false, false},
		{"dashes elsewhere", []string{"00-" + id[:31] + "--" + parent + "-01"}, false, false},
	}
	for _, tt := range tests {
		h := http.Header{"Tracestate": {"dd=s:2"}, "X-Cloud-Trace-Context": {"105445aa7843bc8bf206b12000100000/1;o=1"}}
		if tt.in != nil {
			h["Traceparent"] = tt.in
		}
		retrace(h, tt.sampled)
		var trace, span string
		var flags int
		got := h.Values("Traceparent")
		if n, err := fmt.Sscanf(strings.ReplaceAll(got[0], "-", " "), "00 %32s %16s %2x", &trace, &span, &flags); n != 3 || len(got) != 1 {
			t.Errorf("%s: got %q: %v", tt.name, got, err)
			continue
		}
		if (trace == id) != tt.kept || span == parent || (flags == 1) != tt.sampled {
			t.Errorf("%s: got %q", tt.name, got)
		}
		decimal, err := strconv.ParseUint(span, 16, 64)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		want := fmt.Sprintf("%s/%d", trace, decimal)
		if tt.sampled {
			want += ";o=1"
		}
		if got := h.Get("X-Cloud-Trace-Context"); got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
		if h.Get("Tracestate") != "dd=s:2" {
			t.Errorf("%s: tracestate %q", tt.name, h.Get("Tracestate"))
		}
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	var s sampler
	var got []int
	start := time.Now()
	for second := range 35 {
		if s.next(start.Add(time.Duration(second) * time.Second)) {
			got = append(got, second)
		}
	}
	if diff := cmp.Diff([]int{0, 10, 20, 30}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestBackendAway(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: gone.URL}))
	resp, body := send(t, "GET", f.URL(), "")
	if resp.StatusCode != 503 || !strings.Contains(body, "503 Service Unavailable") {
		t.Errorf("got %s: %s", resp.Status, body)
	}
	for _, bad := range []string{"", "://", "ftp://a", "127.0.0.1:8126", "unix:///x"} {
		if f, err := StartFrontEnd(FrontEndOptions{Backend: bad}); err == nil {
			f.Close()
			t.Errorf("backend %q: no error", bad)
		}
	}
}

func TestRequestTooLarge(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	t.Cleanup(s.Close)
	f := started[*FrontEnd](t)(StartFrontEnd(FrontEndOptions{Backend: s.URL}))
	wantTooLarge(t, f.serveHTTP, f.URL(), maxRequestBody)
	if resp, _ := send(t, "POST", f.URL(), strings.Repeat("x", 1<<20)); resp.StatusCode != 200 {
		t.Errorf("1 MiB: got %s, want 200", resp.Status)
	}
}

// TestCloseEndsRequests closes a front end whose backend never answers, while
// one request runs and one connection says nothing.
func TestCloseEndsRequests(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	f, err := StartFrontEnd(FrontEndOptions{Backend: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	done := make(chan error, 1)
	go func() {
		resp, err := http.Get(f.URL())
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-entered
	for range 3 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	<-done //nolint:errcheck // broken off
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("the silent connection is open")
	}
	if _, err := http.Get(f.URL()); err == nil {
		t.Error("it still answers")
	}
}

func TestCloud(t *testing.T) {
	t.Parallel()
	cloud := started[*Cloud](t)(StartCloud(CloudOptions{FrontEnd: FrontEndOptions{Audience: agentAudience}}))
	env := cloud.Environ()
	want := map[string]string{
		"GCE_METADATA_HOST": cloud.Metadata.Host(), "DD_TRACE_AGENT_URL": cloud.FrontEnd.URL(),
		"OBS_AGENT_AUTH": "google", "OBS_AGENT_AUDIENCE": agentAudience,
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	resp, body := send(t, "GET", env["DD_TRACE_AGENT_URL"]+"/info", "", "Authorization: Bearer "+identity(t, cloud.Metadata, "audience="+agentAudience))
	if resp.StatusCode != 200 || !json.Valid([]byte(body)) {
		t.Errorf("%s: %s", resp.Status, body)
	}

	other := started[*Cloud](t)(StartCloud(CloudOptions{AgentURL: cloud.Agent.URL()}))
	if other.Agent != nil {
		t.Error("an agent beside the other")
	}
	if _, err := StartCloud(CloudOptions{AgentURL: "nonsense"}); err == nil {
		t.Error("AgentURL nonsense: no error")
	}
	if _, err := StartCloud(CloudOptions{FrontEnd: FrontEndOptions{Backend: "http://a"}}); err == nil {
		t.Error("a backend: no error")
	}
}
