package gcpauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Static returns a source that has one token and no other, for development:
//
//	gcloud auth print-identity-token
//
// Once that token has expired by this machine's clock, and if raw is no token
// at all, the source's Token returns an error that says so. White space around
// raw is left out.
func Static(raw string) TokenSource {
	t, err := ParseToken(strings.TrimSpace(raw), time.Time{})
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

// File returns a source that reads its token from a file, each time it is asked:
// for development, and for whatever keeps such a file fresh. White space around
// the token is left out. Put [Cached] around it.
//
// A file that is missing, is no token, or has one that has expired by this
// machine's clock is an error of the source's Token, which never quotes what it
// read.
func File(path string) TokenSource { return fileSource(path) }

type fileSource string

func (s fileSource) Token(context.Context) (Token, error) {
	raw, err := s.read()
	if err != nil {
		return Token{}, fmt.Errorf("gcpauth: token file: %w", err)
	}
	t, err := ParseToken(strings.TrimSpace(raw), time.Time{})
	if err != nil {
		return Token{}, fmt.Errorf("gcpauth: token file %s: %w", string(s), err)
	}
	return t, nil
}

// read takes one byte more than a token can have, so that a file that is
// something else shows.
func (s fileSource) read() (string, error) {
	info, err := os.Stat(string(s))
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: want a regular file", string(s)) // to open a pipe may take for ever
	}
	f, err := os.Open(string(s))
	if err != nil {
		return "", err
	}
	defer f.Close()
	const spaces = 64
	b, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+spaces+1))
	return string(b), err
}

func (fileSource) Invalidate(Token) {}
