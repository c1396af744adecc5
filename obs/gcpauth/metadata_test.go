package gcpauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// metadataServer answers as the real one, or as answer says.
func metadataServer(t *testing.T, answer http.HandlerFunc) (host string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestMetadataRequest(t *testing.T) {
	t.Parallel()
	const audience = "https://agent/?a=b&c=d e"
	type seen struct{ Method, Path, Query, Flavor, Host string }
	var got seen
	host := metadataServer(t, func(w http.ResponseWriter, r *http.Request) {
		got = seen{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Metadata-Flavor"), r.Host}
		if r.URL.Query().Get("audience") != audience {
			t.Errorf("audience %q", r.URL.Query().Get("audience"))
		}
		w.Write([]byte(issue(audience, time.Now(), time.Hour)))
	})
	token, err := Metadata(MetadataOptions{Audience: audience, Host: host}).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := token.left(time.Now()); left < 59*time.Minute || left > time.Hour {
		t.Errorf("%v left", left)
	}
	want := seen{"GET", "/computeMetadata/v1/instance/service-accounts/default/identity",
		"audience=https%3A%2F%2Fagent%2F%3Fa%3Db%26c%3Dd+e", "Google", host}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMetadataRefuses(t *testing.T) {
	t.Parallel()
	good := issue(testAudience, time.Now(), time.Hour)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write([]byte(good))
		}
	}
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(s)) }
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"400", status(400), "status 400"},
		{"403", status(403), "the endpoint is disabled"},
		{"404", status(404), "no service account"},
		{"429", status(429), "too many requests"},
		{"500", status(500), "status 500"},
		{"503", status(503), "status 503"},
		{"204", status(204), "status 204"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				t.Error("followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "status 302"},
		{"no Metadata-Flavor", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Metadata-Flavor")
			w.Write([]byte(good))
		}, "something else answered"},
		{"HTML", body("<!doctype html><title>503</title>"), "compact form"},
		{"empty", body(""), "compact form"},
		{"newline", body(good + "\n"), "compact form"},
		{"16 KiB", body(strings.Repeat("a", maxMetadataBody)), "more than 8192 bytes"},
		{"2 MiB", body(strings.Repeat("a", 2<<20)), "longer than 16384 bytes"},
		{"another audience", body(issue("https://other.a.run.app", time.Now(), time.Hour)), "for the audience \"https://other.a.run.app\""},
		{"expired", body(issue(testAudience, time.Now().Add(-2*time.Hour), time.Hour)), "has expired"},
		{"half a body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4000")
			w.Write([]byte(good))
		}, "reading its answer"},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "metadata server: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := Metadata(MetadataOptions{Audience: testAudience, Host: metadataServer(t, test.answer)})
			token, err := s.Token(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "gcpauth: ") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && leaks(err.Error()) {
				t.Errorf("the error shows the token: %v", err)
			}
			if token != (Token{}) {
				t.Error("a token beside the error")
			}
		})
	}
}

func TestMetadataOptionsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		o    MetadataOptions
		want string
	}{
		{"no audience", MetadataOptions{Host: "127.0.0.1:1"}, "Audience is empty"},
		{"host with a path", MetadataOptions{Audience: "a", Host: "127.0.0.1:1/x"}, "want host:port"},
		{"host with a scheme", MetadataOptions{Audience: "a", Host: "http://127.0.0.1:1"}, "want host:port"},
		{"host with a blank", MetadataOptions{Audience: "a", Host: "a b"}, "want host:port"},
		{"nobody there", MetadataOptions{Audience: "a", Host: "127.0.0.1:1"}, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Metadata(test.o).Token(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestMetadataHeedsContext(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	host := metadataServer(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done() // hangs until the client is gone
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := Metadata(MetadataOptions{Audience: testAudience, Host: host}).Token(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestMetadataIsLocal holds what a request to the metadata server never does.
func TestMetadataIsLocal(t *testing.T) {
	t.Parallel()
	s := Metadata(MetadataOptions{}).(*metadataSource)
	base := s.base.(*http.Transport)
	if base.Proxy != nil {
		t.Error("has a proxy")
	}
	if !base.DisableKeepAlives {
		t.Error("keeps connections, and goroutines with them")
	}
	if s.host != "169.254.169.254" {
		t.Errorf("host %q", s.host)
	}
}

// TestIssuerClock takes the time from the answer, with this machine's clock an
// hour and more off.
func TestIssuerClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-70 * time.Minute, -6 * time.Minute, 0, 6 * time.Minute, 70 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			issuer := func() time.Time { return time.Now().Add(skew) }
			host := metadataServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", issuer().UTC().Format(http.TimeFormat))
				w.Write([]byte(issue(testAudience, issuer().Add(-20*time.Minute), time.Hour)))
			})
			s := Metadata(MetadataOptions{Audience: testAudience, Host: host})
			token, err := s.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if left := token.left(time.Now()); left < 39*time.Minute || left > 41*time.Minute {
				t.Errorf("%v left, want 40m", left)
			}
			if off := s.(*metadataSource).IssuerTime().Sub(issuer()); off < -time.Minute || off > time.Minute {
				t.Errorf("the issuer's time is off by %v", off)
			}
		})
	}
}

func TestIssuerClockMissing(t *testing.T) {
	t.Parallel()
	host := metadataServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Write([]byte(issue(testAudience, time.Now().Add(-20*time.Minute), time.Hour)))
	})
	token, err := Metadata(MetadataOptions{Audience: testAudience, Host: host}).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := token.left(time.Now()); left < 39*time.Minute || left > 41*time.Minute {
		t.Errorf("%v left, want 40m by this machine's clock", left)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	answers := []string{"", "<html>", "two\nlines@x", testEmail, "other@x"}
	calls := 0
	host := metadataServer(t, func(w http.ResponseWriter, r *http.Request) {
		if want := "/computeMetadata/v1/instance/service-accounts/default/email"; r.URL.Path != want {
			t.Errorf("path %s", r.URL.Path)
		}
		w.Write([]byte(answers[calls]))
		calls++
	})
	s := Metadata(MetadataOptions{Host: host}).(*metadataSource)
	for range 3 {
		if got, err := s.Identity(t.Context()); err == nil {
			t.Errorf("accepted %q", got)
		}
	}
	for range 2 { // asked once
		if got, err := s.Identity(t.Context()); got != testEmail || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if calls != 4 {
		t.Errorf("%d requests", calls)
	}
}
