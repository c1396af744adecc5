package ddagent

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// sendOne sends one span through an exporter with o.
func sendOne(t *testing.T, o Options) (*Exporter, error) {
	t.Helper()
	e := NewExporter(o)
	_, span, _ := localRoot(context.Background(), providerFor(NewProcessor(e, ProcessorOptions{})).Tracer("t"), keepIt)
	span.End()
	return e, e.Shutdown(t.Context())
}

func TestRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/prefix/info" {
			http.NotFound(w, r)
			return
		}
		got = r
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, "OK\n")
	}))
	t.Cleanup(server.Close)
	if _, err := sendOne(t, Options{URL: server.URL + "/prefix/"}); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.Path != "/prefix/v0.4/traces" || got.ContentLength != int64(len(body)) {
		t.Errorf("%s %s, length %d of %d", got.Method, got.URL, got.ContentLength, len(body))
	}
	for key, want := range map[string]string{
		"Content-Type": "application/msgpack", "X-Datadog-Trace-Count": "1", "Datadog-Meta-Lang": "go",
		"Datadog-Send-Real-Http-Status": "true", "Datadog-Client-Computed-Top-Level": "yes",
	} {
		if got := got.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for _, key := range []string{"Datadog-Meta-Lang-Version", "Datadog-Meta-Lang-Interpreter", "Datadog-Meta-Tracer-Version"} {
		if got.Header.Get(key) == "" {
			t.Errorf("no %s", key)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "apm.socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("no unix sockets here:", err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"rate_by_service":{}}`)
	})}}
	server.Start()
	t.Cleanup(server.Close)
	e, err := sendOne(t, Options{URL: "unix://" + path})
	if s := e.Stats(); err != nil || s.Sent != 1 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestUnusableURL(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"ftp://agent", "http://", "unix://", "http://user:hunter2@host:port", "://"} {
		e, err := sendOne(t, Options{URL: raw})
		if s := e.Stats(); err != nil || s.Dropped.Rejected != 1 {
			t.Errorf("%s: %v, %+v", raw, err, s)
		}
		if got := e.client.err; got == nil || strings.Contains(got.Error(), "hunter2") {
			t.Errorf("%s: error %v", raw, got)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRequestsAreTelemetrysOwn looks for the mark that keeps them untraced,
// and for a body that can be sent again, as authentication may have to.
func TestRequestsAreTelemetrysOwn(t *testing.T) {
	t.Parallel()
	var suppressed, again bool
	_, err := sendOne(t, Options{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		defer r.Body.Close()
		suppressed = obsctx.Suppressed(r.Context())
		if r.Method == http.MethodGet {
			if !suppressed {
				t.Error("/info is asked outside of telemetry's own context")
			}
			return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
		}
		first, _ := io.ReadAll(r.Body)
		second, err := r.GetBody()
		if err == nil {
			b, _ := io.ReadAll(second)
			again = len(first) > 0 && string(b) == string(first)
			second.Close()
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Datadog-Agent-Version": {"7"}}, Body: http.NoBody}, nil
	})}})
	if err != nil || !suppressed || !again {
		t.Errorf("err %v, suppressed %v, body again %v", err, suppressed, again)
	}
}

func TestOptionsAreNotWrittenTo(t *testing.T) {
	t.Parallel()
	client := &http.Client{Timeout: time.Second, Transport: http.NewFileTransport(http.Dir("."))}
	before := *client
	o := Options{URL: "http://agent", HTTPClient: client, Tags: map[string]string{"a": "b"}}
	want := o
	want.Tags = map[string]string{"a": "b"}
	e := NewExporter(o)
	NewProcessor(e, ProcessorOptions{})
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	ignore := cmp.Options{cmpopts.IgnoreFields(Options{}, "HTTPClient", "Redactor", "Logger")}
	if diff := cmp.Diff(want, o, ignore); diff != "" {
		t.Error(diff)
	}
	if client.CheckRedirect != nil || client.Timeout != before.Timeout {
		t.Error("the caller's http.Client has been written to")
	}
}

func TestFromAgent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header string
		body   string
		want   bool
	}{
		{"header", "Datadog-Agent-State", "", true},
		{"OK", "", "OK\n", true},
		{"rates", "", `{"rate_by_service":{"service:,env:":0.5}}`, true},
		{"nothing", "", "", false},
		{"page", "", portal, false},
		{"other JSON", "", `{"status":"OK"}`, false},
		{"rates that are none", "", `{"rate_by_service":null}`, false},
		{"half rates", "", `{"rate_by_service":{"a":1`, false},
		{"other header", "X-Datadog", "", false},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.header != "" {
			h.Set(tt.header, "x")
		}
		if got := fromAgent(h, []byte(tt.body)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestIdle wants no goroutine before the first span, and none after Shutdown,
// and no request in an idle hour between. synctest fails on what is left.
func TestIdle(t *testing.T) {
	bubble(t, ProcessorOptions{}, func(t *testing.T, r *rig, _ trace.Tracer) {
		if r.exporter.running {
			t.Error("a goroutine runs before the first span")
		}
		_, span, _ := r.trace(keepIt)
		span.End()
		r.flushed()
		n := r.agent.count()
		time.Sleep(time.Hour)
		if more := r.agent.count() - n; more != 0 {
			t.Errorf("%d requests in an idle hour", more)
		}
	})
}
