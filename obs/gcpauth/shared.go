package gcpauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// A Cache holds tokens for several instances of a service; rediscache has one.
// Its methods are safe for concurrent use and end soon after ctx does. It keeps
// values from other eyes: who reads one can act as the service until it expires.
type Cache interface {
	// Get returns the value of key, or nil if there is none.
	Get(ctx context.Context, key string) ([]byte, error)

	// Set stores a value for ttl, which is above zero.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
}

const (
	// minLeft keeps a token that is about to be replaced from being shared.
	minLeft = 10 * time.Minute

	cacheTimeout    = 250 * time.Millisecond // a backstop; rediscache is faster
	identityTimeout = 2 * time.Second

	// maxAhead is how far in the future a shared token may have been issued.
	maxAhead = time.Minute
)

// shared is the tier behind the memory. A nil *shared holds nothing.
type shared struct {
	cache    Cache
	source   TokenSource
	audience string
	identity string // of CacheOptions
	logger   *slog.Logger

	mu          sync.Mutex // guards the fields below
	readFailed  bool       // the last time
	writeFailed bool
	lockFailed  bool
}

func newShared(source TokenSource, o CacheOptions) *shared {
	if o.Cache == nil {
		return nil
	}
	return &shared{cache: o.Cache, source: source, audience: o.Audience, identity: o.Identity, logger: o.Logger}
}

// get returns a token that is worth keeping, if the cache has one. Whatever
// else happens costs its timeout and is reported once.
func (s *shared) get(ctx context.Context) (Token, bool) {
	if s == nil {
		return Token{}, false
	}
	var t Token
	err := guard(func() (err error) {
		t, err = s.read(ctx)
		return err
	})
	s.note(ctx, &s.readFailed, err)
	return t, err == nil && t.t != nil
}

// put stores a token for the part of its life in which others may take it.
func (s *shared) put(ctx context.Context, t Token) {
	if s == nil {
		return
	}
	ttl := t.left(time.Now()) - minLeft
	if ttl <= 0 {
		return
	}
	s.note(ctx, &s.writeFailed, guard(func() error {
		identity, err := s.who(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
		defer cancel()
		return s.cache.Set(ctx, cacheKey(s.audience, identity), []byte(t.t.raw()), ttl)
	}))
}

// read returns the zero Token where there is nothing of use.
func (s *shared) read(ctx context.Context) (Token, error) {
	identity, err := s.who(ctx)
	if err != nil {
		return Token{}, err
	}
	getCtx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	value, err := s.cache.Get(getCtx, cacheKey(s.audience, identity))
	if err != nil || value == nil {
		return Token{}, err
	}
	date := s.issuerTime()
	t, err := ParseToken(string(value), date)
	if err != nil {
		return Token{}, err
	}
	if err := t.check(s.audience, time.Now()); err != nil {
		return Token{}, err
	}
	if t.t.expires.Add(-t.t.total).After(date.Add(maxAhead)) {
		return Token{}, errors.New("gcpauth: the ID token was issued in the future, or this machine's clock is behind")
	}
	if !t.t.issuedTo(identity) {
		return Token{}, errors.New("gcpauth: the ID token is another service account's")
	}
	if t.t.left <= minLeft {
		return Token{}, nil
	}
	return t, nil
}

// issuedTo reports whether the token may be identity's, an email address or a
// unique id. Not every token names an email.
func (t *token) issuedTo(identity string) bool {
	if t.subject == identity || t.email == identity {
		return true
	}
	return t.email == "" && strings.Contains(identity, "@")
}

// who returns the identity that tokens are stored under.
func (s *shared) who(ctx context.Context) (string, error) {
	if s.audience == "" {
		return "", errors.New("gcpauth: a shared cache needs CacheOptions.Audience")
	}
	if s.identity != "" {
		return s.identity, nil
	}
	source, ok := s.source.(interface {
		Identity(context.Context) (string, error)
	})
	if !ok {
		return "", errors.New("gcpauth: a shared cache needs CacheOptions.Identity: the token source knows none")
	}
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	return source.Identity(ctx)
}

func (s *shared) issuerTime() time.Time {
	if source, ok := s.source.(interface{ IssuerTime() time.Time }); ok {
		return source.IssuerTime()
	}
	return time.Now()
}

// cacheKey names no names, and differs where audience or identity does.
func cacheKey(audience, identity string) string {
	sum := sha256.Sum256([]byte("v1\x00" + audience + "\x00" + identity))
	return "idtok:v1:{" + hex.EncodeToString(sum[:16]) + "}"
}

// guard turns a panic of a foreign cache into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("gcpauth: the shared cache panicked with a %T", p)
		}
	}()
	return f()
}

// note keeps whether reading, writing or locking failed, and reports the cache
// once a change: it works again when all do.
func (s *shared) note(ctx context.Context, failed *bool, err error) {
	if ctx.Err() != nil {
		return // shut down, or the attempt's time is over: no word on the cache
	}
	s.mu.Lock()
	before := s.readFailed || s.writeFailed || s.lockFailed
	*failed = err != nil
	after := s.readFailed || s.writeFailed || s.lockFailed
	s.mu.Unlock()
	switch {
	case after && !before:
		s.logger.LogAttrs(ctx, slog.LevelWarn, "shared token cache is of no use; the token source is asked instead", slog.Any("error", err))
	case before && !after:
		s.logger.LogAttrs(ctx, slog.LevelInfo, "shared token cache works again")
	case err != nil:
		s.logger.LogAttrs(ctx, slog.LevelDebug, "shared token cache is of no use", slog.Any("error", err))
	}
}
