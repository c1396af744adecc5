package recipes

import (
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
)

// OpenRedis returns a client whose commands are spans. A statement holds the
// values that are stored, so it stays out.
func OpenRedis(opts *redis.Options) (*redis.Client, error) {
	client := redis.NewClient(opts)
	if err := redisotel.InstrumentTracing(client, redisotel.WithDBStatement(false)); err != nil {
		return nil, err
	}
	return client, nil
}
