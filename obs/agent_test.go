package obs

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// startCloud starts an emulated cloud and returns the environment that points
// at it.
func startCloud(t *testing.T, o emulator.CloudOptions) (*emulator.Cloud, environment) {
	t.Helper()
	cloud, err := emulator.StartCloud(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	return cloud, cloudEnvironment(cloud)
}

// cloudEnvironment is the cloud's, with pairs put over it.
func cloudEnvironment(cloud *emulator.Cloud, pairs ...string) environment {
	var all []string
	for name, value := range cloud.Environ() {
		all = append(all, name+"="+value)
	}
	return world(append(all, pairs...)...)
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// TestRefusalIsReported: one record says whose token was refused and which
// command lets it in, however often it is refused.
func TestRefusalIsReported(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		frontEnd emulator.FrontEndOptions
		env      string
		want     string
	}{
		{"role", emulator.FrontEndOptions{Invokers: []string{"other@acme.iam.gserviceaccount.com"}}, "",
			"shop@acme.iam.gserviceaccount.com lacks roles/run.invoker: gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=serviceAccount:shop@acme.iam.gserviceaccount.com --role=roles/run.invoker"},
		{"audience", emulator.FrontEndOptions{Audience: "https://agent-xyz.a.run.app"}, "OBS_AGENT_AUDIENCE=https://other.example",
			"--add-custom-audiences=https://other.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cloud, _ := startCloud(t, emulator.CloudOptions{
				Metadata: emulator.MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"},
				FrontEnd: tt.frontEnd,
			})
			var out lockedBuffer
			tel, err := build(t.Context(), Options{LogWriter: &out}, cloudEnvironment(cloud, tt.env))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				_, span := tel.TracerProvider().Tracer("").Start(context.Background(), "work")
				span.End()
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = tel.Flush(ctx) }() // ends with ctx: the spans wait
				eventually(t, "report", func() bool { return cloud.FrontEnd.Refused() > int64(i) && strings.Contains(out.String(), "they wait") })
				cancel()
				<-done
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_ = tel.Shutdown(ctx) // says that spans are lost
			if got := strings.Count(out.String(), tt.want); got != 1 {
				t.Errorf("the hint is there %d times, want once:\n%s", got, out.String())
			}
			if strings.Contains(out.String(), "eyJ") {
				t.Error("the records show a token")
			}
		})
	}
}

// TestSocketTakesTokens: authentication that was asked for is not left out
// because the agent is behind a socket.
func TestSocketTakesTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	var without, with atomic.Int64
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer eyJ") {
			without.Add(1)
		}
		if r.Method == http.MethodPost {
			with.Add(1)
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "OK")
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	cloud, _ := startCloud(t, emulator.CloudOptions{})
	// The client's own transport leads elsewhere.
	opts := Options{LogWriter: io.Discard, HTTPClient: &http.Client{Transport: http.NewFileTransport(http.Dir("."))}}
	tel, err := build(t.Context(), opts, world("GCE_METADATA_HOST="+cloud.Metadata.Host(), "DD_TRACE_AGENT_URL=unix://"+path, "OBS_AGENT_AUTH=google", "OBS_AGENT_AUDIENCE=a"))
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider().Tracer("").Start(context.Background(), "work")
	span.End()
	shutDown(t, tel)
	if with.Load() == 0 || without.Load() > 0 {
		t.Errorf("%d payloads came, %d requests had no token", with.Load(), without.Load())
	}
}

// TestInsecureByName: tokens over an open line are an error, and the way out is
// a transport of the program's own.
func TestInsecureByName(t *testing.T) {
	t.Parallel()
	cloud, _ := startCloud(t, emulator.CloudOptions{})
	const agent = "http://agent.internal:8126"
	host := "GCE_METADATA_HOST=" + cloud.Metadata.Host()
	_, err := build(t.Context(), Options{LogWriter: io.Discard, AgentURL: agent, AgentAuth: "google", Audience: "a"}, world(host))
	if err == nil || !strings.Contains(err.Error(), "Options.AgentURL") || !strings.Contains(err.Error(), "AllowInsecure") {
		t.Errorf("got %v, want an error that says how", err)
	}
	var tokens atomic.Int64
	own := &gcpauth.Transport{
		Source: gcpauth.Metadata(gcpauth.MetadataOptions{Audience: "a", Host: cloud.Metadata.Host()}),
		Origin: agent, AllowInsecure: true,
		Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer eyJ") {
				tokens.Add(1)
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("OK"))}, nil
		}),
	}
	tel, err := build(t.Context(), Options{LogWriter: io.Discard, AgentURL: agent, AgentAuth: "none", HTTPClient: &http.Client{Transport: own}}, world(host))
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider().Tracer("").Start(context.Background(), "work")
	span.End()
	shutDown(t, tel)
	if tokens.Load() == 0 || tel.Stats().Spans.Sent != 1 {
		t.Errorf("%d requests had a token, the account is %+v", tokens.Load(), tel.Stats().Spans)
	}
}

func TestServiceOf(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]runService{
		"https://agent-a1b2c3d4e5-uc.a.run.app":                {"agent", "REGION"},
		"https://dd-agent-a1b2c3d4e5-ew.a.run.app/x":           {"dd-agent", "REGION"},
		"https://canary---dd-agent-a1b2c3d4e5-ew.a.run.app":    {"dd-agent", "REGION"},
		"https://dd-agent-123456789012.europe-west1.run.app":   {"dd-agent", "europe-west1"},
		"https://T---agent-123456789012.us-central1.run.app:1": {"agent", "us-central1"},
		"https://agent.a.run.app":                              {"SERVICE", "REGION"},
		"https://run.app":                                      {"SERVICE", "REGION"},
		"https://x.y.z.run.app":                                {"SERVICE", "REGION"},
		"https://agent.example":                                {"SERVICE", "REGION"},
		"unix:///s":                                            {"SERVICE", "REGION"},
		"://":                                                  {"SERVICE", "REGION"},
	} {
		if got := serviceOf(raw); got != want {
			t.Errorf("%s: got %v, want %v", raw, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"https://agent.example/x": "https://agent.example/x",
		"serviceAccount:a@b.c":    "serviceAccount:a@b.c",
		"":                        "''",
		"a b":                     "'a b'",
		"$(rm -r /)":              "'$(rm -r /)'",
		"it's":                    `'it'\''s'`,
		"a\n;b\x1b[31m":           "'a;b[31m'",
	} {
		if got := shellWord(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
	for identity, want := range map[string]string{
		"shop@acme.iam.gserviceaccount.com": "serviceAccount:shop@acme.iam.gserviceaccount.com",
		"ada@example.com":                   "user:ada@example.com",
		"104857600000000000001":             "serviceAccount:EMAIL",
	} {
		if got := member(identity); got != want {
			t.Errorf("%s: got %s, want %s", identity, got, want)
		}
	}
}

// TestNoTokens: even where there are tokens for the asking, nobody asks for one,
// and nobody is warned, without an agent beyond the instance.
func TestNoTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no unix sockets here: %v", err)
	}
	var tokens, prefixed atomic.Int64
	sidecar := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			tokens.Add(1)
		}
		if r.URL.Path == "/apm/v0.4/traces" {
			prefixed.Add(1)
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "OK")
	})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: sidecar}
	go server.Serve(socket)
	t.Cleanup(func() { server.Close() })
	url := serveTest(t, sidecar)
	for _, tt := range []struct {
		name string
		env  []string
		sent int64
	}{
		{"no agent", nil, 0}, // and no platform that has one
		{"tracing off", []string{"DD_TRACE_ENABLED=false", "DD_TRACE_AGENT_URL=https://agent-xyz.a.run.app"}, 0},
		{"a sidecar", []string{"DD_TRACE_AGENT_URL=" + url}, 1},
		{"a sidecar by name", []string{"DD_TRACE_AGENT_URL=" + strings.Replace(url, "127.0.0.1", "localhost", 1)}, 1},
		{"a sidecar by host and port", []string{"DD_AGENT_HOST=127.0.0.1", "DD_TRACE_AGENT_PORT=" + url[strings.LastIndexByte(url, ':')+1:]}, 1},
		{"a sidecar below a path", []string{"DD_TRACE_AGENT_URL=" + url + "/apm/"}, 1},
		{"a socket", []string{"DD_TRACE_AGENT_URL=unix://" + path}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cloud, _ := startCloud(t, emulator.CloudOptions{})
			var out lockedBuffer
			env := append(tt.env, "GCE_METADATA_HOST="+cloud.Metadata.Host())
			if tt.env != nil {
				env = append(env, "K_SERVICE=shop", "K_REVISION=shop-1", "K_CONFIGURATION=shop")
			}
			tel, err := build(t.Context(), Options{LogWriter: &out}, world(env...))
			if err != nil {
				t.Fatal(err)
			}
			_, span := tel.TracerProvider().Tracer("").Start(context.Background(), "work")
			span.End()
			shutDown(t, tel)
			if s := tel.Stats().Spans; s.Sent != tt.sent || s.Dropped.Total() != 0 {
				t.Errorf("%+v", s)
			}
			if n := cloud.Metadata.Requests(); n != 0 || tokens.Load() != 0 {
				t.Errorf("%d tokens were asked for, %d requests had one", n, tokens.Load())
			}
			for line := range strings.Lines(out.String()) {
				if strings.Contains(line, `"WARNING"`) || strings.Contains(line, `"ERROR"`) {
					t.Errorf("it says %s", line)
				}
			}
		})
	}
	if prefixed.Load() != 1 {
		t.Errorf("%d payloads came below the path, want 1", prefixed.Load())
	}
}
