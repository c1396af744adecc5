package rediscache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var errURL = errors.New("rediscache: malformed URL: want redis://[[user]:password@]host[:port][/db], rediss:// likewise for TLS, or unix://[[user]:password@]/path[?db=0]")

// Open returns a cache on a client of its own, which is tuned for a call an
// hour that must not be waited for: no retries, 200 ms to connect, 100 ms to
// read or write, two connections. It asks nothing of the network; a Redis that
// is down is no error.
//
// The URL is as in [redis.ParseURL]; options in its query do not override the
// tuning. No error shows the URL or a part of it.
func Open(url string, o Options) (*Cache, error) {
	parsed, err := redis.ParseURL(url)
	if err != nil {
		return nil, errURL // err may quote the password
	}
	tune(parsed, o)
	client := redis.NewClient(parsed)
	c, err := New(client, o)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	c.owned = true
	if o.ClientLogger != nil {
		redis.SetLogger(clientLogger{o.ClientLogger})
	}
	return c, nil
}

func tune(c *redis.Options, o Options) {
	if o.TLS != nil {
		tls := o.TLS.Clone()
		if tls.ServerName == "" && c.TLSConfig != nil {
			tls.ServerName = c.TLSConfig.ServerName
		}
		c.TLSConfig = tls
	}
	c.ContextTimeoutEnabled = true // else a context bounds nothing once a command is sent
	c.MaxRetries = -1
	c.DialTimeout = 200 * time.Millisecond
	c.DialerRetries = 1
	c.ReadTimeout = 100 * time.Millisecond
	c.WriteTimeout = 100 * time.Millisecond
	c.PoolSize = 2
	c.PoolTimeout = 100 * time.Millisecond
	c.MinIdleConns = 0
	c.MaxIdleConns = 1
	c.PipelinePoolSize = -1
	c.ReadBufferSize = 4 << 10
	c.WriteBufferSize = 4 << 10
	c.DisableIdentity = true
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// clientLogger gives go-redis's lines to slog.
type clientLogger struct {
	logger *slog.Logger
}

func (l clientLogger) Printf(ctx context.Context, format string, v ...any) {
	if l.logger.Enabled(ctx, slog.LevelDebug) {
		l.logger.LogAttrs(ctx, slog.LevelDebug, "go-redis: "+fmt.Sprintf(format, v...))
	}
}
