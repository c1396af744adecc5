// Package logging provides slog handlers that write Cloud Logging's JSON, with
// the trace in both Google's and Datadog's form, or one readable line a record,
// and a filter that sets levels by package.
//
//	filter, err := logging.ParseFilter("info,github.com/acme/shop/db=debug")
//	if err != nil {
//		log.Fatal(err)
//	}
//	logger := slog.New(logging.NewHandler(os.Stdout, &logging.Options{Filter: filter, Service: "shop"}))
//	logger.InfoContext(ctx, "loading user", "user.id", id)
//
// Both handlers take the span and the fields of the context, and redact what
// a key names as a secret. They never panic, whatever a value's own methods do.
//
// Read handler.go for the path of a record to its JSON line, line.go for how
// a line grows and how duplicate keys leave it, value.go and json.go for
// values, cloudlogging.go and report.go for the fields of Cloud Logging and Error
// Reporting; then text.go for people's form, and filter.go, gate.go and
// callsite.go for what is written at all.
package logging

import (
	"io"
	"log/slog"
	"maps"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// Options configure a handler. The zero value, and nil, is the production
// default. Options are copied, never written to.
type Options struct {
	// Level is the lowest level written; nil is [slog.LevelInfo]. It is not
	// asked if Filter is set.
	Level slog.Leveler

	// Filter says which records are written; nil leaves it to Level.
	Filter *Filter

	// AddSource adds the place of the call: file (relative to the module),
	// line and function.
	AddSource bool

	// ProjectID is the Google Cloud project that the traces belong to. While
	// it is empty and LookupProjectID, if set, returns "", trace ids are
	// written without it. LookupProjectID is called once a record until it
	// answers, so it must be cheap and safe for concurrent use.
	ProjectID       string
	LookupProjectID func() string

	// Service, Env and Version are Datadog's unified service tags and Error
	// Reporting's service context. An empty one is left out.
	Service, Env, Version string

	// Labels are Cloud Logging's labels of every entry: at most 64, a key of at
	// most 512 bytes. The text form does not show them.
	Labels map[string]string

	// Redactor decides whose values are secret; nil uses the default keys.
	Redactor *redact.Redactor

	// Color says whether the text form has colours.
	Color Color

	// OnError is called with the error of each write that failed: one record
	// was lost. It may be called concurrently, and must not log to the handler
	// that calls it.
	OnError func(error)
}

// Color says when the text form has colours.
type Color uint8

// ColorAuto, the zero Color, means on a terminal.
const (
	ColorAuto Color = iota
	ColorNever
	ColorAlways
)

func (o Options) withDefaults() Options {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	o.Labels = maps.Clone(o.Labels)
	return o
}

// NewHandler returns a handler that writes each record to w as one line of
// JSON, in one Write, as Cloud Logging's agents read it. Its methods are safe
// for concurrent use; Writes do not overlap.
//
// The keys of Cloud Logging and Datadog stand at the root whatever groups are
// open. An attribute with the name of such a key is written under the name
// with an underscore before it. Of attributes with one key the last is
// written, where those of the call come after those of Logger.With, and these
// after the context's. A [slog.LogValuer] bound by Logger.With, or to a
// context, is asked once.
//
// https://cloud.google.com/logging/docs/structured-logging
func NewHandler(w io.Writer, opts *Options) slog.Handler {
	c := newCore(w, opts)
	return &jsonHandler{core: c, gate: newGate(c.opts), identity: newIdentity(c.opts)}
}

// NewTextHandler returns a handler that writes each record to w as one line of
// text, in one Write, for people. Times are in the zone of the record's time.
// Control characters are escaped wherever they come from. Its methods are safe
// for concurrent use; Writes do not overlap.
func NewTextHandler(w io.Writer, opts *Options) slog.Handler {
	c := newCore(w, opts)
	return &textHandler{core: c, gate: newGate(c.opts), style: newStyle(w, c.opts.Color)}
}
