package deploy

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

// Start starts the telemetry with a token that all instances share. The cache
// is closed after tel's Shutdown.
func Start(ctx context.Context) (tel *obs.Telemetry, cache *rediscache.Cache, err error) {
	key, err := base64.StdEncoding.DecodeString(os.Getenv("TOKEN_CACHE_KEY"))
	if err != nil {
		return nil, nil, fmt.Errorf("TOKEN_CACHE_KEY: %w", err)
	}
	cache, err = rediscache.Open(os.Getenv("TOKEN_CACHE_URL"), rediscache.Options{Key: key})
	if err != nil {
		return nil, nil, err
	}
	tel, err = obs.Init(ctx, obs.Options{TokenCache: cache})
	return tel, cache, err
}
