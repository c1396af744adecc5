package emulator

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// A Fault is what a part does in place of its answer. It gets each request
// before the part does, those for an agent's /info among them, and returns true
// if it has answered. It is called by many goroutines at once.
//
// The faults below are those of a network between two healthy programs; any
// other is a function of the program's own:
//
//	func(w http.ResponseWriter, r *http.Request) bool {
//		if r.URL.Path == "/info" {
//			return false // the agent's turn
//		}
//		return outage(w, r)
//	}
type Fault func(http.ResponseWriter, *http.Request) bool

// Status answers with a status code, and its name for a body.
func Status(code int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, http.StatusText(code), code)
		return true
	}
}

// Delay lets the part answer after d. If the client goes or the part is closed
// before, there is no answer.
func Delay(d time.Duration) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // the server closes the connection
		}
	}
}

// Reset breaks the connection with a TCP reset, without an answer.
func Reset() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // the server closes the connection
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // closing then resets
		}
		_ = conn.Close()
		return true
	}
}

// Garbage answers 200 with 512 bytes that mean nothing: each value twice.
func Garbage() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		body := make([]byte, 512)
		for i := range body {
			body[i] = byte(i)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(body)
		return true
	}
}

// CaptivePage answers 200 with a page that asks to sign in, as the portal of a
// hotel's network does whatever it is asked for.
func CaptivePage() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, captivePage)
		return true
	}
}

const captivePage = `<!DOCTYPE html>
<html><head><title>Sign in</title></head>
<body><form action="/login" method="post"><input name="room"><button>Connect</button></form></body></html>
`

// Times is f for the first n requests; then the part is healthy.
func Times(n int, f Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		return seen.Add(1) <= int64(n) && f(w, r)
	}
}
