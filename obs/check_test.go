package obs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
)

const (
	shopEmail  = "shop@acme.iam.gserviceaccount.com"
	deadServer = "127.0.0.1:1"
)

// checkCase is a set-up with one thing wrong, or none.
type checkCase struct {
	name  string
	cloud emulator.CloudOptions
	opts  func(*testing.T) Options
	env   func(*emulator.Cloud) []string // put over the cloud's
	want  string                         // states by name, those that are not "ok"
	says  map[string][]string            // by name: parts of detail and hint
}

// status answers every request with a status.
func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
}

// only answers requests whose path ends so with a status.
func only(suffix string, code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		w.Header().Set("Metadata-Flavor", "Google")
		w.WriteHeader(code)
		return true
	}
}

// at is a server whose clock is off; its tokens, which it makes by this
// machine's, come without.
func at(off time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/identity") {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		}
		return false
	}
}

func vars(pairs ...string) func(*emulator.Cloud) []string {
	return func(*emulator.Cloud) []string { return pairs }
}

// page is a web server that is no agent.
func page(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func html(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	io.WriteString(w, "<html>sign in</html>")
}

// collector is the OpenTelemetry Collector's receiver, as far as we know it.
func collector(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v0.4/traces" {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, `{"rate_by_service":{}}`)
}

func redisOptions(addr string) Options {
	cache, err := rediscache.Open("redis://"+addr, rediscache.Options{Key: make([]byte, 32), Timeout: time.Minute})
	if err != nil {
		panic(err)
	}
	return Options{TokenCache: cache}
}

func TestCheckFinds(t *testing.T) {
	t.Parallel()
	for _, tt := range append(checkCases(), agentCases()...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.cloud.Metadata.Email == "" {
				tt.cloud.Metadata.Email = shopEmail
			}
			cloud, _ := startCloud(t, tt.cloud)
			var opts Options
			if tt.opts != nil {
				opts = tt.opts(t)
			}
			var pairs []string
			if tt.env != nil {
				pairs = tt.env(cloud)
			}
			var out lockedBuffer
			opts.LogWriter = &out
			tel, err := build(t.Context(), opts, cloudEnvironment(cloud, pairs...))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tel.Shutdown(context.Background()) }() // nothing is there to lose
			findings := tel.Check(t.Context())
			checkFindings(t, tt, findings)
			if strings.Contains(out.String(), "eyJ") {
				t.Error("a record shows a token")
			}
		})
	}
}

func checkFindings(t *testing.T, tt checkCase, findings Findings) {
	t.Helper()
	var states []string
	byName := map[string]Finding{}
	for _, f := range findings {
		byName[f.Name] = f
		checkGuide(t, f)
		if f.State != stateOK {
			states = append(states, f.Name+" "+f.State)
		}
		if text := f.Detail + f.Hint; strings.Contains(text, "eyJ") || strings.Contains(text, "planted") || strings.ContainsAny(text, "\n\x1b") {
			t.Errorf("%s shows what it must not: %q", f.Name, text)
		}
		if f.Detail == "" || f.State == stateFailed && f.Hint == "" {
			t.Errorf("%s says too little: %+v", f.Name, f)
		}
	}
	if got := strings.Join(states, ", "); got != tt.want {
		t.Errorf("got  %s\nwant %s", got, tt.want)
	}
	for name, parts := range tt.says {
		for _, part := range parts {
			if f := byName[name]; !strings.Contains(f.Detail+" → "+f.Hint, part) {
				t.Errorf("%s: got %q → %q, want it to say %q", name, f.Detail, f.Hint, part)
			}
		}
	}
	if failed := strings.Contains(tt.want, stateFailed); (findings.Err() != nil) != failed {
		t.Errorf("the error is %v, want one: %t", findings.Err(), failed)
	}
	if t.Failed() {
		t.Log(findings.LogValue())
	}
}

func checkCases() []checkCase {
	const noRedis = "cache skipped"
	return []checkCase{
		{name: "healthy", want: noRedis, says: map[string][]string{
			"metadata": {"kumihimo-local", shopEmail}, "token": {shopEmail, "valid for "}, "frontend": {shopEmail}, "agent": {"7.80.0", "v1.0"},
			"clock": {"metadata server's"},
		}},
		{name: "healthy, with Redis", opts: func(t *testing.T) Options { return redisOptions(miniredis.RunT(t).Addr()) }, want: "",
			says: map[string][]string{"cache": {"read back"}}},
		{name: "metadata down", env: vars("GCE_METADATA_HOST=" + deadServer),
			want: "metadata failed, project skipped, token failed, cache skipped, frontend skipped, agent skipped, clock skipped",
			says: map[string][]string{"metadata": {deadServer, "refused", "GCE_METADATA_HOST"}, "token": {"metadata server"}, "frontend": {"see token"}}},
		{name: "metadata down, in JSON", env: vars("GCE_METADATA_HOST="+deadServer, "OBS_LOG_FORMAT=json"),
			want: "metadata failed, project failed, token failed, cache skipped, frontend skipped, agent skipped, clock skipped",
			says: map[string][]string{"project": {"GOOGLE_CLOUD_PROJECT"}}},
		{name: "metadata down, not needed", env: vars("GCE_METADATA_HOST="+deadServer, "OBS_AGENT_AUTH=none", "GOOGLE_CLOUD_PROJECT=acme"),
			want: "metadata warning, token skipped, cache skipped, frontend skipped, agent failed",
			says: map[string][]string{"agent": {"403", "OBS_AGENT_AUTH=google"}, "clock": {"agent's"}}},
		{name: "metadata server fails", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: status(503)}},
			want: "metadata failed, project skipped, token failed, cache skipped, frontend skipped, agent skipped, clock skipped",
			says: map[string][]string{"metadata": {"status 503"}}},
		{name: "metadata server lies", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: func(w http.ResponseWriter, r *http.Request) bool { html(w, r); return true }}},
			want: "metadata failed, project skipped, token failed, cache skipped, frontend skipped, agent skipped, clock skipped",
			says: map[string][]string{"metadata": {"Metadata-Flavor: Google", "something else answers"}}},
		{name: "no service account", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: only("/email", 404)}},
			want: "metadata failed, cache skipped", says: map[string][]string{"metadata": {"no service account", "give this"}}},
		{name: "no service account on Cloud Run", env: vars("K_SERVICE=shop"), cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: only("/email", 404)}},
			want: "metadata failed, cache skipped", says: map[string][]string{"metadata": {"gcloud run services update shop --service-account=EMAIL"}}},
		{name: "no tokens", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: only("/identity", 404)}},
			want: "token failed, cache skipped, frontend skipped, agent skipped", says: map[string][]string{"token": {"status 404"}}},
		{name: "another project", env: vars("GOOGLE_CLOUD_PROJECT=acme"), want: "project warning, cache skipped",
			says: map[string][]string{"project": {"acme", "GOOGLE_CLOUD_PROJECT=kumihimo-local"}}},
		{name: "clock 1 h behind", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: at(time.Hour)}},
			want: "cache skipped, clock failed", says: map[string][]string{"clock": {"behind the metadata server's", "NTP"}}},
		{name: "clock 1 min ahead", cloud: emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: at(-time.Minute)}},
			want: "cache skipped, clock warning", says: map[string][]string{"clock": {"ahead of"}}},
		{name: "Redis down", opts: func(*testing.T) Options { return redisOptions(deadServer) }, want: "cache failed",
			says: map[string][]string{"cache": {"refused", "start Redis"}}},
		{name: "Redis wants a password", opts: func(t *testing.T) Options {
			s := miniredis.RunT(t)
			s.RequireAuth("planted")
			return redisOptions(s.Addr())
		}, want: "cache failed", says: map[string][]string{"cache": {"NOAUTH", "user or password"}}},
		{name: "a cache that lies", opts: func(*testing.T) Options { return Options{TokenCache: oddCache{}} }, want: "cache failed",
			says: map[string][]string{"cache": {"not what was read"}}},
		{name: "a cache that panics", opts: func(*testing.T) Options { return Options{TokenCache: oddCache{panics: true}} }, want: "cache failed",
			says: map[string][]string{"cache": {"panic: a bug of the program"}}},
	}
}

// oddCache is a program's own.
type oddCache struct{ panics bool }

func (c oddCache) Get(context.Context, string) ([]byte, error) {
	if c.panics {
		panic("a bug of the program")
	}
	return []byte("other"), nil
}

func (c oddCache) Set(context.Context, string, []byte, time.Duration) error { return nil }

func agentCases() []checkCase {
	return []checkCase{
		{name: "no role", cloud: emulator.CloudOptions{FrontEnd: emulator.FrontEndOptions{Invokers: []string{}}},
			want: "cache skipped, frontend failed, agent skipped",
			says: map[string][]string{"frontend": {"403", shopEmail + " lacks roles/run.invoker", "gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=serviceAccount:" + shopEmail + " --role=roles/run.invoker"}}},
		{name: "another audience", env: vars("OBS_AGENT_AUDIENCE=https://other.example"),
			want: "cache skipped, frontend failed, agent skipped",
			says: map[string][]string{"frontend": {"401", `"https://other.example"`, "OBS_AGENT_AUDIENCE", "--add-custom-audiences=https://other.example"}}},
		{name: "nothing behind", cloud: emulator.CloudOptions{AgentURL: "http://" + deadServer}, want: "cache skipped, agent failed",
			says: map[string][]string{"agent": {"status 503", "gcloud run services logs read"}}},
		{name: "front end down", env: vars("DD_TRACE_AGENT_URL=http://user:planted@"+deadServer+"/", "OBS_AGENT_AUTH=none"),
			want: "token skipped, cache skipped, frontend skipped, agent failed", says: map[string][]string{"agent": {"refused", "nobody listens there"}}},
		{name: "front end down, with tokens", env: vars("DD_TRACE_AGENT_URL=http://" + deadServer),
			want: "cache skipped, frontend failed, agent skipped", says: map[string][]string{"frontend": {"refused", "nobody listens there"}}},
		{name: "no agent", env: vars("DD_TRACE_AGENT_URL="), want: "token skipped, cache skipped, frontend skipped, agent skipped",
			says: map[string][]string{"agent": {"DD_TRACE_AGENT_URL is not set"}}},
		{name: "tracing off", env: vars("DD_TRACE_ENABLED=false"), want: "token skipped, cache skipped, frontend skipped, agent skipped",
			says: map[string][]string{"agent": {"DD_TRACE_ENABLED"}}},
		{name: "a source of the program's fails", opts: func(*testing.T) Options { return Options{TokenSource: noTokens{}} },
			want: "token failed, cache skipped, frontend skipped, agent skipped", says: map[string][]string{"token": {"asked for a token", "Options.TokenSource"}}},
		{name: "a source of the program's gives none", opts: func(*testing.T) Options { return Options{TokenSource: emptySource{}} },
			want: "token failed, cache skipped, frontend skipped, agent skipped", says: map[string][]string{"token": {"no ID token"}}},
	}
}

type emptySource struct{}

func (emptySource) Token(context.Context) (gcpauth.Token, error) { return gcpauth.Token{}, nil }
func (emptySource) Invalidate(gcpauth.Token)                     {}

// TestCheckAgent: what stands behind the URL, without authentication.
func TestCheckAgent(t *testing.T) {
	t.Parallel()
	agent, err := emulator.StartAgent(emulator.AgentOptions{WithoutV1: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Close() })
	tests := []struct {
		name, url string
		state     string
		says      []string
	}{
		{"agent", agent.URL(), stateOK, []string{"7.80.0", "v0.4"}},
		{"collector", page(t, collector), stateWarning, []string{"v0.4", "Collector"}},
		{"HTML", page(t, html), stateFailed, []string{"not an agent's", "text/html", "8126"}},
		{"OTLP", page(t, http.NotFound), stateFailed, []string{"status 404", "8126"}},
		{"redirect", page(t, http.RedirectHandler("https://evil.example/", http.StatusFound).ServeHTTP), stateFailed, []string{"status 302"}},
		{"busy", page(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }), stateFailed, []string{"status 429", "or not yet"}},
		{"no such host", "http://no-such-host.invalid:8126", stateFailed, []string{"no-such-host.invalid"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, _ := newTest(t, Options{AgentURL: tt.url})
			for _, f := range tel.Check(t.Context()) {
				checkGuide(t, f)
				if f.Name != "agent" {
					continue
				}
				if f.State != tt.state {
					t.Errorf("got %+v, want %s", f, tt.state)
				}
				for _, part := range tt.says {
					if !strings.Contains(f.Detail+" → "+f.Hint, part) {
						t.Errorf("got %+v, want it to say %q", f, part)
					}
				}
			}
		})
	}
	if got := agent.Requests(); got != 0 {
		t.Errorf("the agent got %d payloads, want none", got)
	}
}

// deafSource heeds no context.
type deafSource struct{ over chan struct{} }

func (s deafSource) Token(context.Context) (gcpauth.Token, error) {
	<-s.over
	return gcpauth.Token{}, errors.New("too late")
}
func (deafSource) Invalidate(gcpauth.Token) {}

// TestCheckEnds with its context, whatever the program's parts do.
func TestCheckEnds(t *testing.T) {
	t.Parallel()
	source := deafSource{make(chan struct{})}
	defer close(source.over)
	tel, _ := newTest(t, Options{AgentURL: "http://" + deadServer, TokenSource: source})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	findings := tel.Check(ctx)
	if f := findings[2]; f.Name != "token" || f.State != stateFailed || !strings.Contains(f.Detail, "no answer in time") {
		t.Errorf("got %+v", f)
	}
	cancel()
	for _, f := range tel.Check(ctx) {
		if f.State != stateSkipped || !strings.Contains(f.Detail, "not asked") {
			t.Errorf("with a context that is done: got %+v", f)
		}
	}
}

// TestFindings are of use to a logger.
func TestFindings(t *testing.T) {
	t.Parallel()
	findings := Findings{
		{Name: "token", State: stateOK, Detail: "fine"},
		{Name: "agent", State: stateFailed, Detail: "refused", Hint: "start it"},
		{Name: "clock", State: stateFailed, Detail: "1h behind"},
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("checked", "check", findings)
	var got struct{ Check map[string]map[string]string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{
		"token": {"state": "ok", "detail": "fine"},
		"agent": {"state": "failed", "detail": "refused", "hint": "start it"},
		"clock": {"state": "failed", "detail": "1h behind"},
	}
	if d := cmp.Diff(want, got.Check); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
	if got, want := findings.Err().Error(), "obs: agent: refused; start it\nobs: clock: 1h behind"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := findings[:1].Err(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

// TestSkew: only what is certain is counted.
func TestSkew(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		asked, answered time.Duration // after date
		want            time.Duration
	}{
		{0, 0, 0},
		{900 * time.Millisecond, 950 * time.Millisecond, 0}, // date was cut to the second
		{-20 * time.Second, 30 * time.Second, 0},            // anywhere in there
		{7 * time.Second, 8 * time.Second, 6 * time.Second},
		{-8 * time.Second, -7 * time.Second, -7 * time.Second},
	} {
		if got := newSkew("", date, date.Add(tt.asked), date.Add(tt.answered)).by; got != tt.want {
			t.Errorf("asked at %v, answered at %v: got %v, want %v", tt.asked, tt.answered, got, tt.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	if got, want := oneLine(" a\nb\x1b[31m\xff\u202ec "), "a b[31mc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := oneLine(strings.Repeat("é", 5000)); len(got) > 1010 || !strings.HasSuffix(got, "é…") {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestIsProjectID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"acme-shop-7": true, "example.com:acme": true, "": false, "<html>sign in</html>": false, "a/b": false, "Acme": false, "a b": false,
		strings.Repeat("a", 129): false,
	} {
		if got := isProjectID(id); got != want {
			t.Errorf("%q: got %t, want %t", id, got, want)
		}
	}
}

// TestProjectIsNoPage: what answers in the metadata server's place does not get
// into log entries.
func TestProjectIsNoPage(t *testing.T) {
	t.Parallel()
	host := strings.TrimPrefix(page(t, html), "http://")
	tel, out := newTest(t, Options{LogFormat: "json"}, "GCE_METADATA_HOST="+host)
	eventually(t, "report", func() bool { return strings.Contains(out.String(), "does not tell the project") })
	if id := tel.project.ID(); id != "" || strings.Contains(out.String(), "sign in") {
		t.Errorf("the project is %q:\n%s", id, out.String())
	}
}

// TestCheckAfterAFailure: what the source gives now is told apart from what the
// exporter has.
func TestCheckAfterAFailure(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	cloud, env := startCloud(t, emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: func(w http.ResponseWriter, r *http.Request) bool {
		if !down.Load() {
			return false
		}
		w.WriteHeader(503)
		return true
	}}})
	tel, err := build(t.Context(), Options{LogWriter: io.Discard}, env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tel.tokens.Token(t.Context()); err == nil {
		t.Fatal("got a token of a server that is down")
	}
	down.Store(false)
	byName := map[string]Finding{}
	for _, f := range tel.Check(t.Context()) {
		byName[f.Name] = f
	}
	if got := byName["token"]; got.State != stateOK {
		t.Errorf("got %+v", got)
	}
	// The pause is a second at least, unless this machine is very busy.
	if got := byName["frontend"]; got.State != stateOK && !strings.Contains(got.Hint, "asked again within 5 s") {
		t.Errorf("got %+v", got)
	}
	shutDown(t, tel)
	for _, f := range tel.Check(t.Context()) {
		if f.Name == "frontend" && (f.State != stateFailed || !strings.Contains(f.Detail, "shut down")) {
			t.Errorf("after Shutdown: got %+v", f)
		}
	}
	if n := cloud.Agent.Requests(); n != 0 {
		t.Errorf("the agent got %d payloads", n)
	}
}

// TestCheckWithATokenInMemory: a source that fails is no more than a warning
// while the exporter has a token that lets it in.
func TestCheckWithATokenInMemory(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	_, env := startCloud(t, emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{Fault: func(w http.ResponseWriter, r *http.Request) bool {
		if !down.Load() || !strings.HasSuffix(r.URL.Path, "/identity") {
			return false
		}
		w.WriteHeader(503)
		return true
	}}})
	tel, err := build(t.Context(), Options{LogWriter: io.Discard}, env)
	if err != nil {
		t.Fatal(err)
	}
	defer shutDown(t, tel)
	if _, err := tel.tokens.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	findings := tel.Check(t.Context())
	for _, f := range findings {
		switch {
		case f.Name == "token" && (f.State != stateWarning || !strings.Contains(f.Detail, "status 503; the one in memory is valid for ")):
			t.Errorf("token: got %+v", f)
		case f.Name == "frontend" && f.State != stateOK:
			t.Errorf("frontend: got %+v", f)
		}
	}
	if err := findings.Err(); err != nil {
		t.Error(err)
	}
}
