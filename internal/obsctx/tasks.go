package obsctx

import (
	"context"
	"errors"
	"sync"
)

// ErrStopped is the cause of the end of a context whose task was not done when
// the pipeline stopped waiting.
var ErrStopped = errors.New("obs: shut down")

// Tasks are goroutines of the program that a pipeline waits for. It is safe for
// concurrent use.
type Tasks struct {
	stopped context.Context // done when nobody waits any more
	stop    context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	running int
	idle    chan struct{} // closed when running is 0; nil while nobody waits
}

// NewTasks returns a Tasks that has none.
func NewTasks() *Tasks {
	t := &Tasks{}
	t.stopped, t.stop = context.WithCancelCause(context.Background())
	return t
}

// Begin counts a task. It returns the context for it, which also ends when
// nobody waits for the task any more, and the function to call at its end. A
// nil Tasks counts nothing.
func (t *Tasks) Begin(ctx context.Context) (_ context.Context, end func()) {
	if t == nil {
		return ctx, func() {}
	}
	t.mu.Lock()
	t.running++
	t.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(t.stopped, func() { cancel(ErrStopped) })
	return ctx, func() {
		detach()
		cancel(nil)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.running--; t.running == 0 && t.idle != nil {
			close(t.idle)
			t.idle = nil
		}
	}
}

// Wait returns when no task runs. Once ctx is done it ends the contexts of
// those that do, and returns their number. It is called once.
func (t *Tasks) Wait(ctx context.Context) (left int) {
	idle := make(chan struct{})
	t.mu.Lock()
	if t.running == 0 {
		close(idle)
	} else {
		t.idle = idle
	}
	t.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	t.stop(ErrStopped)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running
}
