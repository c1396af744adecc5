package rediscache_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

func ExampleOpen() {
	server, err := miniredis.Run() // in production: Memorystore
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	key := bytes.Repeat([]byte("k"), 32) // in production: from Secret Manager

	cache, err := rediscache.Open("redis://"+server.Addr(), rediscache.Options{Key: key, Timeout: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	ctx := context.Background()
	fmt.Println(cache.Set(ctx, "who", []byte("nobody"), time.Hour))
	value, err := cache.Get(ctx, "who")
	fmt.Printf("%s %v\n", value, err)

	_, err = rediscache.Open("redis://:password@example.com:port", rediscache.Options{Key: key})
	fmt.Println(err)
	// Output:
	// <nil>
	// nobody <nil>
	// rediscache: malformed URL: want redis://[[user]:password@]host[:port][/db], rediss:// likewise for TLS, or unix://[[user]:password@]/path[?db=0]; ?master_name=… for sentinels, ?addr=host:port for a cluster
}

// Values are sealed, unless the opposite is asked for by name.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()
	_, err := rediscache.New(client, rediscache.Options{})
	fmt.Println(err)
	// Output: rediscache: Options.Key is missing: want 32 bytes from a secret manager (Options.Plaintext would do without)
}
