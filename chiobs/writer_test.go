package chiobs

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var (
	_ http.Flusher    = (*responseWriter)(nil)
	_ http.Hijacker   = (*responseWriter)(nil)
	_ io.ReaderFrom   = (*responseWriter)(nil)
	_ io.StringWriter = (*responseWriter)(nil)
)

// plain has nothing but the three methods.
type plain struct{ http.ResponseWriter }

func newPlain() (*plain, *httptest.ResponseRecorder) {
	w := httptest.NewRecorder()
	return &plain{w}, w
}

func TestWriterWithoutExtras(t *testing.T) {
	t.Parallel()
	inner, recorder := newPlain()
	w := &responseWriter{inner: inner}
	if err := w.FlushError(); !errors.Is(err, http.ErrNotSupported) || w.status != 0 {
		t.Errorf("FlushError: got %v, status %d", err, w.status)
	}
	w.Flush()
	if _, _, err := w.Hijack(); !errors.Is(err, http.ErrNotSupported) || w.hijacked {
		t.Errorf("Hijack: got %v, hijacked %t", err, w.hijacked)
	}
	if n, err := w.ReadFrom(strings.NewReader("")); n != 0 || err != nil || w.status != 0 {
		t.Errorf("ReadFrom of nothing: got %d, %v, status %d", n, err, w.status)
	}
	if n, err := w.ReadFrom(strings.NewReader("abc")); n != 3 || err != nil {
		t.Errorf("ReadFrom: got %d, %v", n, err)
	}
	if n, err := w.WriteString("de"); n != 2 || err != nil {
		t.Errorf("WriteString: got %d, %v", n, err)
	}
	if n, err := w.Write([]byte("f")); n != 1 || err != nil {
		t.Errorf("Write: got %d, %v", n, err)
	}
	if w.bytes != 6 || w.status != 200 || recorder.Body.String() != "abcdef" {
		t.Errorf("got %d bytes, status %d, body %q", w.bytes, w.status, recorder.Body)
	}
}

// full counts what reaches its optional methods.
type full struct {
	http.ResponseWriter
	calls []string
}

func (w *full) FlushError() error { w.calls = append(w.calls, "FlushError"); return nil }
func (w *full) ReadFrom(r io.Reader) (int64, error) {
	w.calls = append(w.calls, "ReadFrom")
	return io.Copy(io.Discard, r)
}
func (w *full) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.calls = append(w.calls, "Hijack")
	return nil, nil, nil
}
func (w *full) SetReadDeadline(time.Time) error {
	w.calls = append(w.calls, "SetReadDeadline")
	return nil
}
func (w *full) EnableFullDuplex() error { w.calls = append(w.calls, "EnableFullDuplex"); return nil }
func (w *full) WriteString(s string) (int, error) {
	w.calls = append(w.calls, "WriteString")
	return len(s), nil
}

// TestWriterHandsOn shows that every optional method of the writer within is
// reached, by itself and by http.ResponseController.
func TestWriterHandsOn(t *testing.T) {
	t.Parallel()
	inner := &full{ResponseWriter: httptest.NewRecorder()}
	w := &responseWriter{inner: inner}
	rc := http.NewResponseController(w)
	for _, err := range []error{rc.Flush(), rc.SetReadDeadline(time.Time{}), rc.EnableFullDuplex()} {
		if err != nil {
			t.Error(err)
		}
	}
	io.WriteString(w, "a")
	io.Copy(w, io.LimitReader(strings.NewReader("bcd"), 2))
	if _, _, err := rc.Hijack(); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(inner.calls, " "), "FlushError SetReadDeadline EnableFullDuplex WriteString ReadFrom Hijack"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if w.status != 200 || w.bytes != 3 || !w.hijacked {
		t.Errorf("got status %d, %d bytes, hijacked %t", w.status, w.bytes, w.hijacked)
	}
}

func TestWriterStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		statuses []int
		want     int
	}{
		{"none", nil, 0},
		{"informational", []int{100, 102, 103}, 0},
		{"informational first", []int{103, 204}, 204},
		{"switching protocols is final", []int{101, 200}, 101},
		{"the first stays", []int{404, 200}, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &responseWriter{inner: &full{ResponseWriter: httptest.NewRecorder()}}
			for _, s := range tt.statuses {
				w.WriteHeader(s)
			}
			if w.status != tt.want {
				t.Errorf("got %d, want %d", w.status, tt.want)
			}
		})
	}
}
