package chiobs

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// responseWriter notes what is answered. It offers net/http's optional
// interfaces whether or not the writer within has them, and hands the
// difference on as http.ErrNotSupported; Unwrap gives http.ResponseController
// the rest. Like any ResponseWriter it is used by one goroutine at a time.
type responseWriter struct {
	inner    http.ResponseWriter
	status   int   // the final status; 0 until there is one
	bytes    int64 // of the body
	hijacked bool
	tooLate  bool // an http.TimeoutHandler further out has answered
	returned bool // the handler has

	started   atomic.Pointer[time.Time] // when the request was; nil if nobody asks for firstByte
	firstByte time.Duration             // after started, the answer did
}

func (w *responseWriter) Header() http.Header         { return w.inner.Header() }
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.inner }

// WriteHeader hands every status on, since net/http warns of the second final
// one. A 1xx precedes the final status, except 101, which is final.
func (w *responseWriter) WriteHeader(status int) {
	w.inner.WriteHeader(status) // first, as it panics on a status out of range
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.decide(status)
	}
}

func (w *responseWriter) decide(status int) {
	if w.status == 0 {
		w.status = status
		if started := w.started.Load(); started != nil && w.firstByte == 0 {
			w.firstByte = time.Since(*started)
		}
	}
}

// undecide takes back what decide has done where nothing came of it.
func (w *responseWriter) undecide(before int) {
	if w.status = before; before == 0 {
		w.firstByte = 0
	}
}

// wrote notes n bytes of the body.
func (w *responseWriter) wrote(n int64, err error) {
	w.bytes += n
	if err != nil && errors.Is(err, http.ErrHandlerTimeout) {
		w.tooLate = true
	}
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.decide(http.StatusOK)
	n, err := w.inner.Write(b)
	w.wrote(int64(n), err)
	return n, err
}

func (w *responseWriter) WriteString(s string) (int, error) {
	w.decide(http.StatusOK)
	n, err := io.WriteString(w.inner, s)
	w.wrote(int64(n), err)
	return n, err
}

// ReadFrom keeps sendfile possible.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	before := w.status
	w.decide(http.StatusOK)
	var n int64
	var err error
	if rf, ok := w.inner.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{w.inner}, src)
	}
	if n == 0 {
		w.undecide(before) // an empty source writes nothing, not even a status
	}
	w.wrote(n, err)
	return n, err
}

func (w *responseWriter) Flush() {
	_ = w.FlushError() // http.Flusher has no way to tell
}

func (w *responseWriter) FlushError() error {
	before := w.status
	w.decide(http.StatusOK)
	err := http.NewResponseController(w.inner).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		w.undecide(before)
	}
	return err
}

func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.inner).Hijack()
	if err == nil {
		w.hijacked = true
		w.decide(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}

// Push implements http.Pusher.
func (w *responseWriter) Push(target string, opts *http.PushOptions) error {
	for inner := w.inner; ; {
		switch x := inner.(type) {
		case http.Pusher:
			return x.Push(target, opts)
		case interface{ Unwrap() http.ResponseWriter }:
			inner = x.Unwrap()
		default:
			return http.ErrNotSupported
		}
	}
}

// complete reports whether the client may have seen the end of the answer
// before the handler returned, which only a declared length allows.
func (w *responseWriter) complete() bool {
	declared, err := strconv.ParseInt(w.inner.Header().Get("Content-Length"), 10, 64)
	return err == nil && w.status != 0 && w.bytes >= declared
}
