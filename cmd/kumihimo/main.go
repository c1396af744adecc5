// Command kumihimo shows the traces of a whole local system in a browser:
//
//	go run github.com/kumihimo/kumihimo/cmd/kumihimo view
//
// It listens as a Datadog Agent would, on 127.0.0.1:8126, where tracers of any
// language send by default, and serves the page on 127.0.0.1:8127.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kumihimo/kumihimo/obs/devui"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "kumihimo:", err)
		}
		stop()
		os.Exit(2)
	}
}

const usage = `usage: kumihimo view [flags]

view shows what Datadog's tracers on this machine send, in a browser.

`

type config struct {
	agent, page string
	remote      bool
	hosts       string
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	var c config
	flags := flag.NewFlagSet("view", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		_, _ = fmt.Fprint(errs, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&c.agent, "agent", "127.0.0.1:8126", "take traces at this `address`, as a Datadog Agent does")
	flags.StringVar(&c.page, "page", "127.0.0.1:8127", "serve the page at this `address`")
	flags.BoolVar(&c.remote, "remote", false, "let other machines and containers send, and look")
	flags.StringVar(&c.hosts, "hosts", "", "`names` besides localhost by which this may be addressed, with commas between them")
	if len(args) == 0 || args[0] != "view" {
		flags.Usage()
		return errors.New("want the command view")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return view(ctx, c, out)
}

// view serves until ctx ends.
func view(ctx context.Context, c config, out io.Writer) (err error) {
	o := devui.Options{AllowRemote: c.remote}
	if c.hosts != "" {
		o.Hosts = strings.Split(c.hosts, ",")
	}
	viewer := devui.New(o)
	defer func() { err = errors.Join(err, viewer.Shutdown(context.WithoutCancel(ctx))) }()
	page, stopPage, err := serve(ctx, c.page, viewer)
	if err != nil {
		return err
	}
	defer stopPage()
	agent, stopAgent, err := serve(ctx, c.agent, viewer.Agent())
	if err != nil {
		return err
	}
	defer stopAgent()
	_, err = fmt.Fprintf(out, "traces go to  http://%s  (DD_TRACE_AGENT_URL; the default of most tracers)\nthe page is   http://%s\n", agent, page)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serve listens at addr, and serves until stop.
func serve(ctx context.Context, addr string, h http.Handler) (at net.Addr, stop func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(ln) // until stop
	}()
	return ln.Addr(), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		<-ended
	}, nil
}
