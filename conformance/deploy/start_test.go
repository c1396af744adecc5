package deploy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// TestStart: with the variables of the secrets the token goes through Redis. It
// is a process of its own, as obs.Init is once a process.
func TestStart(t *testing.T) {
	t.Parallel()
	if os.Getenv("TOKEN_CACHE_URL") != "" {
		startAndServe(t)
		return
	}
	redis := miniredis.RunT(t)
	redis.RequireAuth("01234567-89ab-cdef-0123-456789abcdef")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStart$")
	cmd.Env = append(os.Environ(),
		"TOKEN_CACHE_URL=redis://:01234567-89ab-cdef-0123-456789abcdef@"+redis.Addr(),
		"TOKEN_CACHE_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	)
	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	for k, v := range cloud.Environ() {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if spans := cloud.Agent.Spans(); len(spans) != 1 || spans[0].Resource != "GET /users/{id}" {
		t.Errorf("the agent has %+v", spans)
	}
	if keys := redis.Keys(); !slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, "idtok") }) {
		t.Errorf("Redis has %q, want the token", keys)
	}
	t.Run("malformed key", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStart$")
		cmd.Env = append(os.Environ(), "TOKEN_CACHE_URL=redis://"+redis.Addr(), "TOKEN_CACHE_KEY=not base64")
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("it is taken:\n%s", out)
		}
	})
}

func startAndServe(t *testing.T) {
	tel, cache, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	w := httptest.NewRecorder()
	NewRouter().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/users/7", nil))
	if err := tel.Flush(t.Context()); err != nil { // FlushLast has 300 ms, which a busy machine may not have
		t.Error(err)
	}
	if sent := tel.Stats().Spans.Sent; w.Code != http.StatusNoContent || sent != 1 {
		t.Errorf("status %d, %d spans sent, want the request's", w.Code, sent)
	}
	for _, f := range tel.Check(t.Context()) {
		if f.State == "failed" || f.Name == "cache" && f.State != "ok" {
			t.Errorf("%+v", f)
		}
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
