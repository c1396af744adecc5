// Package command takes ID tokens from what a program prints, for development:
//
//	tel, err := obs.Init(ctx, obs.Options{
//		AgentURL:    "https://agent-xyz.a.run.app",
//		TokenSource: gcpauth.Cached(command.New("gcloud", "auth", "print-identity-token"), gcpauth.CacheOptions{}),
//	})
//
// It is a package of its own so that who does not use it links nothing that
// starts processes.
package command

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

const (
	// maxOutput is above what gcpauth takes for a token.
	maxOutput = 16 << 10

	maxComplaint = 300

	// killDelay is how long a program that was ended may keep its pipes open.
	killDelay = time.Second
)

// New returns a source that runs a program each time it is asked, and takes
// what it prints for the token; white space around that is left out. The
// program is found as by [exec.Command], is given no input, and ends when the
// context of Token does. Put [gcpauth.Cached] around it.
//
// A program that cannot be run, fails, or prints something else is an error of
// Token. It quotes the end of what the program wrote to its standard error, and
// never what it printed.
func New(name string, args ...string) gcpauth.TokenSource {
	return &source{name: name, args: append([]string(nil), args...)}
}

type source struct {
	name string
	args []string
}

// Token runs the program.
func (s *source) Token(ctx context.Context) (gcpauth.Token, error) {
	var out, complaint buffer
	cmd := exec.CommandContext(ctx, s.name, s.args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &complaint, killDelay
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // says more than "signal: killed"
		}
		return gcpauth.Token{}, fmt.Errorf("command: %s: %w%s", s.name, err, said(complaint.String()))
	}
	if out.overflowed {
		return gcpauth.Token{}, fmt.Errorf("command: %s printed more than %d bytes, want one ID token", s.name, maxOutput)
	}
	raw := strings.TrimSpace(out.String())
	if raw == "" {
		return gcpauth.Token{}, fmt.Errorf("command: %s printed nothing, want an ID token", s.name)
	}
	t, err := gcpauth.ParseToken(raw, time.Time{})
	if err != nil {
		return gcpauth.Token{}, fmt.Errorf("command: %s: %w", s.name, err)
	}
	return t, nil
}

// Invalidate does nothing: no token is kept.
func (*source) Invalidate(gcpauth.Token) {}

// said is the end of what a program complained of, on one line, unless there
// is a token in it.
func said(complaint string) string {
	complaint = strings.Join(strings.Fields(complaint), " ")
	if complaint == "" || strings.Contains(complaint, "eyJ") {
		return ""
	}
	if n := len(complaint); n > maxComplaint {
		complaint = "…" + strings.ToValidUTF8(complaint[n-maxComplaint:], "")
	}
	return fmt.Sprintf(": %q", complaint)
}

// buffer keeps the first maxOutput bytes. More is read and let go of, so that
// the program does not wait for a reader.
type buffer struct {
	b          bytes.Buffer
	overflowed bool
}

func (b *buffer) Write(p []byte) (int, error) {
	room := min(maxOutput-b.b.Len(), len(p))
	b.overflowed = b.overflowed || room < len(p)
	b.b.Write(p[:room])
	return len(p), nil
}

func (b *buffer) String() string { return b.b.String() }
