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

// loadKey reads a key, or makes one that its owner alone can read. Of two
// programs that make one at once, one takes the other's.
func loadKey(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		key, err := os.ReadFile(file)
		if err == nil && len(key) != 32 {
			err = fmt.Errorf("%s has %d bytes, want 32", file, len(key))
		}
		return key, err
	}
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	_, err = f.Write(key)
	return key, errors.Join(err, f.Close())
}
