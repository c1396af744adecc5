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
// A program has the logger from package obs; by themselves the handlers are for
// who has spans from elsewhere, or none. [Secret] is for values that must not
// be printed, [BufferedWriter] for a pipe that is slow.
//
// Both handlers take the span and the fields of the context, and redact what
// a key names as a secret. They never panic, whatever a value's own methods do.
//
// # The log package
//
// [slog.SetDefault] also sends what the log package prints to the handler: at
// INFO, or the level given to [slog.SetLogLoggerLevel]; without a place, and
// so under no rule of a [Filter] but the one for all, unless
// log.SetFlags(log.Lshortfile) was called before. log.Fatal and log.Panic are
// no exception: slog does not tell them from log.Print, so they too come at
// INFO, without a stack, and log.Fatal then ends the program before a
// [BufferedWriter] is flushed (obs.Init sees to both). To log an error and exit,
// write slog.Error, Close and os.Exit. For net/http.Server.ErrorLog there is
// slog.NewLogLogger(handler, slog.LevelWarn), which has the place.
//
// # A closed stdout
//
// A Write to a pipe that nobody reads any more fails with EPIPE, which costs
// the record, and no more: on any descriptor but 1 and 2. There Go's runtime ends
// the program by SIGPIPE, as Unix expects of what is piped into head, and no
// handler can see it coming. This package leaves that as it is, for a service
// whose collector is gone is as a rule better started anew. One that is to
// outlive the reader of its logs says so in main, and then loses records alone:
//
//	signal.Ignore(syscall.SIGPIPE)
//
// The same holds for a [BufferedWriter]. A program that is started with stdout
// closed (>&-) writes to /dev/null: the runtime sees to that.
//
// # Reading the code
//
// Begin with handler.go for the path of a record to its JSON line, bound.go for
// what Logger.With prepares, line.go, reserved.go and rewrite.go for how a line
// grows and how duplicate keys leave it, value.go, guard.go, secret.go, json.go
// and short.go for values, shape.go for what is remembered of a call site,
// cloudlogging.go, level.go, httprequest.go, special.go, report.go and errors.go
// for the fields of Cloud Logging and Error Reporting, shorten.go for lines too
// long; then text.go and textvalue.go for people's form, core.go and buffered.go
// for what is done with a line, and filter.go, filtered.go, gate.go, callsite.go
// and limit.go for what is written at all, aside.go for who else reads it.
package logging

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"time"

	"github.com/kumihimo/kumihimo/internal/braid"
	"github.com/kumihimo/kumihimo/internal/flight"
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

	// SitePerSecond is how many records below WARN one place of the code may
	// write in a second; 0 is any number. The next record from there after
	// some were withheld has their count, those among it that the flight
	// recorder keeps.
	SitePerSecond int

	// AddSource adds the place of the call: file (relative to the module),
	// line and function.
	AddSource bool

	// ProjectID is the Google Cloud project that the traces belong to. While
	// it is empty and LookupProjectID, if set, returns "", trace ids are
	// written without it. LookupProjectID is called once a record until it
	// answers, so it must be cheap and safe for concurrent use.
	ProjectID       string
	LookupProjectID func() string

	// BareTrace has trace ids written without the project, though it be known:
	// the form that Google's documentation prefers. Cloud Run's request log has
	// the long one, and Logs Explorer nests only records whose traces are equal.
	BareTrace bool

	// SpanName adds the name that the span of the record's context has by then,
	// as "span.name". A field of that name wins.
	SpanName bool

	// Service, Env and Version are Datadog's unified service tags and Error
	// Reporting's service context. An empty one is left out.
	Service, Env, Version string

	// Labels are Cloud Logging's labels of every entry. The text form does not
	// show them.
	Labels map[string]string

	// Redactor decides whose values are secret; nil uses the default keys.
	Redactor *redact.Redactor

	// Color says whether the text form has colours.
	Color Color

	// Braid says which records become events of their span, and Flight keeps
	// those of a request that are withheld. Nil, and nil, is none; package obs
	// sets them.
	Braid  *braid.Policy
	Flight *flight.Recorder

	// OnError is called with the error of each write that failed, or that a
	// [BufferedWriter] had no room for: one record was lost. When the writer works
	// again, a record says how many were. OnError may be called concurrently, and
	// must not log to the handler that calls it.
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
// with an underscore before it. Three of them are the program's to give, at the
// root: logging.googleapis.com/insertId as a string, …/operation as a group of
// id, producer, first and last, and …/labels as a group, whose values become
// strings beside those of [Options.Labels]. Labels beyond the first 64, and those
// with a key above 512 bytes or a value above 64 KiB, stand under
// "kumihimo.labels" instead: Cloud Logging takes no such entry, or cuts it.
//
// Of attributes with one key the last is written, where those of the call come
// after those of Logger.With, and these after the context's. A [slog.LogValuer]
// bound by Logger.With, or to a context, is asked once.
//
// A record at ERROR and above is one that Error Reporting takes: of its first
// error it has error.message, error.kind and what lies beneath it as
// error.causes; and, 10 times in 10 seconds for each place that logs, a
// stack_trace, the error's own if it has one.
//
// A line above 240 KiB, near to what Cloud Logging refuses, is cut: its longest
// texts first. "kumihimo.truncated" then says by how many bytes.
//
// https://cloud.google.com/logging/docs/structured-logging
func NewHandler(w io.Writer, opts *Options) slog.Handler {
	c := newCore(w, opts)
	h := &jsonHandler{core: c, gate: newGate(c.opts), identity: newIdentity(c.opts)}
	c.noteBy(h.appendRecord)
	return h
}

// NewTextHandler returns a handler that writes each record to w as one line of
// text, in one Write, for people. At WARN and above the line is followed by one
// for each error that the record's first has beneath it. Times are in the zone
// of the record's time. Control characters are escaped wherever they come from.
// Its methods are safe for concurrent use; Writes do not overlap.
func NewTextHandler(w io.Writer, opts *Options) slog.Handler {
	c := newCore(w, opts)
	h := &textHandler{core: c, gate: newGate(c.opts), style: newStyle(w, c.opts.Color)}
	c.noteBy(h.appendRecord)
	return h
}

// noteBy makes of appendRecord what tells that records were dropped.
func (c *core) noteBy(appendRecord func(context.Context, *line, *slog.Record, int64)) {
	c.note = func(ctx context.Context, message string, n int64) []byte {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, message, 0)
		r.AddAttrs(slog.Int64("dropped", n))
		l := &line{}
		appendRecord(ctx, l, &r, 0)
		return l.buf
	}
	if c.buffer != nil {
		c.buffer.noteBy(c.lossNote)
	}
}

// lossNote is the line that says how many others were lost.
func (c *core) lossNote(n int64) []byte {
	return c.note(context.Background(), "log lines were dropped: the writer was too slow, or failed", n)
}
