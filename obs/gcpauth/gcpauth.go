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
// where it comes from, static.go for where it comes from while developing,
// cached.go for how it is kept, flight.go, shared.go and lock.go for how it is
// renewed, health.go for what is said when it is not, transport.go and
// origin.go for where it may go, and refusal.go for what is known of one that
// was refused. Elsewhere are sources that cost more than this package should:
// gcpauth/adc asks with application default credentials, gcpauth/command runs a
// program.
package gcpauth

import "context"

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
