package obs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/internal/fault"
	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// A Finding is the answer to one question of [Telemetry.Check].
type Finding struct {
	// Name is what was asked: "metadata", "project", "token", "cache",
	// "frontend", "agent" or "clock".
	Name string

	// State is "ok", "warning", "failed" or "skipped".
	State string

	// Detail is what was seen, or why nothing was asked. It shows no token and
	// no password.
	Detail string

	// Hint is the setting or the command that mends it. Empty: there is nothing
	// to mend, or nobody knows.
	Hint string
}

// States of a Finding.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

// LogValue returns state, detail and hint.
func (f Finding) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("state", f.State), slog.String("detail", f.Detail)}
	if f.Hint != "" {
		attrs = append(attrs, slog.String("hint", f.Hint))
	}
	return slog.GroupValue(attrs...)
}

// Findings are those of one [Telemetry.Check].
type Findings []Finding

// LogValue returns a group that has each finding under its name.
func (fs Findings) LogValue() slog.Value {
	attrs := make([]slog.Attr, len(fs))
	for i, f := range fs {
		attrs[i] = slog.Any(f.Name, f)
	}
	return slog.GroupValue(attrs...)
}

// Err returns nil if nothing has failed, and one error with a line for each
// finding that has.
func (fs Findings) Err() error {
	var errs []error
	for _, f := range fs {
		if f.State != stateFailed {
			continue
		}
		text := fmt.Sprintf("obs: %s: %s", f.Name, f.Detail)
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

// checkTimeout is of all questions together, each at its slowest.
const checkTimeout = 40 * time.Second

// Check asks everything that traces and tokens depend on, from here to the
// agent, and says for each whether it does its part, what was seen, and which
// setting or command mends it. It is for a person who sets up a service, or an
// endpoint that one looks at: it makes about eight requests, and takes
// 40 s at most, or until ctx ends, where nothing answers. It says nothing in the
// logs and changes nothing, but that a value lives in the token cache for a
// minute.
//
// A finding whose question does not apply is there too, skipped. After Shutdown
// what the agent's tokens come from has been shut down as well, and fails.
func (t *Telemetry) Check(ctx context.Context) Findings {
	ctx, cancel := context.WithTimeout(obsctx.Suppress(ctx), checkTimeout)
	defer cancel()
	c := &checkup{t: t, s: t.settings}
	steps := []struct {
		name string
		ask  func(context.Context) Finding
	}{
		{"metadata", c.metadata},
		{"project", c.project},
		{"token", c.token},
		{"cache", c.cache},
		{"frontend", c.frontEnd},
		{"agent", c.agent},
		{"clock", c.clock},
	}
	findings := make(Findings, len(steps))
	for i, step := range steps {
		findings[i] = c.ask(ctx, step.ask)
		findings[i].Name = step.name
	}
	return findings
}

// checkup is one run of the questions, in their order: what one has seen the
// next ones build on.
type checkup struct {
	t *Telemetry
	s settings

	instance instance      // of the metadata server
	given    gcpauth.Token // by the source
	refused  bool          // there is no token to send
	probed   probed        // of the agent
	skew     *skew         // nil until an answer has had a date
}

// ask puts one question. What it asks may be the program's own, and panic.
func (c *checkup) ask(ctx context.Context, question func(context.Context) Finding) (f Finding) {
	defer func() {
		if p := recover(); p != nil {
			f = failed("panic: "+fault.Text(p), "")
		}
		f.Detail, f.Hint = oneLine(f.Detail), oneLine(f.Hint)
	}()
	if err := context.Cause(ctx); err != nil {
		return skipped("not asked: " + err.Error())
	}
	return question(ctx)
}

// bounded runs f, which may be the program's and heed no context, until ctx's
// end at the latest. What f returns later is lost.
func bounded[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errors.New("runtime.Goexit was called")}
		defer func() {
			if p := recover(); p != nil {
				r.err = errors.New("panic: " + fault.Text(p))
			}
			done <- r
		}()
		r.value, r.err = f(ctx)
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no answer in time: %w", context.Cause(ctx))
	}
}

func ok(detail string) Finding { return Finding{State: stateOK, Detail: detail} }

func warning(detail, hint string) Finding {
	return Finding{State: stateWarning, Detail: detail, Hint: hint}
}

func failed(detail, hint string) Finding {
	return Finding{State: stateFailed, Detail: detail, Hint: hint}
}

func skipped(why string) Finding { return Finding{State: stateSkipped, Detail: why} }

// oneLine makes a text fit for a terminal: errors may quote what others sent.
func oneLine(s string) string {
	const most = 1000
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r < ' ', 0x7f <= r && r < 0xa0, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
			return -1
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(s), ""))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
