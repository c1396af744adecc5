package idtokens

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

// TestTracedRedisClient shares the program's client, whose every command makes
// a span: the program's commands do, the exporter's own make none, or each
// export would make the next.
func TestTracedRedisClient(t *testing.T) {
	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	for name, value := range cloud.Environ() {
		t.Setenv(name, value)
	}
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	cache, err := rediscache.New(client, rediscache.Options{Key: bytes.Repeat([]byte("k"), 32), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	tel, err := obs.New(t.Context(), obs.Options{Service: "shop", ProjectID: "acme", LogFormat: "json", LogWriter: io.Discard, TokenCache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if err := redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(tel.TracerProvider())); err != nil {
		t.Fatal(err)
	}

	ctx, root := tel.TracerProvider().Tracer("test").Start(t.Context(), "request")
	if err := client.Set(ctx, "cart", "empty", 0).Err(); err != nil {
		t.Fatal(err)
	}
	root.End()
	if _, err := cloud.Agent.WaitSpans(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}

	if keys := slices.DeleteFunc(server.Keys(), func(k string) bool { return k == "cart" }); len(keys) != 1 {
		t.Errorf("got the keys %q in Redis, want that of the token", keys)
	}
	trace := root.SpanContext().TraceID().String()
	commands := 0
	for _, s := range cloud.Agent.Spans() {
		if s.Resource == "redis.dial" {
			continue // the client's pool dials under no caller's context, for whoever waits: once a connection
		}
		if s.TraceID != trace {
			t.Errorf("a span of the exporter's own: %s %s", s.Name, s.Resource)
		}
		if s.Resource != "request" && s.Name != "request" {
			commands++
		}
	}
	if commands == 0 {
		t.Error("no span of the program's command: the client is not traced")
	}
}
