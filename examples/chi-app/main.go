// Command chi-app is two chi services in one program: shop takes orders and
// asks inventory over HTTP what is in stock.
//
//	go run ./examples/chi-app
//	curl http://127.0.0.1:8080/orders/7
//
// With an empty environment it brings its own Google Cloud and Datadog Agent,
// in miniature (local.go), and shows what the agent received, in the terminal and
// at http://127.0.0.1:8080/debug/obs/; with DD_TRACE_AGENT_URL and the like set it talks to real ones.
//
// With -check it starts nothing: it asks everything that traces need on their
// way to the agent, says what is wrong and what mends it, and exits with 1 if
// something is.
//
// shop.go and inventory.go are the services, as any service would be written;
// this file starts them, check.go asks in their place, and tokens.go shares
// their ID token through Redis if asked to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

func main() {
	var c config
	flag.StringVar(&c.addr, "addr", "127.0.0.1:8080", "listen on this `address`")
	flag.StringVar(&c.redis, "redis", "", "share the ID token through the Redis at this `address`")
	flag.StringVar(&c.redisKey, "redis-key", "", "seal the shared token with the 32 bytes in this `file`, which is made if absent")
	flag.BoolVar(&c.check, "check", false, "say whether traces would reach the agent, and exit")
	flag.Parse()
	run := run
	if c.check {
		run = check
	}
	if err := run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, "chi-app:", err)
		os.Exit(1)
	}
}

const (
	shopGrace      = 6 * time.Second
	inventoryGrace = 3 * time.Second
)

type config struct {
	addr, redis, redisKey string
	check                 bool
}

func run(ctx context.Context, c config) (err error) {
	stage, err := newStage()
	if err != nil {
		return err
	}
	defer stage.close()
	cache, closeCache, err := tokenCache(c.redis, c.redisKey)
	if err != nil {
		return err
	}
	defer closeCache()

	// One pipeline a service. A program that is one service needs Init alone.
	shop, err := obs.Init(ctx, stage.seen(options("shop", cache)))
	if err != nil {
		return err
	}
	inventory, err := obs.New(ctx, stage.seen(options("inventory", cache)))
	if err != nil {
		return errors.Join(err, shop.Shutdown(ctx))
	}
	stock, err := startInventory(ctx, inventory)
	if err != nil {
		return errors.Join(err, inventory.Shutdown(ctx), shop.Shutdown(ctx))
	}
	stage.watch(shop, inventory)

	// Until SIGTERM or Ctrl-C; then requests end, and the spans are sent.
	err = shop.Serve(ctx, &http.Server{
		Addr:              c.addr,
		Handler:           stage.around(newShop(stock.url)),
		BaseContext:       stage.announce,
		ReadHeaderTimeout: 5 * time.Second,
	})
	err = errors.Join(err, stock.stop())
	stage.account(shop, inventory)
	return err
}

// options leave everything else to the environment. Two services share the ten
// seconds that Cloud Run would give: inventory stops once shop has.
func options(service string, cache *rediscache.Cache) obs.Options {
	o := obs.Options{Service: service, ShutdownGrace: shopGrace}
	if cache != nil {
		o.TokenCache = cache
	}
	return o
}

// neighbour is inventory while it runs beside shop. On its own it would be
// one line, inventory.Serve, as above.
type neighbour struct {
	url  string
	stop func() error
}

func startInventory(ctx context.Context, tel *obs.Telemetry) (*neighbour, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: newInventory(tel), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	return &neighbour{
		url: "http://" + ln.Addr().String(),
		stop: func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryGrace)
			defer cancel()
			err := srv.Shutdown(ctx)
			if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
				err = errors.Join(err, e)
			}
			_ = tel.Shutdown(ctx) // what is lost is logged, and in the account
			return err
		},
	}, nil
}
