package adc

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

const (
	audience = "https://agent-xyz.a.run.app"
	email    = "shop@acme.iam.gserviceaccount.com"
	secret   = "hunter2"
)

// fakeGoogle is Google's token endpoint, its security token service and IAM, as
// far as ID tokens need them. Tokens are an emulated metadata server's.
type fakeGoogle struct {
	t        *testing.T
	metadata *emulator.MetadataServer
	url      string
	key      *rsa.PrivateKey
	fault    http.HandlerFunc // instead of what would answer, if not nil
	faultAt  string           // end of the path it answers for

	mu    sync.Mutex // guards asked
	asked []string   // paths
}

func startGoogle(t *testing.T) *fakeGoogle {
	t.Helper()
	m, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGoogle{t: t, metadata: m, key: key}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

func (g *fakeGoogle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.asked = append(g.asked, r.URL.Path)
	g.mu.Unlock()
	if g.fault != nil && strings.HasSuffix(r.URL.Path, g.faultAt) {
		g.fault(w, r)
		return
	}
	var answer any
	var err error
	switch r.URL.Path {
	case "/token":
		answer, err = g.token(r)
	case "/sts":
		answer, err = g.exchange(r)
	case "/v1/projects/-/serviceAccounts/" + email + ":generateIdToken":
		answer, err = g.generate(r)
	default:
		err = fmt.Errorf("no such path: %s", r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"error": "invalid_request", "error_description": err.Error()}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		g.t.Error(err)
	}
}

// paths are those that were asked for, in their order.
func (g *fakeGoogle) paths() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

// token is RFC 7523, or a refresh of a user's.
func (g *fakeGoogle) token(r *http.Request) (any, error) {
	if r.PostFormValue("grant_type") == "refresh_token" {
		if r.PostFormValue("refresh_token") != secret {
			return nil, fmt.Errorf("another refresh token")
		}
		return map[string]any{"access_token": "the user's", "token_type": "Bearer", "expires_in": 3600}, nil
	}
	parts := strings.Split(r.PostFormValue("assertion"), ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("no assertion")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return nil, err
	}
	var c struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Target   string `json:"target_audience"`
		Scope    string `json:"scope"`
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	if c.Audience != g.url+"/token" || c.Issuer != email {
		return nil, fmt.Errorf("an assertion of %s for %s", c.Issuer, c.Audience)
	}
	if c.Scope != "" {
		return map[string]any{"access_token": "the key's", "token_type": "Bearer", "expires_in": 3600}, nil
	}
	raw, err := g.mint(c.Target)
	return map[string]string{"id_token": raw}, err
}

// exchange is RFC 8693.
func (g *fakeGoogle) exchange(r *http.Request) (any, error) {
	if got := r.PostFormValue("subject_token"); got != secret {
		return nil, fmt.Errorf("another subject token")
	}
	return map[string]any{
		"access_token": "the workload's", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
		"token_type": "Bearer", "expires_in": 3600,
	}, nil
}

func (g *fakeGoogle) generate(r *http.Request) (any, error) {
	who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !slices.Contains([]string{"the user's", "the key's", "the workload's"}, who) {
		return nil, fmt.Errorf("authorization %q", who)
	}
	var request struct {
		Audience     string
		IncludeEmail bool
		Delegates    []string
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return nil, err
	}
	if !request.IncludeEmail {
		return nil, fmt.Errorf("without the email")
	}
	for _, d := range request.Delegates {
		if !strings.HasPrefix(d, "projects/-/serviceAccounts/") {
			return nil, fmt.Errorf("delegate %q", d)
		}
	}
	raw, err := g.mint(request.Audience)
	return map[string]string{"token": raw}, err
}

// mint asks the metadata server for a token that is signed as Google's are.
func (g *fakeGoogle) mint(aud string) (string, error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+g.metadata.Host()+"/computeMetadata/v1/instance/service-accounts/default/identity?"+url.Values{"audience": {aud}}.Encode(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Metadata-Flavor", "Google")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

type fields map[string]any

func (f fields) json(t *testing.T) []byte {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f fields) with(name string, value any) fields {
	c := fields{}
	for k, v := range f {
		c[k] = v
	}
	c[name] = value
	return c
}

// keyFile is a service account's key.
func (g *fakeGoogle) keyFile() fields {
	der, err := x509.MarshalPKCS8PrivateKey(g.key)
	if err != nil {
		g.t.Fatal(err)
	}
	return fields{
		"type": "service_account", "client_email": email, "private_key_id": "k1", "token_uri": g.url + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// userFile is what "gcloud auth application-default login" writes, but for the
// endpoint.
func (g *fakeGoogle) userFile() fields {
	return fields{"type": "authorized_user", "client_id": "c", "client_secret": secret, "refresh_token": secret, "token_uri": g.url + "/token"}
}

func (g *fakeGoogle) impersonationURL() string {
	return g.url + "/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken"
}

func (g *fakeGoogle) impersonatedFile(source fields) fields {
	return fields{
		"type": "impersonated_service_account", "service_account_impersonation_url": g.impersonationURL(),
		"delegates": []string{"first@acme.iam.gserviceaccount.com", "projects/-/serviceAccounts/second@acme.iam.gserviceaccount.com"}, "source_credentials": source,
	}
}

// federatedFile is of workload identity federation, with a token in a file.
func (g *fakeGoogle) federatedFile(tokenFile string) fields {
	return fields{
		"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": g.url + "/sts",
		"service_account_impersonation_url": g.impersonationURL(), "credential_source": fields{"file": tokenFile},
	}
}

// unsigned makes a token of claims that has another's signature.
func unsigned(claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": "RS256"}) + "." + part(claims) + "." + base64.RawURLEncoding.EncodeToString([]byte("signature"))
}
