//go:build unix

package logging

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

var stdoutMode = flag.String("stdout", "", "be the child of TestClosedStdout, of that kind")

// TestClosedStdout holds the package's documentation to what a program does
// whose stdout nobody reads: this test's binary, started again. It is not
// parallel: each child has, for a moment, the reader of the others' pipes.
func TestClosedStdout(t *testing.T) {
	if *stdoutMode != "" {
		logToStdout(*stdoutMode)
	}
	for _, tt := range []struct {
		mode     string
		signaled bool
		want     string // on stderr
	}{
		{"plain", true, ""},
		{"buffered", true, ""},
		{"plain,ignore", false, "survived, 3 errors, broken pipe true"},
		{"buffered,ignore", false, "survived, 1 errors, broken pipe true"},
		{"plain,fd3", false, "survived, 3 errors, broken pipe true"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close() //nolint:errcheck // nothing was written
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			stderr, err := child(t, tt.mode, func(c *exec.Cmd) {
				c.Stdout = w
				if strings.HasSuffix(tt.mode, "fd3") {
					c.Stdout, c.ExtraFiles = nil, []*os.File{w}
				}
			})
			var exit *exec.ExitError
			if tt.signaled {
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
					t.Errorf("got %v, want an end by SIGPIPE", err)
				}
			} else if err != nil {
				t.Errorf("got %v, want a program that goes on", err)
			}
			if strings.TrimSpace(stderr) != tt.want {
				t.Errorf("got %q, want %q", stderr, tt.want)
			}
		})
	}
}

// TestNoStdout: a program that is started without one writes to nowhere, and
// into no file of its own.
func TestNoStdout(t *testing.T) {
	stderr, err := child(t, "plain", func(c *exec.Cmd) {
		c.Args = append([]string{"sh", "-c", `exec "$0" "$@" >&-`, c.Path}, c.Args[1:]...)
		c.Path = "/bin/sh"
	})
	if err != nil || strings.TrimSpace(stderr) != "survived, 0 errors, broken pipe false" {
		t.Errorf("got %q, %v", stderr, err)
	}
}

func child(t *testing.T, mode string, with func(*exec.Cmd)) (stderr string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c := exec.CommandContext(t.Context(), self, "-test.run=^TestClosedStdout$", "-stdout="+mode)
	c.Stderr = &out
	c.Env = append(c.Environ(), "GORACE=atexit_sleep_ms=0") // else a second, each
	with(c)
	err = c.Run()
	return out.String(), err
}

// logToStdout writes three records, says on stderr what came of it, and ends
// the program.
func logToStdout(mode string) {
	var failures []error
	see := func(err error) { failures = append(failures, err) }
	if strings.HasSuffix(mode, "ignore") {
		signal.Ignore(syscall.SIGPIPE)
	}
	w := io.Writer(os.Stdout)
	if strings.HasSuffix(mode, "fd3") {
		w = os.NewFile(3, "logs")
	}
	opts := &Options{OnError: see}
	if strings.HasPrefix(mode, "buffered") {
		b := &BufferedWriter{W: w, OnError: see}
		defer b.Close(context.Background()) //nolint:errcheck // the program ends before
		w, opts.OnError = b, nil
	}
	logger := slog.New(NewHandler(w, opts))
	for range 3 {
		logger.Error("to nobody")
	}
	fmt.Fprintf(os.Stderr, "survived, %d errors, broken pipe %v\n", len(failures), len(failures) > 0 && errors.Is(failures[0], syscall.EPIPE))
	os.Exit(0)
}
