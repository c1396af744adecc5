package rediscache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var errURL = errors.New("rediscache: malformed URL: want redis://[[user]:password@]host[:port][/db], rediss:// likewise for TLS, or unix://[[user]:password@]/path[?db=0]; ?master_name=… for sentinels, ?addr=host:port for a cluster")

// Open returns a cache on a client of its own, which is tuned for a call an
// hour that must not be waited for: no retries, 200 ms to connect, 100 ms to
// read or write, two connections a server. It asks nothing of the network; a
// Redis that is down is no error.
//
// The URL is as in [redis.ParseURL] for one server; with master_name in its
// query it names sentinels, as in [redis.ParseFailoverURL], where user and
// password before the host are the sentinels' own; with addr in its query, or
// Options.Cluster, it names nodes of a cluster, as in [redis.ParseClusterURL].
// Timeouts and sizes in the query do not override the tuning. No error shows
// the URL or a part of it.
func Open(rawURL string, o Options) (*Cache, error) {
	client, err := dial(rawURL, o)
	if err != nil {
		return nil, err
	}
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

// dial makes the client that the URL asks for. It drops what go-redis says of a
// URL, which may quote the password.
func dial(rawURL string, o Options) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errURL
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		parsed, err := redis.ParseFailoverURL(rawURL)
		if err != nil || parsed.MasterName == "" || o.Cluster {
			return nil, errURL
		}
		tuneFailover(parsed, o)
		return redis.NewFailoverClient(parsed), nil
	case o.Cluster || query.Has("addr"):
		parsed, err := redis.ParseClusterURL(rawURL)
		if err != nil || strings.Trim(u.Path, "/") != "" { // a cluster has one database
			return nil, errURL
		}
		tuneCluster(parsed, o)
		return redis.NewClusterClient(parsed), nil
	default:
		parsed, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, errURL
		}
		tune(parsed, o)
		return redis.NewClient(parsed), nil
	}
}

const (
	dialTimeout = 200 * time.Millisecond
	ioTimeout   = 100 * time.Millisecond // and for a connection of the pool
	connections = 2
	idle        = 1
	bufferBytes = 4 << 10
	noRetries   = -1 // 0 is go-redis's 3
	noPipelines = -1
)

func tune(c *redis.Options, o Options) {
	c.TLSConfig = tlsConfig(c.TLSConfig, o)
	c.ContextTimeoutEnabled = true // else a context bounds nothing once a command is sent
	c.MaxRetries, c.DialerRetries = noRetries, 1
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dialTimeout, ioTimeout, ioTimeout, ioTimeout
	c.PoolSize, c.MinIdleConns, c.MaxIdleConns = connections, 0, idle
	c.PipelinePoolSize = noPipelines
	c.ReadBufferSize, c.WriteBufferSize = bufferBytes, bufferBytes
	c.DisableIdentity = true
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// tuneFailover does for a server that sentinels name what tune does for one
// that the URL names.
func tuneFailover(c *redis.FailoverOptions, o Options) {
	c.TLSConfig = tlsConfig(c.TLSConfig, o)
	c.ContextTimeoutEnabled = true
	c.MaxRetries, c.DialerRetries = noRetries, 1
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dialTimeout, ioTimeout, ioTimeout, ioTimeout
	c.PoolSize, c.MinIdleConns, c.MaxIdleConns = connections, 0, idle
	c.PipelinePoolSize = noPipelines
	c.ReadBufferSize, c.WriteBufferSize = bufferBytes, bufferBytes
	c.DisableIdentity = true
	c.ReplicaOnly = false // the tokens are written, too
}

// tuneCluster does it for each node. A redirect is no retry: a node answers for
// its own slots alone.
func tuneCluster(c *redis.ClusterOptions, o Options) {
	c.TLSConfig = tlsConfig(c.TLSConfig, o)
	c.ContextTimeoutEnabled = true
	c.MaxRetries, c.DialerRetries = noRetries, 1
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout, c.PoolTimeout = dialTimeout, ioTimeout, ioTimeout, ioTimeout
	c.PoolSize, c.MinIdleConns, c.MaxIdleConns = connections, 0, idle
	c.PipelinePoolSize = noPipelines
	c.ReadBufferSize, c.WriteBufferSize = bufferBytes, bufferBytes
	c.DisableIdentity = true
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// tlsConfig is what a rediss URL made, or Options.TLS for the same name.
func tlsConfig(fromURL *tls.Config, o Options) *tls.Config {
	if o.TLS == nil {
		return fromURL
	}
	c := o.TLS.Clone()
	if c.ServerName == "" && fromURL != nil {
		c.ServerName = fromURL.ServerName
	}
	return c
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
