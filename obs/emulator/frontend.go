package emulator

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// FrontEndOptions say what stands behind the front end and who may pass.
type FrontEndOptions struct {
	// Backend is the URL of what runs behind.
	Backend string

	// Audience is what tokens must be for, letter by letter. Empty: the front
	// end's own URL. Cloud Run takes custom audiences beside its URL.
	Audience string

	// Metadata is the server whose tokens are believed. Nil: everyone may
	// pass, as where allUsers has the role run.invoker.
	Metadata *MetadataServer

	// Invokers are the email addresses of the accounts with the role
	// run.invoker. Nil: all have it.
	Invokers []string

	// Fault, if set, gets each request first.
	Fault Fault
}

// FrontEnd stands where Cloud Run's proxy does: it checks the ID token of a
// request, rewrites its trace headers, and hands it on. What is not let in is
// answered by 401 or 403 as Google does, and the header X-Emulator-Reason says
// why, which Google does not. Its methods are safe for concurrent use. See
// https://cloud.google.com/run/docs/authenticating/service-to-service.
type FrontEnd struct {
	server    *server
	opts      FrontEndOptions
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	sampled   sampler

	requests, refused atomic.Int64
}

// maxRequestBody is Cloud Run's limit for HTTP/1.
const maxRequestBody = 32 << 20

// StartFrontEnd listens on a loopback port.
func StartFrontEnd(o FrontEndOptions) (*FrontEnd, error) {
	backend, err := url.Parse(o.Backend)
	if err != nil {
		return nil, fmt.Errorf("emulator: malformed backend: %w", err)
	}
	if backend.Host == "" || backend.Scheme != "http" && backend.Scheme != "https" {
		return nil, fmt.Errorf("emulator: backend %q: want http(s)://host:port", o.Backend)
	}
	s, err := listen()
	if err != nil {
		return nil, err
	}
	if o.Audience == "" {
		o.Audience = s.url()
	}
	f := &FrontEnd{server: s, opts: o, transport: &http.Transport{
		// No proxy: what runs behind is on this machine. No compression: the
		// bodies are the backend's.
		DisableCompression: true,
	}}
	f.proxy = f.newProxy(backend)
	s.serve(http.HandlerFunc(f.serveHTTP), o.Fault)
	return f, nil
}

// Close ends the front end with the requests under way, and waits for it.
func (f *FrontEnd) Close() error {
	err := f.server.close()
	f.transport.CloseIdleConnections()
	return err
}

// URL is http://127.0.0.1:port.
func (f *FrontEnd) URL() string { return f.server.url() }

// Audience is what tokens must be for.
func (f *FrontEnd) Audience() string { return f.opts.Audience }

// Requests returns how many requests came.
func (f *FrontEnd) Requests() int64 { return f.requests.Load() }

// Refused returns how many of them were not let in.
func (f *FrontEnd) Refused() int64 { return f.refused.Load() }

func (f *FrontEnd) serveHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	if status, reason := f.admit(r); status != 0 {
		f.refused.Add(1)
		refuse(w, r, status, reason)
		return
	}
	if r.ContentLength > maxRequestBody {
		page(w, r, http.StatusRequestEntityTooLarge, tooLarge)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequestBody)
	f.proxy.ServeHTTP(w, r)
}
