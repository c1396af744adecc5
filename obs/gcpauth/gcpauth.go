// Package gcpauth puts Google ID tokens on the requests of an [http.Client],
// as Cloud Run asks of services that call each other:
//
//	source := gcpauth.Cached(
//		gcpauth.Metadata(gcpauth.MetadataOptions{Audience: "https://agent-xyz.a.run.app"}),
//		gcpauth.CacheOptions{Audience: "https://agent-xyz.a.run.app"})
//	defer source.Shutdown(ctx)
//	client := &http.Client{Transport: &gcpauth.Transport{
//		Source: source,
//		Origin: "https://agent-xyz.a.run.app",
//	}}
//
// Sources wrap sources, and the transport takes any of them. No token is ever
// printed: not by fmt, not by an encoder, not in an error, not in a log.
//
// Read token.go for what a token is and how one is checked, metadata.go for
// where it comes from, cached.go for how it is kept, flight.go and shared.go
// for how it is renewed, and transport.go and origin.go for where it may go.
package gcpauth

import (
	"context"
	"errors"
	"time"
)

// A TokenSource makes or keeps ID tokens. Its methods are safe for concurrent
// use.
type TokenSource interface {
	// Token returns a token that is worth sending, made by [ParseToken]. It
	// ends when ctx does.
	Token(ctx context.Context) (Token, error)

	// Invalidate says that a server has refused the token. A source that
	// keeps tokens does not return it again if it can get another; a source
	// that keeps none does nothing.
	Invalidate(Token)
}

// Static returns a source that has one token and no other, for development:
//
//	gcloud auth print-identity-token
//
// Once that token has expired by this machine's clock, and if raw is no token
// at all, the source's Token returns an error that says so.
func Static(raw string) TokenSource {
	t, err := ParseToken(raw, time.Time{})
	return staticSource{t, err}
}

type staticSource struct {
	token Token
	err   error
}

func (s staticSource) Token(context.Context) (Token, error) {
	if s.err != nil {
		return Token{}, s.err
	}
	if s.token.left(time.Now()) <= 0 {
		return Token{}, errors.New("gcpauth: the static ID token has expired")
	}
	return s.token, nil
}

func (staticSource) Invalidate(Token) {}
