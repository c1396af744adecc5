package otlp

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// cloud is a receiver behind Google's authentication.
type cloud struct {
	*receiver
	front    *emulator.FrontEnd
	metadata *emulator.MetadataServer
	tokens   *gcpauth.CachedSource
}

func startCloud(t *testing.T, audience string, o emulator.FrontEndOptions) *cloud {
	t.Helper()
	c := &cloud{receiver: &receiver{t: t}}
	backend := httptest.NewServer(c.receiver)
	t.Cleanup(backend.Close)
	var err error
	if c.metadata, err = emulator.StartMetadataServer(emulator.MetadataServerOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.metadata.Close() })
	o.Backend, o.Metadata = backend.URL, c.metadata
	if c.front, err = emulator.StartFrontEnd(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.front.Close() })
	if audience == "" {
		audience = c.front.Audience()
	}
	c.tokens = gcpauth.Cached(
		gcpauth.Metadata(gcpauth.MetadataOptions{Audience: audience, Host: c.metadata.Host()}),
		gcpauth.CacheOptions{Audience: audience})
	t.Cleanup(func() { c.tokens.Shutdown(context.Background()) }) //nolint:errcheck // it holds nothing
	return c
}

// TestTokens: the front end lets in what carries a token, beside the receiver's
// own key.
func TestTokens(t *testing.T) {
	t.Parallel()
	c := startCloud(t, "", emulator.FrontEndOptions{})
	r := newRig(t, Options{Endpoint: c.front.URL(), TokenSource: c.tokens})
	r.work("x")
	if err := r.tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.got("span")) != 2 || len(c.got("record")) < 2 || c.front.Refused() != 0 {
		t.Errorf("%d spans, %d records, %d refused", len(c.got("span")), len(c.got("record")), c.front.Refused())
	}
	s, err := newSenderFrom(t.Context(), Options{Endpoint: c.front.URL(), TokenSource: c.tokens}, traces(),
		variables("OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic abc"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	e, err := newTraceExporter(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	tel, err := obs.New(context.Background(), obs.Options{Service: "shop", LogWriter: io.Discard, SpanExporter: e})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := c.requests[len(c.requests)-1]
	if len(c.got("span")) != 3 || last.Header.Get("Authorization") != "Basic abc" {
		t.Errorf("%d spans; the receiver saw %q", len(c.got("span")), last.Header.Get("Authorization"))
	}
}

// TestRefused: who may not pass is told what is missing, without the token that
// a page may repeat.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, audience string
		front          emulator.FrontEndOptions
		want           string
	}{
		{"role", "", emulator.FrontEndOptions{Invokers: []string{"nobody@acme.test"}}, "lacks roles/run.invoker on the receiver's service"},
		{"audience", "https://other.example", emulator.FrontEndOptions{}, "is for the audience"},
		{"an echo", "", emulator.FrontEndOptions{Fault: func(w http.ResponseWriter, req *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "bad credentials: "+req.Header.Get("Authorization"))
			return true
		}}, "[REDACTED]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := startCloud(t, tt.audience, tt.front)
			e, err := NewTraceExporter(t.Context(), Options{Endpoint: c.front.URL(), TokenSource: c.tokens})
			if err != nil {
				t.Fatal(err)
			}
			out := &output{}
			tel, err := obs.New(context.Background(), obs.Options{Service: "shop", LogFormat: "text", LogWriter: out, SpanExporter: e})
			if err != nil {
				t.Fatal(err)
			}
			_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "root")
			span.End()
			ctx, cancel := context.WithCancel(t.Context())
			flushed := make(chan struct{})
			go func() {
				defer close(flushed)
				tel.Flush(ctx) //nolint:errcheck // it does not succeed
			}()
			for len(out.said("does not take spans")) == 0 {
				select {
				case <-time.After(time.Millisecond):
				case <-t.Context().Done():
					t.Fatal("nothing is said")
				}
			}
			cancel()
			<-flushed
			tel.Shutdown(ctx) //nolint:errcheck // it does not succeed
			if lines := out.said("does not take spans", tt.want); len(lines) != 1 || strings.Contains(lines[0], "eyJ") {
				t.Errorf("said: %q", out.said("does not take spans"))
			}
			if s := tel.Stats().Spans; s.Dropped.Shutdown != 1 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// TestOpenLine: no token travels where others can read it.
func TestOpenLine(t *testing.T) {
	t.Parallel()
	source := gcpauth.Metadata(gcpauth.MetadataOptions{Audience: "a"})
	if _, err := NewLoggerProvider(t.Context(), Options{Endpoint: "http://collector.example", TokenSource: source}); err == nil || !strings.Contains(err.Error(), "travel over https") {
		t.Errorf("got %v", err)
	}
}

// TestWrongPort: what does not speak HTTP/1 is recognised too.
func TestWrongPort(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	collector := grpc.NewServer()
	t.Cleanup(collector.Stop)
	go collector.Serve(ln)
	plain := httptest.NewServer(&receiver{t: t})
	t.Cleanup(plain.Close)
	for _, tt := range []struct{ name, url, want string }{
		{"gRPC", "http://" + ln.Addr().String(), "this is a port for gRPC (4317): OTLP over HTTP has another, 4318"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), "the receiver speaks http, not https"},
		{"nobody", "http://127.0.0.1:1", "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := NewTraceExporter(t.Context(), Options{Endpoint: tt.url})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Shutdown(context.Background()) //nolint:errcheck // it holds nothing
			err = e.ExportSpans(t.Context(), stub())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestCertificates: the environment's are used, by the client that we make.
func TestCertificates(t *testing.T) {
	t.Parallel()
	r := &receiver{t: t}
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the one who does not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  []string
		ok   bool
	}{{"known", []string{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + ca}, true}, {"unknown", nil, false}} {
		s, err := newSenderFrom(t.Context(), Options{Endpoint: server.URL}, traces(), variables(tt.env...))
		if err != nil {
			t.Fatal(err)
		}
		e, err := newTraceExporter(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.ExportSpans(t.Context(), stub()); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		e.Shutdown(t.Context()) //nolint:errcheck // it holds nothing
	}
	if n := len(r.got("span")); n != 1 {
		t.Errorf("%d spans arrived", n)
	}
}

// TestNothingLeft: no goroutine and no connection outlives Shutdown, a hanging
// receiver's neither. It counts all the process's, so it does not run beside
// others.
func TestNothingLeft(t *testing.T) {
	r := &receiver{t: t}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	before := ours()
	for _, hang := range []bool{false, true} {
		if hang {
			r.set(func(_ http.ResponseWriter, req *http.Request) bool {
				io.Copy(io.Discard, req.Body)
				<-req.Context().Done()
				return true
			})
		}
		rig := newRig(t, Options{Endpoint: server.URL})
		rig.work("x")
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err := rig.tel.Shutdown(ctx); (err != nil) != hang {
			t.Errorf("hanging %t: %v", hang, err)
		}
		cancel()
		for ours() > before {
			select {
			case <-time.After(time.Millisecond):
			case <-t.Context().Done():
				t.Fatal("goroutines are left")
			}
		}
	}
}

// ours is the number of goroutines of this module, OpenTelemetry and net/http's
// client.
func ours() (n int) {
	buf := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "persistConn") || strings.Contains(stack, "go.opentelemetry.io") ||
			strings.Contains(stack, "kumihimo") && !strings.Contains(stack, "testing.tRunner") {
			n++
		}
	}
	return n
}

// TestNothingTraced: the program's client may trace, and log, its requests; ours
// make no spans.
func TestNothingTraced(t *testing.T) {
	t.Parallel()
	r := &receiver{t: t}
	var tel *obs.Telemetry
	client := &http.Client{Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
		_, span := tel.TracerProvider().Tracer("client").Start(req.Context(), "traced "+req.URL.Path)
		defer span.End()
		return r.RoundTrip(req)
	})}
	rig := newRig(t, Options{Endpoint: "http://collector.test", HTTPClient: client})
	tel = rig.tel
	rig.work("x")
	for range 3 {
		if err := tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := tel.Stats().Spans; s.Ended != 2 || s.Sent != 2 || len(r.got("span")) != 2 {
		t.Errorf("got %+v, %v", s, r.got("span"))
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
