package gcpauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// fakeToken has the form of an ID token for audience; nobody signed it.
func fakeToken(audience string, issued time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"aud":%q,"email":"shop@acme.iam.gserviceaccount.com","iat":%d,"exp":%d}`,
		audience, issued.Unix(), issued.Add(time.Hour).Unix())
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

// fakeMetadataServer stands for the one of Cloud Run; see obs/emulator for one
// that signs.
func fakeMetadataServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		fmt.Fprint(w, fakeToken(r.URL.Query().Get("audience"), time.Now()))
	}))
}

// A client whose requests Cloud Run lets in.
func Example() {
	ctx := context.Background()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Fprintf(w, "hello, %s of a token", kind)
	}))
	defer service.Close()
	metadata := fakeMetadataServer()
	defer metadata.Close()

	source := gcpauth.Cached(
		gcpauth.Metadata(gcpauth.MetadataOptions{
			Audience: service.URL,
			Host:     strings.TrimPrefix(metadata.URL, "http://"), // on Google Cloud: left out
		}),
		gcpauth.CacheOptions{Audience: service.URL})
	defer source.Shutdown(ctx) //nolint:errcheck // ctx has no deadline to miss

	client := &http.Client{Transport: &gcpauth.Transport{Source: source, Origin: service.URL}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(service.URL + "/info")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)

	// Nowhere else does the token go.
	_, err = client.Get("https://example.com/")
	fmt.Println(strings.Contains(err.Error(), "refused"))
	// Output:
	// hello, Bearer of a token <nil>
	// true
}

// What keeps a token asks for the next one long before it is needed.
func ExampleCached() {
	ctx := context.Background()
	source := gcpauth.Cached(
		gcpauth.Static(fakeToken("https://agent-xyz.a.run.app", time.Now())),
		gcpauth.CacheOptions{Audience: "https://agent-xyz.a.run.app"})
	defer source.Shutdown(ctx) //nolint:errcheck // ctx has no deadline to miss

	token, err := source.Token(ctx)
	fmt.Printf("%v %+v %#v %s %v\n", token, token, token, token, err)
	fmt.Println("minutes left:", time.Until(token.Expires()).Round(time.Minute).Minutes())
	// Output:
	// [REDACTED] [REDACTED] [REDACTED] [REDACTED] <nil>
	// minutes left: 60
}

// Each call is one request; Cached makes few of them.
func ExampleMetadata() {
	metadata := fakeMetadataServer()
	defer metadata.Close()
	source := gcpauth.Metadata(gcpauth.MetadataOptions{
		Audience: "https://agent-xyz.a.run.app",
		Host:     strings.TrimPrefix(metadata.URL, "http://"),
	})
	token, err := source.Token(context.Background())
	fmt.Println(token, err)
	// Output: [REDACTED] <nil>
}

// A token by hand, as "gcloud auth print-identity-token" prints one.
func ExampleStatic() {
	_, err := gcpauth.Static("ya29.an-access-token").Token(context.Background())
	fmt.Println(err)
	// Output: gcpauth: malformed ID token: not a JSON Web Token in compact form
}

// A token that something else keeps fresh in a file.
func ExampleFile() {
	_, err := gcpauth.File("testdata/no-such-token").Token(context.Background())
	fmt.Println(err)
	// Output: gcpauth: token file: stat testdata/no-such-token: no such file or directory
}

// For sources of one's own.
func ExampleParseToken() {
	issued := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	raw := fakeToken("https://agent-xyz.a.run.app", issued)
	token, err := gcpauth.ParseToken(raw, issued.Add(20*time.Minute)) // the answer's Date
	fmt.Println(token, err)
	fmt.Println("minutes left:", time.Until(token.Expires()).Round(time.Minute).Minutes())

	_, err = gcpauth.ParseToken("<html>try later</html>", time.Time{})
	fmt.Println(err)
	// Output:
	// [REDACTED] <nil>
	// minutes left: 40
	// gcpauth: malformed ID token: not a JSON Web Token in compact form
}

// A URL to send tokens to is checked before the first request.
func ExampleTransport_Check() {
	for _, origin := range []string{
		"https://agent-xyz.a.run.app",
		"http://localhost:8126",
		"http://agent:8126",
		"agent:8126",
	} {
		t := gcpauth.Transport{Origin: origin}
		fmt.Println(t.Check())
	}
	// Output:
	// <nil>
	// <nil>
	// gcpauth: origin http://agent:8126: ID tokens travel over https, to a loopback host or through a unix socket (Transport.AllowInsecure lifts this)
	// gcpauth: malformed origin: want a URL such as https://agent-xyz.a.run.app, http://localhost:8126 or unix:///path
}

// shared is the simplest cache: other instances' tokens, in this process.
type shared struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *shared) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key], nil
}

func (s *shared) Set(_ context.Context, key string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
	return nil
}

// Two instances of a service ask for one token. See rediscache for a cache that
// keeps values sealed, and forgets them.
func ExampleCache() {
	ctx := context.Background()
	asked := 0
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Metadata-Flavor", "Google")
		fmt.Fprint(w, fakeToken(r.URL.Query().Get("audience"), time.Now()))
	}))
	defer metadata.Close()
	var cache gcpauth.Cache = &shared{values: make(map[string][]byte)}
	for range 2 {
		const audience = "https://agent-xyz.a.run.app"
		source := gcpauth.Cached(
			gcpauth.Metadata(gcpauth.MetadataOptions{Audience: audience, Host: strings.TrimPrefix(metadata.URL, "http://")}),
			gcpauth.CacheOptions{Audience: audience, Cache: cache, Identity: "shop@acme.iam.gserviceaccount.com"})
		token, err := source.Token(ctx)
		fmt.Println(token.Audience(), err)
		if err := source.Shutdown(ctx); err != nil { // the cache has the token then
			fmt.Println(err)
		}
	}
	fmt.Println("asked:", asked)
	// Output:
	// [https://agent-xyz.a.run.app] <nil>
	// [https://agent-xyz.a.run.app] <nil>
	// asked: 1
}

// What is known of a token that was refused.
func ExampleTransport_Refusal() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer service.Close()
	transport := &gcpauth.Transport{Source: gcpauth.Static(fakeToken(service.URL, time.Now())), Origin: service.URL}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get(service.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	r := transport.Refusal()
	fmt.Println(r.Status, r.Identity, "lacks", r.Role)
	// Output: 403 shop@acme.iam.gserviceaccount.com lacks roles/run.invoker
}
