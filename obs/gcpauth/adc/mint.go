package adc

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/jwt"
)

// loginAs is what a developer can do.
const loginAs = `"gcloud auth application-default login --impersonate-service-account=EMAIL" to have been run`

// credentials are a file's fields as far as we read them; the rest is the
// library's. See https://google.aip.dev/auth/4110.
type credentials struct {
	Type             string          `json:"type"`
	ClientEmail      string          `json:"client_email"`
	TokenURI         string          `json:"token_uri"`
	TokenURL         string          `json:"token_url"`
	ImpersonationURL string          `json:"service_account_impersonation_url"`
	Delegates        []string        `json:"delegates"`
	Source           json.RawMessage `json:"source_credentials"`
}

// parse returns what makes tokens of a credentials file, or says what is wrong
// with it. No error quotes the file.
func parse(data []byte) (minter, error) {
	var f credentials
	if json.Unmarshal(data, &f) != nil {
		return nil, errors.New("adc: the credentials are not the JSON of a credentials file")
	}
	switch google.CredentialsType(f.Type) {
	case google.ServiceAccount:
		return parseKey(data, f)
	case google.ImpersonatedServiceAccount:
		if len(f.Source) == 0 {
			return nil, errors.New("adc: the credentials lack source_credentials")
		}
		return parseImpersonated(f.Source, f)
	case google.ExternalAccount:
		if f.ImpersonationURL == "" {
			return nil, errors.New(`adc: a federated identity has no ID tokens of its own, want credentials that impersonate a service account: "gcloud iam workload-identity-pools create-cred-config … --service-account=EMAIL"`)
		}
		own, err := withoutImpersonation(data)
		if err != nil {
			return nil, err
		}
		return parseImpersonated(own, f)
	case google.AuthorizedUser, google.ExternalAccountAuthorizedUser:
		return nil, fmt.Errorf("adc: Google makes no ID token for an audience of a user's credentials: want %s, with the role roles/iam.serviceAccountTokenCreator on that account; or, while developing, gcpauth/command with \"gcloud auth print-identity-token\"", loginAs)
	}
	return nil, fmt.Errorf("adc: credentials of the type %.50q: want service_account, impersonated_service_account or external_account", f.Type)
}

// keyMinter has a service account's key, which signs a request for a token. See
// https://developers.google.com/identity/protocols/oauth2/service-account.
type keyMinter struct {
	config jwt.Config
}

func parseKey(data []byte, f credentials) (minter, error) {
	config, err := google.JWTConfigFromJSON(data)
	if err != nil || config.Email == "" {
		return nil, errors.New("adc: the credentials are not a service account's key")
	}
	if !isPrivateKey(config.PrivateKey) {
		return nil, errors.New("adc: the credentials' private_key is not a private key in PEM form")
	}
	if err := checkURL("token_uri", config.TokenURL); err != nil {
		return nil, err
	}
	config.UseIDToken = true
	return keyMinter{*config}, nil
}

func isPrivateKey(b []byte) bool {
	block, _ := pem.Decode(b)
	if block == nil {
		return false
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return true
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}

func (m keyMinter) mint(ctx context.Context, c *client, audience string) (string, error) {
	config := m.config
	config.PrivateClaims = map[string]any{"target_audience": audience}
	t, err := config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, c.in(ctx))).Token()
	if err != nil {
		return "", err
	}
	return t.AccessToken, nil // with UseIDToken it is none
}

func (m keyMinter) identity(context.Context, *client) (string, error) { return m.config.Email, nil }

// impersonatedMinter has credentials that may ask IAM for a service account's
// tokens. See
// https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken.
type impersonatedMinter struct {
	own       []byte // whose credentials they are, as JSON
	kind      google.CredentialsType
	url       string // of generateIdToken
	email     string // of the service account
	delegates []string
}

const (
	accessTokenVerb = ":generateAccessToken"
	idTokenVerb     = ":generateIdToken"
	accountPrefix   = "projects/-/serviceAccounts/"
)

func parseImpersonated(own []byte, f credentials) (minter, error) {
	if err := checkURL("service_account_impersonation_url", f.ImpersonationURL); err != nil {
		return nil, err
	}
	path, found := strings.CutSuffix(f.ImpersonationURL, accessTokenVerb)
	email, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if !found || err != nil || !strings.Contains(email, "@") {
		return nil, errors.New("adc: the credentials' service_account_impersonation_url does not end in /EMAIL" + accessTokenVerb)
	}
	var source credentials
	if json.Unmarshal(own, &source) != nil {
		return nil, errors.New("adc: the credentials' source_credentials are not those of a file")
	}
	m := impersonatedMinter{own: own, kind: google.CredentialsType(source.Type), url: path + idTokenVerb, email: email}
	switch m.kind {
	case google.ServiceAccount, google.AuthorizedUser, google.ExternalAccount, google.ExternalAccountAuthorizedUser:
	default:
		return nil, fmt.Errorf("adc: source_credentials of the type %.50q: want service_account, authorized_user or external_account", source.Type)
	}
	for field, raw := range map[string]string{"token_uri": source.TokenURI, "token_url": source.TokenURL} {
		if raw == "" {
			continue
		}
		if err := checkURL(field, raw); err != nil {
			return nil, err
		}
	}
	for _, d := range f.Delegates {
		m.delegates = append(m.delegates, accountPrefix+strings.TrimPrefix(d, accountPrefix))
	}
	return m, nil
}

// withoutImpersonation leaves those credentials that are one's own.
func withoutImpersonation(data []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, errors.New("adc: the credentials are not the JSON of a credentials file")
	}
	delete(fields, "service_account_impersonation_url")
	delete(fields, "service_account_impersonation")
	return json.Marshal(fields)
}

func (m impersonatedMinter) mint(ctx context.Context, c *client, audience string) (string, error) {
	httpClient := c.in(ctx)
	own, err := google.CredentialsFromJSONWithType(context.WithValue(ctx, oauth2.HTTPClient, httpClient), m.own, m.kind, scope)
	if err != nil {
		return "", err
	}
	access, err := own.TokenSource.Token()
	if err != nil {
		return "", err
	}
	request := struct {
		Audience     string   `json:"audience"`
		IncludeEmail bool     `json:"includeEmail"`
		Delegates    []string `json:"delegates,omitempty"`
	}{audience, true, m.delegates}
	var answer struct {
		Token string `json:"token"`
	}
	err = post(ctx, httpClient, m.url, access.AccessToken, request, &answer)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusForbidden {
		return "", fmt.Errorf("%w; whose credentials these are needs roles/iam.serviceAccountOpenIdTokenCreator on %s", err, m.email)
	}
	return answer.Token, err
}

func (m impersonatedMinter) identity(context.Context, *client) (string, error) { return m.email, nil }

// metadataMinter asks the metadata server, where the library has found one.
type metadataMinter struct{}

const defaultAccount = "instance/service-accounts/default/"

func (metadataMinter) mint(ctx context.Context, c *client, audience string) (string, error) {
	return metadata.NewWithOptions(&metadata.Options{Client: c.metadata(ctx)}).
		GetWithContext(ctx, defaultAccount+"identity?"+url.Values{"audience": {audience}}.Encode())
}

func (metadataMinter) identity(ctx context.Context, c *client) (string, error) {
	return metadata.NewWithOptions(&metadata.Options{Client: c.metadata(ctx)}).
		GetWithContext(ctx, defaultAccount+"email")
}

// maxAnswer is well above what Google answers.
const maxAnswer = 64 << 10

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return b, err
}
