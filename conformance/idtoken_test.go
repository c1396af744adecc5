package conformance

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// TestGoogleAcceptsTokens lets Google's own validator judge what the emulated
// metadata server signs.
func TestGoogleAcceptsTokens(t *testing.T) {
	const audience = "https://agent-xyz.a.run.app"
	metadata, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { metadata.Close() })
	validator, err := idtoken.NewValidator(&idtoken.ValidatorOptions{Client: http.DefaultClient, RS256CertsURL: metadata.CertsURL()})
	if err != nil {
		t.Fatal(err)
	}
	token := tokenFor(t, metadata.Host(), audience)
	payload, err := validator.Validate(t.Context(), token, audience)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	if payload.Issuer != "https://accounts.google.com" || payload.Audience != audience || payload.Claims["email"] != "shop@acme.iam.gserviceaccount.com" {
		t.Errorf("got %+v", payload)
	}
	if life := time.Until(time.Unix(payload.Expires, 0)); life < 50*time.Minute || life > time.Hour {
		t.Errorf("life: got %v, want about an hour", life)
	}

	if _, err := validator.Validate(t.Context(), token, "https://other.a.run.app"); err == nil {
		t.Error("accepted for another audience")
	}
	head, rest, _ := strings.Cut(token, ".")
	body, sig, _ := strings.Cut(rest, ".")
	_, otherRest, _ := strings.Cut(tokenFor(t, metadata.Host(), "https://other.a.run.app"), ".")
	otherBody, _, _ := strings.Cut(otherRest, ".")
	if _, err := validator.Validate(t.Context(), head+"."+otherBody+"."+sig, ""); err == nil {
		t.Error("accepted with another token's signature")
	}
	if _, err := validator.Validate(t.Context(), head+"."+body+"."+sig, ""); err != nil {
		t.Errorf("refused once put together again: %v", err)
	}
}

func tokenFor(t *testing.T, host, audience string) string {
	t.Helper()
	u := "http://" + host + "/computeMetadata/v1/instance/service-accounts/default/identity?audience=" + url.QueryEscape(audience) + "&format=full"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	token, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v", resp.Status, err)
	}
	return string(token)
}
