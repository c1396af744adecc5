package obs

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func askLevel(tel *Telemetry, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	tel.LevelHandler().ServeHTTP(w, r)
	return w
}

func TestLevelHandler(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, target, body string
		header                     []string
		status                     int
		says                       string
		debug                      bool // is written afterwards
	}{
		{"show", "GET", "/", "", nil, 200, `"filter": "info"`, false},
		{"set", "PUT", "/", "debug\n", nil, 200, `"configured": "info"`, true},
		{"set for a time", "PUT", "/?for=1h", "debug,net/http=error", nil, 200, `"until"`, true},
		{"wrong filter", "PUT", "/", "loud", nil, 400, "unknown level", false},
		{"wrong time", "PUT", "/?for=-1s", "debug", nil, 400, "24h", false},
		{"too long a time", "PUT", "/?for=25h", "debug", nil, 400, "24h", false},
		{"empty", "PUT", "/", " ", nil, 400, "empty", false},
		{"long", "PUT", "/", "debug" + strings.Repeat(" ", maxFilterBody), nil, 400, "4096 bytes", false},
		{"off", "PUT", "/", "off", nil, 400, "cannot be turned off", false},
		{"one package off", "PUT", "/", "debug,net/http=off", nil, 400, "cannot be turned off", false},
		{"above error", "PUT", "/", "error+1", nil, 400, "cannot be turned off", false},
		{"error", "PUT", "/", "error", nil, 200, `"filter": "error"`, false},
		{"another site's page", "PUT", "/", "debug", []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site", false},
		{"another origin", "PUT", "/", "debug", []string{"Origin", "https://evil.example"}, 403, "another site", false},
		{"its own page", "PUT", "/", "debug", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, 200, "", true},
		{"another method", "POST", "/", "debug", nil, 405, "GET, PUT or DELETE", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tel, out := newTest(t, Options{})
			w := askLevel(tel, tt.method, tt.target, tt.body, tt.header...)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, tt.status, tt.says)
			}
			tel.Logger().Debug("a detail")
			if got := strings.Contains(out.String(), "a detail"); got != tt.debug {
				t.Errorf("debug is written: got %t, want %t", got, tt.debug)
			}
			if changed := strings.Contains(out.String(), "log filter changed"); changed && tt.status != 200 {
				t.Errorf("the log says it changed:\n%s", out)
			}
			if w := askLevel(tel, "DELETE", "/", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"filter": "info"`) {
				t.Errorf("DELETE: got %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestLevelExpires: the configured filter comes back by itself, and a second
// change starts the time anew.
func TestLevelExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, out := newTest(t, Options{})
		enabled := func() bool { return tel.Logger().Enabled(t.Context(), slog.LevelDebug) }
		askLevel(tel, http.MethodPut, "/", "debug")
		time.Sleep(levelExpiry - time.Second)
		askLevel(tel, http.MethodPut, "/?for=20m", "debug")
		time.Sleep(19 * time.Minute)
		if !enabled() {
			t.Error("restored too early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if enabled() {
			t.Error("not restored")
		}
		if got := strings.Count(out.String(), "restored on this instance"); got != 1 {
			t.Errorf("restored %d times, want once:\n%s", got, out)
		}
		askLevel(tel, http.MethodPut, "/", "debug")
		shutDown(t, tel)
	})
}
