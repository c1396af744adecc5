//go:build unix

package faults

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumihimo/kumihimo/conformance/section"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// A metadataFault is what the metadata server answers for the first 3 s of a
// program's life to whoever asks for a token.
type metadataFault struct {
	name string
	do   http.HandlerFunc
	down bool // nobody listens
}

const faultTime = 3 * time.Second

// says answers with a body, as the metadata server does.
func says(body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.WriteString(w, body)
	}
}

func code(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
	}
}

// claim makes a token that no front end would take: its signature is none.
func claim(audience string, issued time.Time, algorithm string) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // strings and numbers always encode
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "sub": "1",
		"iat": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
	}) + ".c2lnbmF0dXJl"
}

// aimed answers with a token for whoever was asked for.
func aimed(f func(audience string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { says(f(r.URL.Query().Get("audience")))(w, r) }
}

var metadataFaults = []metadataFault{
	{name: "none"},
	{name: "T1: 404", do: code(404)},
	{name: "T1: 403", do: code(403)},
	{name: "T1: 429", do: code(429)},
	{name: "T1: 500", do: code(500)},
	{name: "T1: 503", do: code(503)},
	{name: "T1: 302 to elsewhere", do: code(302)},
	{name: "T1: hangs", do: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	{name: "T1: reset", do: func(w http.ResponseWriter, r *http.Request) { reset(w, r, 0) }},
	{name: "T1: half a token", do: aimed(func(aud string) string { return claim(aud, time.Now(), "RS256")[:120] })},
	{name: "T1: the connection ends in the token", do: says("eyJhbGciOiJSUzI1NiJ9.e30", "Content-Length", "800")},
	{name: "T2: an HTML page", do: says("<!DOCTYPE html><html><body>Please sign in</body></html>")},
	{name: "T2: something else answers", do: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }},
	{name: "T2: a line break behind the token", do: aimed(func(aud string) string { return claim(aud, time.Now(), "RS256") + "\n" })},
	{name: "T2: a header in the token", do: aimed(func(aud string) string { return claim(aud, time.Now(), "RS256") + "\r\nX-Admin: yes" })},
	{name: "T2: a token for another audience", do: aimed(func(string) string { return claim("https://other.example", time.Now(), "RS256") })},
	{name: "T2: an expired token", do: aimed(func(aud string) string { return claim(aud, time.Now().Add(-2*time.Hour), "RS256") })},
	{name: "T2: a token without a signature's algorithm", do: aimed(func(aud string) string { return claim(aud, time.Now(), "none") })},
	{name: "T2: 2 MiB", do: says(strings.Repeat("x", 2<<20))},
	{name: "T2: nothing", do: says("")},
	{name: "T3: down from before the start", down: true},
}

// A tokenRow is what came of a fault on the way of the token.
type tokenRow struct {
	Fault    string
	Ended    int
	Lost     int
	Asked    int64 // requests of the source
	Refused  int64 // requests with a token that the front end would not take
	Last     time.Duration
	Reported map[string]int
}

// program is a service with its telemetry, an agent behind Google's
// authentication, and the metadata server.
type program struct {
	cloud *emulator.Cloud
	asked atomic.Int64 // for a token
	fault atomic.Pointer[http.HandlerFunc]
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{}
	cloud, err := emulator.StartCloud(emulator.CloudOptions{Metadata: emulator.MetadataServerOptions{
		Fault: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/identity") {
				return false
			}
			p.asked.Add(1)
			if f := p.fault.Load(); f != nil {
				(*f)(w, r)
				return true
			}
			return false
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cloud.Close() })
	p.cloud = cloud
	return p
}

// start makes the telemetry of an instance. The environment is the process's:
// the caller starts one at a time.
func (p *program) start(t *testing.T, metadata string, cache gcpauth.Cache, log io.Writer) *obs.Telemetry {
	t.Helper()
	for name, value := range p.cloud.Environ() {
		t.Setenv(name, value)
	}
	t.Setenv("GCE_METADATA_HOST", metadata)
	tel, err := obs.New(t.Context(), obs.Options{Service: "shop", ProjectID: "acme", LogFormat: "json", LogWriter: log, TokenCache: cache})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

// has counts the spans of an instance that the agent has, each once.
func (p *program) has(ids []uint64) (n int) {
	there := make(map[uint64]bool)
	for _, s := range p.cloud.Agent.Spans() {
		there[s.SpanID] = true
	}
	for _, id := range ids {
		if there[id] {
			n++
		}
	}
	return n
}

// send ends spans in time, waits until they are there and the log says what it
// should, and shuts down.
func (p *program) send(ctx context.Context, tel *obs.Telemetry, w work, log *lines, says string) (r tokenRow, err error) {
	began, before, refused := time.Now(), p.asked.Load(), p.cloud.FrontEnd.Refused()
	ids := eachOTel(w, tel.TracerProvider())
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for p.has(ids) < len(ids) && waiting.Err() == nil {
		tel.Flush(waiting) //nolint:errcheck // it is tried again
	}
	r.Last = time.Since(began)
	for !log.has(says) && !log.has(tooSlow) && waiting.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Grace)
	defer cancel()
	tel.Shutdown(shutdown) //nolint:errcheck // what is lost shows below
	r.Ended, r.Lost = len(ids), len(ids)-p.has(ids)
	r.Asked, r.Refused = p.asked.Load()-before, p.cloud.FrontEnd.Refused()-refused
	r.Reported, err = log.reports()
	return r, err
}

// TestMetadataFaults: nothing is lost, nothing that is no token of ours is sent,
// and a server that fails is asked once a step of the backoff.
func TestMetadataFaults(t *testing.T) {
	rows := make([]tokenRow, len(metadataFaults))
	var wg sync.WaitGroup
	for i, f := range metadataFaults {
		p := newProgram(t)
		host, up := p.cloud.Metadata.Host(), func() error { p.fault.Store(nil); return nil }
		if f.do != nil {
			p.fault.Store(&f.do)
		}
		if f.down {
			host, up = lateServer(t, host)
		}
		log := &lines{}
		tel := p.start(t, host, nil, log)
		wg.Go(func() {
			mended := time.AfterFunc(faultTime, func() {
				if err := up(); err != nil {
					t.Error(err)
				}
			})
			defer mended.Stop()
			r, err := p.send(t.Context(), tel, work{Spans: 20, Over: faultTime + time.Second, Grace: time.Minute}, log, "")
			if err != nil {
				t.Error(err)
			}
			r.Fault = f.name
			rows[i] = r
		})
	}
	wg.Wait()
	rows = append(rows, crowd(t))
	for _, r := range rows {
		r.check(t)
		if took := int64(r.Last/time.Second) + 2; r.Asked > min(took, 12) { // steps of a second, then two, four, five
			t.Errorf("%s: %d requests of the source in %v", r.Fault, r.Asked, r.Last)
		}
	}
	text := tokenTable(rows, "fault, for the first 3 s", "requests of the metadata server")
	t.Log("\n" + text)
	if *update {
		write(t, "metadata", text)
		writeRaw(t, "metadata", rows)
	}
}

func (r tokenRow) check(t *testing.T) {
	t.Helper()
	if r.Ended == 0 || r.Lost != 0 || r.Refused != 0 || r.Asked == 0 {
		t.Errorf("%s: %+v", r.Fault, r)
	}
	for text, n := range r.Reported {
		if n != 1 {
			t.Errorf("%s: %q was said %d times", r.Fault, text, n)
		}
	}
	if r.Fault != "none" && len(r.Reported) == 0 && !strings.HasPrefix(r.Fault, "T6") {
		t.Errorf("%s: nothing was reported", r.Fault)
	}
}

// lateServer is a metadata server at whose address nobody listens before up.
func lateServer(t *testing.T, host string) (addr string, up func() error) {
	t.Helper()
	p, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: host}) // and no X-Forwarded-For, which it refuses
	}}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() {
		server.Close()
		p.socket.Close()
	})
	return p.addr, func() error {
		l, err := p.listen()
		if err == nil {
			go server.Serve(l) //nolint:errcheck // it ends when it is closed
		}
		return err
	}
}

// crowd is 1,000 callers at once while there is no token, T6.
func crowd(t *testing.T) tokenRow {
	p := newProgram(t)
	audience := p.cloud.FrontEnd.Audience()
	source := gcpauth.Cached(gcpauth.Metadata(gcpauth.MetadataOptions{Audience: audience, Host: p.cloud.Metadata.Host()}), gcpauth.CacheOptions{Audience: audience})
	t.Cleanup(func() { source.Shutdown(context.Background()) }) //nolint:errcheck // it has no deadline to miss
	const callers = 1000
	var failed atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			if _, err := source.Token(t.Context()); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	return tokenRow{Fault: "T6: 1,000 callers at once without a token", Ended: callers, Lost: int(failed.Load()), Asked: p.asked.Load(), Last: time.Since(began)}
}

// tokenTable prints rows.
func tokenTable(rows []tokenRow, fault, asked string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | spans | lost | %s | wrong tokens sent | all there after | reported |\n|---|---|---|---|---|---|---|\n", fault, asked)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s | %s |\n", r.Fault, r.Ended, r.Lost, r.Asked, r.Refused, seconds(r.Last), said(r.Reported))
	}
	return b.String()
}

// TestTokenDocument fails when the document's rows are not these faults.
func TestTokenDocument(t *testing.T) {
	t.Parallel()
	want := map[string][]string{"metadata": nil, "redis": nil}
	for _, f := range metadataFaults {
		want["metadata"] = append(want["metadata"], f.name)
	}
	want["metadata"] = append(want["metadata"], "T6: 1,000 callers at once without a token")
	for _, f := range redisFaults {
		want["redis"] = append(want["redis"], f.name)
	}
	for name, faults := range want {
		rows, err := section.Rows(document, name)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(faults) {
			t.Errorf("%s has %d rows of %d in the section %s: run make reliability", document, len(rows), len(faults), name)
			continue
		}
		for i, f := range faults {
			if rows[i][0] != f || rows[i][2] != "0" {
				t.Errorf("%s: got %q, want %q with 0 lost: run make reliability", document, rows[i][:3], f)
			}
		}
	}
}
