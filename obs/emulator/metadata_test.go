package emulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const flavor = "Metadata-Flavor: Google"

func TestMetadataEndpoints(t *testing.T) {
	t.Parallel()
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com", ProjectID: "acme", Region: "asia-northeast1"}))
	number := digits("acme", 12)
	tests := []struct {
		name, path string
		headers    []string
		status     int
		body       string // in full, unless ""
	}{
		{"project", "project/project-id", []string{flavor}, 200, "acme"},
		{"number", "project/numeric-project-id", []string{flavor}, 200, number},
		{"region", "instance/region", []string{flavor}, 200, "projects/" + number + "/regions/asia-northeast1"},
		{"zone", "instance/zone", []string{flavor}, 200, "projects/" + number + "/zones/asia-northeast1-1"},
		{"instance", "instance/id", []string{flavor}, 200, digits(m.Host(), 19)},
		{"account", "instance/service-accounts/default/email", []string{flavor}, 200, "shop@acme.iam.gserviceaccount.com"},
		{"account by name", "instance/service-accounts/shop@acme.iam.gserviceaccount.com/email", []string{flavor}, 200, "shop@acme.iam.gserviceaccount.com"},
		{"another account", "instance/service-accounts/root@acme.iam.gserviceaccount.com/email", []string{flavor}, 404, ""},
		{"unknown", "instance/attributes/", []string{flavor}, 404, ""},
		{"no flavor", "project/project-id", nil, 403, ""},
		{"wrong flavor", "project/project-id", []string{"Metadata-Flavor: google"}, 403, ""},
		{"through a proxy", "project/project-id", []string{flavor, "X-Forwarded-For: 10.0.0.1"}, 403, ""},
		{"no audience", "instance/service-accounts/default/identity", []string{flavor}, 400, ""},
		{"odd format", "instance/service-accounts/default/identity?audience=a&format=b", []string{flavor}, 400, ""},
		{"token without flavor", "instance/service-accounts/default/identity?audience=a", nil, 403, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := send(t, "GET", "http://"+m.Host()+metadataRoot+tt.path, "", tt.headers...)
			if resp.StatusCode != tt.status || resp.Header.Get("Metadata-Flavor") != "Google" {
				t.Errorf("got %s, flavor %q, want %d", resp.Status, resp.Header.Get("Metadata-Flavor"), tt.status)
			}
			if tt.body != "" && body != tt.body {
				t.Errorf("got %q, want %q", body, tt.body)
			}
		})
	}
	if resp, _ := send(t, "POST", "http://"+m.Host()+metadataRoot+"project/project-id", "", flavor); resp.StatusCode != 405 {
		t.Errorf("POST: got %s, want 405", resp.Status)
	}
	if resp, _ := send(t, "GET", "http://"+m.Host()+"/else", "", flavor); resp.StatusCode != 404 {
		t.Errorf("another root: got %s, want 404", resp.Status)
	}
}

func identity(t *testing.T, m *MetadataServer, query string) string {
	t.Helper()
	resp, token := send(t, "GET", "http://"+m.Host()+metadataRoot+accounts+"default/identity?"+query, "", flavor)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, token)
	}
	return token
}

// TestTokenByHand checks a token with nothing of this package's, from the
// published keys.
func TestTokenByHand(t *testing.T) {
	t.Parallel()
	const aud = "https://agent.example/?a=b&c"
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{}))
	before := time.Now().Unix()
	token := identity(t, m, "audience=https%3A%2F%2Fagent.example%2F%3Fa%3Db%26c")
	_, certs := send(t, "GET", m.CertsURL(), "")

	var set struct {
		Keys []struct{ Kty, Use, Alg, Kid, N, E string }
	}
	if err := json.Unmarshal([]byte(certs), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v in %s", err, certs)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := set.Keys[0]
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(raw(key.N)), E: int(new(big.Int).SetBytes(raw(key.E)).Int64())}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], raw(parts[2])); err != nil {
		t.Error(err)
	}
	if key.Kty != "RSA" || key.Use != "sig" || key.Alg != "RS256" || public.N.BitLen() != 2048 || public.E != 65537 {
		t.Errorf("key %+v", key)
	}
	var header, got map[string]any
	if json.Unmarshal(raw(parts[0]), &header) != nil || json.Unmarshal(raw(parts[1]), &got) != nil {
		t.Fatal("not JSON")
	}
	if diff := cmp.Diff(map[string]any{"alg": "RS256", "kid": key.Kid, "typ": "JWT"}, header); diff != "" {
		t.Errorf("header: want -, got +:\n%s", diff)
	}
	iat, exp := int64(got["iat"].(float64)), int64(got["exp"].(float64))
	if iat < before || iat > time.Now().Unix() || exp != iat+3600 {
		t.Errorf("issued %d, expires %d, asked at %d", iat, exp, before)
	}
	delete(got, "iat")
	delete(got, "exp")
	email := digits("kumihimo-local", 12) + "-compute@developer.gserviceaccount.com"
	want := map[string]any{
		"iss": "https://accounts.google.com", "aud": aud, "sub": digits(email, 21), "azp": digits(email, 21),
		"email": email, "email_verified": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims: want -, got +:\n%s", diff)
	}
	if full := identity(t, m, "audience=a&format=full"); len(full) < len(token)+100 {
		t.Errorf("format=full adds nothing: %d bytes, standard has %d", len(full), len(token))
	}
	if m.Requests() != 2 {
		t.Errorf("%d requests, want 2", m.Requests())
	}
}

func TestMetadataFault(t *testing.T) {
	t.Parallel()
	m := started[*MetadataServer](t)(StartMetadataServer(MetadataServerOptions{Fault: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("audience") != "down" {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}}))
	for aud, want := range map[string]int{"down": 503, "up": 200} {
		if resp, _ := send(t, "GET", "http://"+m.Host()+metadataRoot+accounts+"default/identity?audience="+aud, "", flavor); resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", aud, resp.Status, want)
		}
	}
}
