package adc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

func write(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKinds: each kind of credentials gives the service account's token.
func TestKinds(t *testing.T) {
	t.Parallel()
	g := startGoogle(t)
	iam := "/v1/projects/-/serviceAccounts/" + email + ":generateIdToken"
	for _, tt := range []struct {
		name  string
		file  fields
		paths string // that a token takes
	}{
		{"key", g.keyFile(), "/token"},
		{"impersonated, by a user", g.impersonatedFile(g.userFile()), "/token " + iam},
		{"impersonated, by a key", g.impersonatedFile(g.keyFile()), "/token " + iam},
		{"federated", g.federatedFile(write(t, secret)), "/sts " + iam},
		{"impersonated, by a federated identity", g.impersonatedFile(g.federatedFile(write(t, secret)).with("service_account_impersonation_url", "")), "/sts " + iam},
	} {
		before := len(g.paths())
		source, err := New(t.Context(), Options{Audience: audience, JSON: tt.file.json(t)})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		token, err := source.Token(t.Context())
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if token.Identity() != email || fmt.Sprint(token.Audience()) != "["+audience+"]" {
			t.Errorf("%s: got a token of %s for %s", tt.name, token.Identity(), token.Audience())
		}
		if got := strings.Join(g.paths()[before:], " "); got != tt.paths {
			t.Errorf("%s: asked %s, want %s", tt.name, got, tt.paths)
		}
		who, err := source.(interface {
			Identity(context.Context) (string, error)
		}).Identity(t.Context())
		if who != email || err != nil {
			t.Errorf("%s: got the identity %q, %v", tt.name, who, err)
		}
		source.Invalidate(token)
	}
}

// TestDefaultCredentials are those that Google's libraries would find.
func TestDefaultCredentials(t *testing.T) {
	g := startGoogle(t)
	t.Setenv("HOME", t.TempDir()) // no gcloud was here
	t.Setenv("GCE_METADATA_HOST", g.metadata.Host())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", write(t, string(g.keyFile().json(t))))
	for _, want := range []string{"the file's", "the metadata server's"} {
		before := g.metadata.Requests()
		source, err := New(t.Context(), Options{Audience: audience})
		if err != nil {
			t.Fatal(err)
		}
		token, err := source.Token(t.Context())
		if err != nil || token.Identity() != email {
			t.Fatalf("%s: got a token of %q, %v", want, token.Identity(), err)
		}
		who, err := source.(interface {
			Identity(context.Context) (string, error)
		}).Identity(t.Context())
		if who != email || err != nil || g.metadata.Requests() != before+1 {
			t.Errorf("%s: got the identity %q, %v, after %d tokens", want, who, err, g.metadata.Requests()-before)
		}
		if asked := len(g.paths()); asked != 1 {
			t.Errorf("%s: the token endpoint was asked %d times", want, asked)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	if _, err := New(t.Context(), Options{Audience: audience}); err == nil || !strings.Contains(err.Error(), "gcloud auth application-default login --impersonate-service-account") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

// TestMistakes are errors of New, say what is expected, and keep secrets.
func TestMistakes(t *testing.T) {
	t.Parallel()
	g := startGoogle(t)
	key, federated := g.keyFile(), g.federatedFile("/token")
	for _, tt := range []struct {
		name string
		json []byte
		want string
	}{
		{"no JSON", []byte(secret), "not the JSON of a credentials file"},
		{"empty", []byte{}, "not the JSON of a credentials file"},
		{"no type", []byte("{}"), `type ""`},
		{"another type", fields{"type": "gdch_service_account"}.json(t), "gdch_service_account"},
		{"a user", g.userFile().json(t), `"gcloud auth application-default login --impersonate-service-account=EMAIL"`},
		{"a federated user", fields{"type": "external_account_authorized_user"}.json(t), "gcloud auth print-identity-token"},
		{"a key without a key", key.with("private_key", secret).json(t), "private_key is not a private key"},
		{"a key without an account", key.with("client_email", "").json(t), "not a service account's key"},
		{"a key for another endpoint", key.with("token_uri", "http://evil.example/token").json(t), "want https"},
		{"a federated identity without an account", federated.with("service_account_impersonation_url", "").json(t), "create-cred-config"},
		{"another URL", federated.with("service_account_impersonation_url", "https://iam.example/x").json(t), "does not end in /EMAIL:generateAccessToken"},
		{"an open line", federated.with("service_account_impersonation_url", "http://iam.example/a@b:generateAccessToken").json(t), "want https"},
		{"an open line to the exchange", federated.with("token_url", "http://sts.example/v1").json(t), "token_url leads to sts.example"},
		{"impersonated by nobody", fields{"type": "impersonated_service_account", "service_account_impersonation_url": g.impersonationURL()}.json(t), "lack source_credentials"},
		{"impersonated by another", g.impersonatedFile(g.impersonatedFile(key)).json(t), "source_credentials of the type"},
	} {
		source, err := New(t.Context(), Options{Audience: audience, JSON: tt.json})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, %v, want an error that says %q", tt.name, source, err, tt.want)
		}
	}
	if _, err := New(t.Context(), Options{JSON: key.json(t)}); err == nil || !strings.Contains(err.Error(), "Audience is empty") {
		t.Errorf("no audience: got %v", err)
	}
}

// TestFaults: what goes wrong at Google is said in a few words, none of them a
// secret, and is no token.
func TestFaults(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>"+secret+"</html>") }
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, text) }
	}
	for _, tt := range []struct {
		name      string
		federated bool
		at        string
		fault     http.HandlerFunc
		want      string
	}{
		{"page", false, "/token", page, "adc: "},
		{"refused", false, "/token", answer(400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`), `status 400: "invalid_grant Invalid JWT Signature."`},
		{"error page", false, "/token", answer(503, strings.Repeat(secret, 1000)), "adc: status 503"},
		{"no token", false, "/token", answer(200, `{}`), "doesn't have JWT token"},
		{"another's token", false, "/token", answer(200, `{"id_token":"`+tokenFor("https://other")+`"}`), `for the audience ["https://other"]`},
		{"redirect", false, "/token", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, "status 307"},
		{"exchange refused", true, "/sts", answer(403, `{"error":"unauthorized_client"}`), "403"},
		{"page of IAM", true, ":generateIdToken", page, "not the JSON it should be"},
		{"no role", true, ":generateIdToken", answer(403, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Permission 'iam.serviceAccounts.getOpenIdToken' denied"}}`),
			"getOpenIdToken' denied\"; whose credentials these are needs roles/iam.serviceAccountOpenIdTokenCreator on " + email},
		{"no token of IAM", true, ":generateIdToken", answer(200, `{}`), "malformed ID token"},
		{"too much of IAM", true, ":generateIdToken", answer(200, strings.Repeat(" ", maxAnswer+1)), "longer than"},
		{"redirect of IAM", true, ":generateIdToken", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, "status 307"},
		{"leak", true, ":generateIdToken", answer(400, `{"error":{"message":"eyJhbGciOi"}}`), "status 400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := startGoogle(t)
			g.fault, g.faultAt = tt.fault, tt.at
			file := g.keyFile()
			if tt.federated {
				file = g.federatedFile(write(t, "subject"))
				file["credential_source"] = fields{"file": write(t, secret)}
			}
			source, err := New(t.Context(), Options{Audience: audience, JSON: file.json(t)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = source.Token(t.Context())
			if err == nil {
				t.Fatal("got a token")
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || len(text) > 600 || strings.Contains(text, secret+secret) || strings.Contains(text, "eyJ") {
				t.Errorf("got %v, want an error that says %q", err, tt.want)
			}
			for _, path := range g.paths() {
				if path == "/elsewhere" {
					t.Error("a redirect was followed")
				}
			}
		})
	}
}

// tokenFor is one that nobody has signed.
func tokenFor(aud string) string {
	return unsigned(map[string]any{"aud": aud, "sub": "1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
}

// TestEnds: a token ends with its context, though Google's library asks for
// some without one.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, federated := range []bool{false, true} {
		g := startGoogle(t)
		over := make(chan struct{})
		g.fault = func(http.ResponseWriter, *http.Request) { <-over }
		file := g.keyFile()
		if federated {
			file = g.federatedFile(write(t, secret))
		}
		source, err := New(t.Context(), Options{Audience: audience, JSON: file.json(t)})
		if err != nil {
			t.Fatal(err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, why)
		if _, err := source.Token(ctx); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
		cancel()
		close(over)
	}
}

// TestIssuersClock: life is counted from Google's clock, not from this
// machine's.
func TestIssuersClock(t *testing.T) {
	t.Parallel()
	g := startGoogle(t)
	ahead := 70 * time.Minute
	g.faultAt = "/token"
	g.fault = func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().Add(ahead)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, `{"id_token":%q}`, unsigned(map[string]any{"aud": audience, "sub": "1", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}))
	}
	source, err := New(t.Context(), Options{Audience: audience, JSON: g.keyFile().json(t)})
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(token.Expires()); left > 61*time.Minute || left < 30*time.Minute {
		t.Errorf("%v are left, want an hour", left)
	}
	clock := source.(interface{ IssuerTime() time.Time })
	if off := time.Until(clock.IssuerTime()) - ahead; off < -10*time.Minute || off > 10*time.Minute {
		t.Errorf("the issuer's clock is %v off", off)
	}
}

// TestThroughTheFrontEnd uses a token for what it is for.
func TestThroughTheFrontEnd(t *testing.T) {
	t.Parallel()
	g := startGoogle(t)
	source, err := New(t.Context(), Options{Audience: audience, JSON: g.keyFile().json(t), HTTPClient: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	cached := gcpauth.Cached(source, gcpauth.CacheOptions{Audience: audience})
	t.Cleanup(func() { _ = cached.Shutdown(context.Background()) }) // its context has no deadline to miss
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Authorization")[:10])
	}))
	t.Cleanup(service.Close)
	client := &http.Client{Transport: &gcpauth.Transport{Source: cached, Origin: service.URL}}
	for range 3 {
		resp, err := client.Get(service.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "Bearer eyJ" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	}
	if n := len(g.paths()); n != 1 {
		t.Errorf("%d tokens for three requests, want 1", n)
	}
}

func TestOptionsDoNotPrint(t *testing.T) {
	t.Parallel()
	o := Options{Audience: audience, JSON: []byte(secret)}
	var text strings.Builder
	fmt.Fprintf(&text, "%v %+v %#v %s %d %x", o, o, &o, o, o, o)
	slog.New(slog.NewJSONHandler(&text, nil)).Info("made", "options", o)
	b, err := json.Marshal(map[string]any{"o": o})
	if out := text.String() + string(b); strings.Contains(out, secret) || strings.Contains(out, fmt.Sprintf("%x", secret)) || !strings.Contains(out, "[REDACTED]") || err != nil {
		t.Errorf("got %s, %v", out, err)
	}
}
