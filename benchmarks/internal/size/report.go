// Package size is what the programs of footprint_test.go share: a service that
// has started says how long that took and what it weighs, and ends.
package size

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Serve serves h on a loopback port and prints one line: what
// the set-up took in microseconds, and the resident memory in KiB (0 where
// the system does not say).
func Serve(h http.Handler, setup time.Duration) error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	_, printErr := fmt.Printf("setup_us=%d rss_kib=%d\n", setup.Microseconds(), residentKiB())
	srv.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return printErr
}

// residentKiB reads VmRSS of proc(5).
func residentKiB() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, ok := bytes.Cut(status, []byte("VmRSS:"))
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	if err != nil {
		return 0
	}
	return n
}
