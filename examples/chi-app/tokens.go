package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

// tokenCache shares ID tokens through the Redis at addr, sealed with the key
// in a file. Without an address there is no cache.
func tokenCache(addr, keyFile string) (cache *rediscache.Cache, stop func(), err error) {
	if addr == "" {
		return nil, func() {}, nil
	}
	if keyFile == "" {
		return nil, nil, errors.New("-redis needs -redis-key: tokens are never kept in clear")
	}
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, nil, err
	}
	cache, err = rediscache.Open("redis://"+addr, rediscache.Options{
		Key:          key,
		ClientLogger: slog.New(slog.DiscardHandler), // kumihimo says by itself, and once, when Redis fails
	})
	if err != nil {
		return nil, nil, err
	}
	return cache, func() { _ = cache.Close() }, nil
}

// loadKey reads a key, or makes one that its owner alone can read.
func loadKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = make([]byte, 32)
		rand.Read(key) // never fails
		return key, os.WriteFile(file, key, 0o600)
	case err != nil:
		return nil, err
	case len(key) != 32:
		return nil, fmt.Errorf("%s has %d bytes, want 32", file, len(key))
	}
	return key, nil
}
