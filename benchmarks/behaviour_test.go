package benchmarks

import (
	"context"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
)

const requestsDoc = "../docs/requests.md"

// behaviours are the rows of the table: a request that is not of the usual
// kind, and what to look at where that is not the usual.
var behaviours = []struct {
	name    string
	method  string // GET if empty
	target  string
	header  map[string]string
	handler http.HandlerFunc // of target; nil if the router has the route, or none
	gone    bool             // the client does not wait
	copied  bool             // a middleware further in copies the request
	look    func(told) string
}{
	{name: "a route in routers in routers", target: "/api/v1/users/7"},
	{name: "the same, behind a middleware that copies the request", target: "/api/v1/users/7", copied: true},
	{name: "404: no route", target: "/wp-login.php"},
	{name: "404: no route in a mounted router", target: "/api/v1/wp-login.php"},
	{name: "405", method: "POST", target: "/api/v1/users/7"},
	{name: "a method nobody knows", method: "BREW", target: "/api/v1/users/7"},
	{name: "502", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }},
	{name: "a panic", target: "/x", handler: func(http.ResponseWriter, *http.Request) { panic("boom") }},
	{name: "a panic after a part of the answer", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half") //nolint:errcheck // the client sees it
		w.(http.Flusher).Flush()
		panic("boom")
	}},
	{name: "http.ErrAbortHandler", target: "/x", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{name: "runtime.Goexit", target: "/x", handler: func(http.ResponseWriter, *http.Request) { runtime.Goexit() }},
	{name: "nothing written", target: "/x", handler: func(http.ResponseWriter, *http.Request) {}},
	{name: "WriteHeader twice", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusAccepted)
	}},
	{name: "103, then 201", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
	}},
	{name: "a hijacked connection", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n") //nolint:errcheck // the client sees it
		rw.Flush()                                                                                      //nolint:errcheck // the client sees it
	}},
	{name: "100 kB by io.Copy: the size", target: "/x", handler: func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 200_000)), 100_000)) //nolint:errcheck // the client sees it
	}, look: size},
	{name: "a client that has gone", target: "/x", gone: true, handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	{name: "`?sig=…&token=…`", target: "/api/v1/users/7?sig=hunter2&token=hunter3", look: secrets},
	{name: "`X-Forwarded-For` by anyone", target: "/api/v1/users/7", header: map[string]string{"X-Forwarded-For": "6.6.6.6"}, look: client},
}

func size(t told) string {
	for _, key := range []string{"http.response.body.size", "http.response_content_length"} {
		if v := t.attrs[key]; v != "" {
			return v
		}
	}
	if strings.Contains(t.log, `"responseSize":"100000"`) || strings.Contains(t.log, `"responseSize":100000`) {
		return "100000"
	}
	return "not recorded"
}

func secrets(t told) string {
	all := t.log
	for _, v := range t.attrs {
		all += v
	}
	switch sig, token := strings.Contains(all, "hunter2"), strings.Contains(all, "hunter3"); {
	case sig && token:
		return "both in clear"
	case sig:
		return "sig in clear"
	case token:
		return "token in clear"
	case strings.Contains(strings.ToLower(all), "redacted"):
		return "redacted"
	}
	return "not recorded"
}

func client(t told) string {
	for _, v := range t.attrs {
		if v == "6.6.6.6" {
			return "believed"
		}
	}
	return "not believed"
}

// told says what a middleware tells in as few words as a table has room for.
func (t told) String() string {
	var s []string
	if t.spans > 0 {
		s = append(s, "`"+t.name+"`")
		if code := t.attrs["http.response.status_code"]; code != "" {
			s = append(s, code)
		}
		if t.fails {
			s = append(s, "error")
		}
	}
	text := strings.Join(s, " ")
	if t.level != "" {
		text = strings.TrimPrefix(text+"; "+t.level+" "+t.code, "; ")
	}
	return text
}

// TestBehaviour holds docs/requests.md to what we, and the peers, tell of each
// request; with -update it writes the table.
func TestBehaviour(t *testing.T) {
	var table strings.Builder
	table.WriteString("| request |")
	for _, p := range servicePeers {
		table.WriteString(" " + p.name + " |")
	}
	table.WriteString("\n|" + strings.Repeat("---|", len(servicePeers)+1) + "\n")
	for i, b := range behaviours {
		table.WriteString("| " + b.name + " |")
		bare, _ := behave(t, i, func(next http.Handler) http.Handler { return next })
		for _, p := range servicePeers {
			mw, tell := p.new(t)
			answer, ended := behave(t, i, mw)
			ended()
			said := tell()
			cell := said.String()
			if b.look != nil {
				cell = b.look(said)
			}
			if answer != bare {
				cell += "; client: " + answer
			}
			table.WriteString(" " + cell + " |")
		}
		table.WriteString("\n")
	}
	if *update {
		writeSection(t, requestsDoc, "behaviour", table.String())
		return
	}
	doc, err := os.ReadFile(requestsDoc)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := sectionOf(t, string(doc), "behaviour")
	if diff := cmp.Diff(strings.TrimSpace(string(doc[begin:end])), strings.TrimSpace(table.String())); diff != "" {
		t.Errorf("%s -, now +:\n%s", requestsDoc, diff)
	}
}

// behave sends the request of a row to a server of its own. It returns what
// the client got, when the server has ended.
func behave(t *testing.T, row int, mw func(http.Handler) http.Handler) (answer string, ended func()) {
	t.Helper()
	b := behaviours[row]
	began, through := make(chan struct{}), make(chan struct{})
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(through)
			next.ServeHTTP(w, r)
		})
	}, mw)
	if b.copied {
		r.Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.WithContext(r.Context())) })
		})
	}
	if b.handler != nil {
		r.Get("/x", func(w http.ResponseWriter, r *http.Request) {
			close(began)
			b.handler(w, r)
		})
	}
	r.Route("/api", func(r chi.Router) {
		r.Route("/v1", func(r chi.Router) {
			r.Get("/users/{id}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }) //nolint:errcheck // the client sees it
		})
	})

	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	s.Start()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if b.gone {
		go func() { <-began; cancel() }()
	}
	method := b.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+b.target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range b.header {
		req.Header.Set(k, v)
	}
	answer = ask(s.Client(), req)
	return answer, func() { <-through }
}

func ask(c *http.Client, r *http.Request) string {
	resp, err := c.Do(r)
	var closed *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "gone"
	case errors.Is(err, io.EOF), errors.As(err, &closed):
		return "no answer"
	case err != nil:
		return err.Error()
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return "101"
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return strconv.Itoa(resp.StatusCode) + ", broken off"
	}
	return strconv.Itoa(resp.StatusCode)
}
