package emulator

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

func (f *FrontEnd) newProxy(backend *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: f.transport,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(backend)
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
			p.SetXForwarded()
			p.Out.Header.Del("X-Forwarded-Host")
			p.Out.Header.Set("X-Forwarded-Proto", "https") // nobody reaches Cloud Run otherwise
			retrace(p.Out.Header, f.sampled.next(time.Now()))
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var long *http.MaxBytesError
			if errors.As(err, &long) {
				page(w, r, http.StatusRequestEntityTooLarge, tooLarge)
				return
			}
			page(w, r, http.StatusServiceUnavailable, noBackend)
		},
	}
}

const (
	traceParent = "Traceparent"
	cloudTrace  = "X-Cloud-Trace-Context"
)

// retrace rewrites the trace headers as Google's front end does: the trace id
// stays if there is one, the parent is a span of the front end's own, which
// only Cloud Trace will ever see, and so is the sampled flag. Tracestate stays.
func retrace(h http.Header, sampled bool) {
	var id [16]byte
	if values := h.Values(traceParent); len(values) != 1 || !parseTraceParent(&id, values[0]) {
		randomID(id[:])
	}
	var parent [8]byte
	randomID(parent[:])

	flags, option := "00", ""
	if sampled {
		flags, option = "01", ";o=1"
	}
	trace := hex.EncodeToString(id[:])
	h.Set(traceParent, "00-"+trace+"-"+hex.EncodeToString(parent[:])+"-"+flags)
	h.Set(cloudTrace, trace+"/"+strconv.FormatUint(binary.BigEndian.Uint64(parent[:]), 10)+option)
}

// randomID fills b with an id that is not zero.
func randomID(b []byte) {
	for {
		_, _ = rand.Read(b) // never fails, says its documentation
		if nonZero(b) {
			return
		}
	}
}

// parseTraceParent takes the trace id out of a valid header; what it leaves in
// id of another is of no use
// (https://www.w3.org/TR/trace-context/#traceparent-header).
func parseTraceParent(id *[16]byte, s string) bool {
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00")
	if len(s) < length || len(s) > length && (s[:2] == "00" || s[length] != '-') {
		return false
	}
	parts := strings.SplitN(s[:length], "-", 5)
	if len(parts) != 4 || parts[0] == "ff" {
		return false
	}
	var version, flags [1]byte
	var parent [8]byte
	ok := parseHex(version[:], parts[0]) && parseHex(id[:], parts[1]) && parseHex(parent[:], parts[2]) && parseHex(flags[:], parts[3])
	return ok && nonZero(id[:]) && nonZero(parent[:])
}

// parseHex decodes lower-case digits that fill b.
func parseHex(b []byte, s string) bool {
	if len(s) != 2*len(b) || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.Decode(b, []byte(s))
	return err == nil
}

func nonZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return true
		}
	}
	return false
}

// samplePeriod: Cloud Run samples one request in it, at most 0.1 a second an
// instance. See https://cloud.google.com/run/docs/trace.
const samplePeriod = 10 * time.Second

// sampler picks the first request of each period.
type sampler struct {
	mu   sync.Mutex // guards last
	last time.Time
}

func (s *sampler) next(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < samplePeriod {
		return false
	}
	s.last = now
	return true
}
