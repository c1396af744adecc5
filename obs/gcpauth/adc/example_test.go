package adc_test

import (
	"context"
	"fmt"

	"github.com/kumihimo/kumihimo/obs/gcpauth/adc"
)

// A developer's own credentials make no ID tokens; the error says what does.
func ExampleNew() {
	_, err := adc.New(context.Background(), adc.Options{
		Audience: "https://agent-xyz.a.run.app",
		JSON:     []byte(`{"type":"authorized_user","client_id":"…","client_secret":"…","refresh_token":"…"}`), // left out: the default ones
	})
	fmt.Println(err)
	// Output:
	// adc: Google makes no ID token for an audience of a user's credentials: want "gcloud auth application-default login --impersonate-service-account=EMAIL" to have been run, with the role roles/iam.serviceAccountTokenCreator on that account; or, while developing, gcpauth/command with "gcloud auth print-identity-token"
}
