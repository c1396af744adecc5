// Package devui shows the traces and logs of programs on the same machine, in
// a browser: the request just made, its waterfall across services, and its log
// records at the moment they were written.
//
//	viewer := devui.New(devui.Options{})
//	tel, err := obs.Init(ctx, obs.Options{
//		SpanProcessors: []sdktrace.SpanProcessor{viewer},
//		LogHandlers:    []slog.Handler{viewer},
//	})
//	...
//	mux.Handle("/debug/obs/", viewer) // outside of the tracing middleware
//
// It is for development: everything lives in memory, within bounds, and only
// this machine may look unless [Options] say otherwise. [Viewer.Agent] takes
// what Datadog's tracers send, so that services in any language can be seen
// together; the command kumihimo view is that alone.
//
// Read intake.go for the way in, store.go, trace.go and record.go for what is
// held, convert.go and loghandler.go for what spans and log records become,
// http.go, stream.go, view.go, detail.go, wire.go and filter.go for what the page
// in page/ asks for, decode.go for how it is read from memory,
// guard.go for who may ask, and agent.go for the agent.
package devui

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

// Options configure a Viewer. The zero value is for a program on a laptop.
type Options struct {
	// MaxTraces, MaxSpans and MaxBytes bound what is held: traces, of which the
	// oldest give way; spans a trace, of which the first stay; and bytes of
	// all. Defaults: 10,000, 10,000 and 64 MiB.
	MaxTraces, MaxSpans int
	MaxBytes            int64

	// Level is the lowest level of records that are taken. Default:
	// slog.LevelDebug.
	Level slog.Leveler

	// Redact are keys whose values are never shown, besides the default list.
	// What obs.Options.Redact names is redacted too, in the spans and records
	// of its pipeline.
	Redact []string

	// AllowRemote lets other machines look and send, and requests that come
	// through a proxy. Whoever can reach the viewer sees everything.
	AllowRemote bool

	// Hosts are names by which browsers and tracers may address the viewer,
	// besides localhost and IP addresses: "obs.test", without a port.
	Hosts []string
}

const (
	defaultTraces = 10_000
	defaultSpans  = 10_000
	defaultBytes  = 64 << 20
)

// Viewer holds recent traces and log records and shows them. As an
// http.Handler it serves the page, under whatever path it is mounted; as an
// sdktrace.SpanProcessor and a slog.Handler it takes spans and records, without
// ever blocking. All its methods are safe for concurrent use.
type Viewer struct {
	opts      Options
	store     *store
	intake    *intake
	streams   streams
	redactors atomic.Pointer[[]*redact.Redactor] // of the pipelines seen; the first is Options'
	joining   sync.Mutex                         // serialises writers of redactors
	stop      sync.Once
}

// New returns a viewer, which runs a goroutine until [Viewer.Shutdown].
func New(o Options) *Viewer {
	o.MaxTraces = cmp.Or(max(o.MaxTraces, 0), defaultTraces)
	o.MaxSpans = cmp.Or(max(o.MaxSpans, 0), defaultSpans)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), defaultBytes)
	if o.Level == nil {
		o.Level = slog.LevelDebug
	}
	o.Hosts = slices.Clone(o.Hosts)
	v := &Viewer{opts: o, store: newStore(o)}
	v.redactors.Store(&[]*redact.Redactor{redact.New(o.Redact)})
	v.intake = newIntake(v.take)
	v.streams.ended = make(chan struct{})
	return v
}

// OnStart is for the SDK. It takes note of the redactor of the span's pipeline.
func (v *Viewer) OnStart(ctx context.Context, _ sdktrace.ReadWriteSpan) {
	v.join(ctx)
}

// OnEnd is for the SDK. It queues the span, or counts it as dropped if the
// queue is full.
func (v *Viewer) OnEnd(s sdktrace.ReadOnlySpan) { v.intake.span(s) }

// ForceFlush returns once everything taken so far can be seen.
func (v *Viewer) ForceFlush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v.intake.drain()
	return nil
}

// Shutdown ends the goroutine and the event streams of open pages. What has
// been taken stays to be seen; what comes later is dropped and counted.
func (v *Viewer) Shutdown(ctx context.Context) error {
	v.stop.Do(func() { close(v.streams.ended) })
	return v.intake.close(ctx)
}

// Stats is the account of a Viewer.
type Stats struct {
	Traces, Spans, Logs int   // held
	Bytes               int64 // of memory that these take, about
	Evicted             int64 // traces that gave way
	DroppedSpans        int64 // the queue or the trace was full, the span had no id, or the viewer was shut down
	DroppedLogs         int64 // the queue was full, or the viewer was shut down
}

// Stats returns the account.
func (v *Viewer) Stats() Stats {
	s := v.store.stats()
	s.DroppedSpans += v.intake.droppedSpans.Load()
	s.DroppedLogs += v.intake.droppedLogs.Load()
	return s
}

// join remembers the redactor of ctx's pipeline. There are as many as
// pipelines in the process: one, as a rule.
func (v *Viewer) join(ctx context.Context) {
	p := obsctx.PipelineFrom(ctx)
	if p == nil || p.Redactor == nil || slices.Contains(*v.redactors.Load(), p.Redactor) {
		return
	}
	v.joining.Lock()
	defer v.joining.Unlock()
	if all := *v.redactors.Load(); !slices.Contains(all, p.Redactor) && len(all) < maxRedactors {
		all = append(slices.Clip(all), p.Redactor)
		v.redactors.Store(&all)
	}
}

// redactor returns one for where a single one is asked for; the others follow.
func (v *Viewer) redactor() *redact.Redactor { return (*v.redactors.Load())[0] }

// maxRedactors bounds them: a test that makes pipelines by the thousand would
// make each value be asked for by as many.
const maxRedactors = 64

var (
	_ sdktrace.SpanProcessor = (*Viewer)(nil)
	_ slog.Handler           = (*Viewer)(nil)
)
