package gcpauth

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a response whose body notes that it was closed.
func answer(status int, closed *atomic.Bool) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: &noting{Reader: strings.NewReader("page"), closed: closed}}
}

type noting struct {
	io.Reader
	closed *atomic.Bool
}

func (n *noting) Close() error {
	if n.closed != nil {
		n.closed.Store(true)
	}
	return nil
}

// fixed is a source of two tokens: the second once the first is invalid.
type fixed struct {
	tokens  []Token
	invalid []Token
	err     error // after the first call
	calls   int
}

func (f *fixed) Token(context.Context) (Token, error) {
	f.calls++
	if f.calls > 1 && f.err != nil {
		return Token{}, f.err
	}
	return f.tokens[min(len(f.invalid), len(f.tokens)-1)], nil
}

func (f *fixed) Invalidate(t Token) { f.invalid = append(f.invalid, t) }

func TestUnauthorized(t *testing.T) {
	t.Parallel()
	first, second := mint(t, 10*time.Minute, time.Hour), mint(t, 0, time.Hour)
	const payload = "spans"
	for _, test := range []struct {
		name     string
		tokens   []Token
		tokenErr error
		statuses []int
		noReplay bool // no GetBody
		noBody   bool
		badBody  bool // GetBody fails
		want     int
		sent     int
		invalid  int
	}{
		{name: "fine", tokens: []Token{first}, statuses: []int{200}, want: 200, sent: 1},
		{name: "refused, then fine", tokens: []Token{first, second}, statuses: []int{401, 200}, want: 200, sent: 2, invalid: 1},
		{name: "refused twice", tokens: []Token{first, second}, statuses: []int{401, 401}, want: 401, sent: 2, invalid: 2},
		{name: "then forbidden", tokens: []Token{first, second}, statuses: []int{401, 403}, want: 403, sent: 2, invalid: 1},
		{name: "forbidden", tokens: []Token{first, second}, statuses: []int{403}, want: 403, sent: 1},
		{name: "no other token", tokens: []Token{first}, statuses: []int{401}, want: 401, sent: 1, invalid: 1},
		{name: "source down", tokens: []Token{first}, tokenErr: errDown, statuses: []int{401}, want: 401, sent: 1, invalid: 1},
		{name: "body gone", tokens: []Token{first, second}, statuses: []int{401}, noReplay: true, want: 401, sent: 1, invalid: 1},
		{name: "body lost", tokens: []Token{first, second}, statuses: []int{401}, badBody: true, want: 401, sent: 1, invalid: 1},
		{name: "no body", tokens: []Token{first, second}, statuses: []int{401, 200}, noBody: true, noReplay: true, want: 200, sent: 2, invalid: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			source := &fixed{tokens: test.tokens, err: test.tokenErr}
			var sent []string
			var closed [2]atomic.Bool
			tr := &Transport{Source: source, Origin: "https://agent", Base: roundTrip(func(r *http.Request) (*http.Response, error) {
				n := len(sent)
				sent = append(sent, r.Header.Get("Authorization"))
				if !test.noBody {
					b, err := io.ReadAll(r.Body)
					if err != nil || string(b) != payload {
						t.Errorf("request %d has the body %q, %v", n+1, b, err)
					}
				}
				return answer(test.statuses[n], &closed[n]), nil
			})}
			var body io.Reader
			if !test.noBody {
				body = strings.NewReader(payload)
			}
			r, err := http.NewRequestWithContext(t.Context(), "POST", "https://agent/v0.4/traces", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "the caller's")
			r.Header.Set("X-Other", "kept")
			if test.noReplay {
				r.GetBody = nil
			}
			if test.badBody {
				r.GetBody = func() (io.ReadCloser, error) { return nil, errDown }
			}
			before := r.Header.Clone()
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if page, err := io.ReadAll(resp.Body); resp.StatusCode != test.want || string(page) != "page" || err != nil {
				t.Errorf("status %d, body %q, %v; want %d, untouched", resp.StatusCode, page, err, test.want)
			}
			if len(sent) != test.sent || len(source.invalid) != test.invalid {
				t.Errorf("%d sent, %d invalidated; want %d and %d", len(sent), len(source.invalid), test.sent, test.invalid)
			}
			for i, h := range sent {
				if want := "Bearer " + test.tokens[i].t.raw(); h != want {
					t.Errorf("request %d has another token", i+1)
				}
				if last := i == len(sent)-1; closed[i].Load() == last {
					t.Errorf("answer %d: closed %v", i+1, closed[i].Load())
				}
			}
			if d := cmp.Diff(before, r.Header); d != "" {
				t.Errorf("the caller's request was modified: %s", d)
			}
		})
	}
}

func TestRedirectIsAnError(t *testing.T) {
	t.Parallel()
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		for _, source := range []TokenSource{nil, Static(issue(testAudience, time.Now(), time.Hour))} {
			var closed atomic.Bool
			sent := 0
			client := &http.Client{Transport: &Transport{Source: source, Origin: "https://agent", Base: roundTrip(func(r *http.Request) (*http.Response, error) {
				sent++
				resp := answer(status, &closed)
				resp.Header.Set("Location", "https://evil.com/?secret=hunter2")
				return resp, nil
			})}}
			resp, err := client.Post("https://agent/v0.4/traces", "application/msgpack", strings.NewReader("spans"))
			if err == nil {
				resp.Body.Close()
				t.Fatalf("%d: no error", status)
			}
			if sent != 1 || !closed.Load() {
				t.Errorf("%d: sent %d times, body closed %v", status, sent, closed.Load())
			}
			if !strings.Contains(err.Error(), `redirects to the host "evil.com"`) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ header, set, kept string }{
		{"", "Authorization", "X-Serverless-Authorization"},
		{"authorization", "Authorization", "X-Serverless-Authorization"},
		{"X-Serverless-Authorization", "X-Serverless-Authorization", "Authorization"},
	} {
		source := Static(issue(testAudience, time.Now(), time.Hour))
		var got http.Header
		tr := &Transport{Source: source, Origin: "https://agent", Header: test.header, Base: roundTrip(func(r *http.Request) (*http.Response, error) {
			got = r.Header
			return answer(200, nil), nil
		})}
		r := httptest.NewRequest("GET", "https://agent/", nil)
		r.Header.Set(test.kept, "the caller's")
		if _, err := tr.RoundTrip(r); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.Get(test.set), "Bearer eyJ") || got.Get(test.kept) != "the caller's" {
			t.Errorf("%q: %d headers", test.header, len(got))
		}
		got[test.set][0] = "Bearer stolen" // a base that writes to its request
		if _, err := tr.RoundTrip(r); err != nil || got.Get(test.set) == "Bearer stolen" {
			t.Errorf("%q: the next request has what the base wrote, or %v", test.header, err)
		}
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	var closed atomic.Bool
	never := roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("sent without a token")
		return nil, errDown
	})
	for _, source := range []TokenSource{Static("garbage"), &fixed{tokens: []Token{{}}}} {
		r := httptest.NewRequest("POST", "https://agent/", &noting{strings.NewReader("spans"), &closed})
		closed.Store(false)
		if _, err := (&Transport{Source: source, Origin: "https://agent", Base: never}).RoundTrip(r); err == nil || !closed.Load() {
			t.Errorf("error %v, body closed %v", err, closed.Load())
		}
	}
}

// TestNilSource sends plain requests, to any origin, and to it alone.
func TestNilSource(t *testing.T) {
	t.Parallel()
	tr := &Transport{Origin: "http://agent:8126", Base: roundTrip(func(r *http.Request) (*http.Response, error) {
		if len(r.Header) != 0 {
			t.Errorf("headers %v", r.Header)
		}
		return answer(401, nil), nil
	})}
	r := httptest.NewRequest("GET", "http://agent:8126/info", nil)
	if resp, err := tr.RoundTrip(r); err != nil || resp.StatusCode != 401 {
		t.Error(resp, err)
	}
	if _, err := tr.RoundTrip(httptest.NewRequest("GET", "http://other:8126/info", nil)); err == nil {
		t.Error("sent to another origin")
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(r.URL.Path + " " + r.Header.Get("Authorization")[:10]))
	})}
	go s.Serve(l) //nolint:errcheck // ends with Close
	t.Cleanup(func() { s.Close() })
	client := &http.Client{Transport: &Transport{Source: Static(issue(testAudience, time.Now(), time.Hour)), Origin: "unix://" + path}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Get("http://localhost/info")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "/info Bearer eyJ" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestNoProxy: a proxy would read a token that is not encrypted.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	proxied := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, errDown }}
	for _, test := range []struct {
		name   string
		origin string
		base   http.RoundTripper
		token  bool
		proxy  bool
	}{
		{"https", "https://agent", proxied, true, true},
		{"https, default", "https://agent", nil, true, true},
		{"http with a token", "http://agent", proxied, true, false},
		{"http with a token, default", "http://agent", nil, true, false},
		{"http without", "http://agent", proxied, false, true},
		{"socket", "unix:///s", nil, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tr := &Transport{Origin: test.origin, Base: test.base, AllowInsecure: true}
			if test.token {
				tr.Source = Static("")
			}
			tr.setUp()
			if tr.err != nil {
				t.Fatal(tr.err)
			}
			if got := tr.base.(*http.Transport).Proxy != nil; got != test.proxy {
				t.Errorf("proxy %v, want %v", got, test.proxy)
			}
		})
	}
	if proxied.Proxy == nil {
		t.Error("the caller's transport was modified")
	}
}

// TestTransportWithServer runs everything over a real connection, many at once,
// while the server stops taking the first token.
func TestTransportWithServer(t *testing.T) {
	t.Parallel()
	tokens := []Token{mint(t, time.Minute, time.Hour), mint(t, 0, time.Hour)}
	var revoked, n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "spans" {
			t.Errorf("body %q, %v", body, err)
		}
		if revoked.Load() == 1 && r.Header.Get("Authorization") != "Bearer "+tokens[1].t.raw() {
			w.WriteHeader(401)
		}
		if n.Add(1) == 50 {
			revoked.Store(1)
		}
	}))
	t.Cleanup(server.Close)
	var mu sync.Mutex
	made := 0
	source := Cached(&scripted{token: func(context.Context, int) (Token, error) {
		mu.Lock()
		defer mu.Unlock()
		made++
		return tokens[min(made, 2)-1], nil
	}}, CacheOptions{})
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	source.current.Load().fresh = time.Now().Add(-settling) // it has been in use for a while
	client := &http.Client{Transport: &Transport{Source: source, Origin: server.URL}}
	t.Cleanup(client.CloseIdleConnections)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				resp, err := client.Post(server.URL+"/v0.4/traces", "application/msgpack", strings.NewReader("spans"))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if made != 2 {
		t.Errorf("%d tokens made, want 2", made)
	}
}

func TestBodyErrorIsHandedOn(t *testing.T) {
	t.Parallel()
	tr := &Transport{Source: Static(issue(testAudience, time.Now(), time.Hour)), Origin: "http://127.0.0.1:1"}
	t.Cleanup(tr.CloseIdleConnections)
	r := httptest.NewRequest("POST", "http://127.0.0.1:1/", iotest.ErrReader(errors.New("body broke")))
	if resp, err := tr.RoundTrip(r); err == nil {
		resp.Body.Close()
		t.Error("no error")
	} else if leaks(err.Error()) {
		t.Errorf("the error shows the token: %v", err)
	}
}

// TestTransportAllocations: the request's copy, the two parts of its header, and
// the value.
func TestTransportAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := Cached(Static(issue(testAudience, time.Now(), time.Hour)), CacheOptions{Audience: testAudience})
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	tr := &Transport{Source: c, Origin: "https://agent.example", Base: roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil })}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://agent.example/v1.0/traces", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/msgpack")
	n := testing.AllocsPerRun(1000, func() {
		if _, err := tr.RoundTrip(r); err != nil {
			t.Fatal(err)
		}
	})
	if n > 4 {
		t.Errorf("%v allocations a request, want 4", n)
	}
}
