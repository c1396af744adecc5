package chiobs

import (
	"context"
	"time"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

const (
	// flushTime is what the last request in flight may take longer.
	flushTime = 300 * time.Millisecond

	// flushPause keeps a backend that is down from making every request slow.
	flushPause = 10 * time.Second
)

// leave is called when a request has ended and is reported.
func (q *request) leave() {
	h := q.handler
	if !h.settings.FlushLast || h.inFlight.Add(-1) > 0 || q.flush == nil || time.Now().UnixNano() < h.flushAgain.Load() {
		return
	}
	defer func() {
		_ = recover() // of a processor's ForceFlush
	}()
	ctx, cancel := context.WithTimeout(obsctx.Suppress(context.WithoutCancel(q.ctx)), flushTime)
	defer cancel()
	if q.flush(ctx) != nil { // the exporter reports it
		h.flushAgain.Store(time.Now().Add(flushPause).UnixNano())
	}
}
