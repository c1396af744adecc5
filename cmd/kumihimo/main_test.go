package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestView sends a trace to the agent's address and finds it at the page's.
func TestView(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a bound, no expectation
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"view", "-agent", "127.0.0.1:0", "-page", "127.0.0.1:0"}, in, in)
		in.Close()
	}()
	var urls []string
	for sc := bufio.NewScanner(out); len(urls) < 2 && sc.Scan(); {
		urls = append(urls, regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(sc.Text()))
	}
	if len(urls) < 2 {
		t.Fatal(<-ended)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	payload := []byte("\x91\x91\x84\xa8trace_id\x09\xa7span_id\x01\xa7service\xa4shop\xa4name\xa4load")
	ask(t, ctx, http.MethodPut, urls[0]+"/v0.4/traces", payload)
	if body := ask(t, ctx, http.MethodGet, urls[1]+"/api/traces", nil); !strings.Contains(body, `"name":"load"`) {
		t.Errorf("the list: %s", body)
	}
	if body := ask(t, ctx, http.MethodGet, urls[1]+"/", nil); !strings.Contains(body, "kumihimo") {
		t.Errorf("the page: %s", body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func ask(t *testing.T, ctx context.Context, method, url string, body []byte) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/msgpack")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s %s %v", url, resp.Status, b, err)
	}
	return string(b)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "want the command view"},
		{[]string{"look"}, "want the command view"},
		{[]string{"view", "more"}, `unknown argument "more"`},
		{[]string{"view", "-colour"}, "not defined"},
		{[]string{"view", "-page", taken.Addr().String()}, "in use"},
		{[]string{"view", "-page", "127.0.0.1:0", "-agent", taken.Addr().String(), "-hosts", "a.test,b.test"}, "in use"},
	} {
		var errs bytes.Buffer
		if err := run(t.Context(), tt.args, io.Discard, &errs); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.args, err, tt.want)
		}
	}
}
