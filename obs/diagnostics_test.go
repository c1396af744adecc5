package obs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestErrorHandler says each error once a minute, and how often it came.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, out := newTest(t, Options{})
		h := newErrorHandler(tel.internal, nil)
		h.Handle(nil)
		for range 50 {
			h.Handle(errors.New("first"))
			h.Handle(errors.New("second"))
		}
		time.Sleep(repeatEvery)
		h.Handle(errors.New("first"))
		h.Handle(errors.New("get https://a.example/?token=planted"))
		if got := strings.Count(out.String(), "OpenTelemetry reports"); got != 4 {
			t.Errorf("got %d records, want 4", got)
		}
		if !strings.Contains(out.String(), "error=first repeats=49") || strings.Contains(out.String(), "planted") {
			t.Errorf("got %s", out)
		}
		for i := range 10 * maxErrors {
			h.Handle(fmt.Errorf("error %d", i))
		}
		if len(h.said) > maxErrors {
			t.Errorf("remembers %d errors, want at most %d", len(h.said), maxErrors)
		}
		shutDown(t, tel)
	})
}
