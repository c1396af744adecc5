package gcpauth

import (
	"net/http"
	"slices"
)

// invoker is the role that Cloud Run asks for. See
// https://cloud.google.com/run/docs/securing/managing-access.
const invoker = "roles/run.invoker"

// Refusal is what is known of a request that was not let in in spite of its
// token.
type Refusal struct {
	// Status is 401 or 403.
	Status int

	// Identity is whose token it was: an email address, or a unique id.
	Identity string

	// Audience is whom the token was for. With a status of 401 it is, most
	// often, not the one that the service expects.
	Audience []string

	// Role is what Identity lacks on the service, after a status of 403:
	// "roles/run.invoker".
	Role string
}

// Refusal returns what is known if the last answer was a refusal, after the
// second attempt where there was one, and the zero Refusal if it was not.
func (t *Transport) Refusal() Refusal {
	r := t.refusal.Load()
	if r == nil {
		return Refusal{}
	}
	c := *r
	c.Audience = slices.Clone(c.Audience)
	return c
}

// note keeps whether resp, the answer to a request with token, is a refusal.
func (t *Transport) note(resp *http.Response, token Token) {
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		r := &Refusal{Status: resp.StatusCode, Identity: token.Identity(), Audience: token.Audience()}
		if r.Status == http.StatusForbidden {
			r.Role = invoker
		}
		t.refusal.Store(r)
	default:
		if t.refusal.Load() != nil {
			t.refusal.Store(nil)
		}
	}
}
