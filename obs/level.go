package obs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kumihimo/kumihimo/obs/logging"
)

const (
	// levelExpiry is how long a changed filter holds if nobody says how long:
	// who turns debug on in an incident forgets to turn it off.
	levelExpiry    = 15 * time.Minute
	maxLevelExpiry = 24 * time.Hour

	maxFilterBody = 4 << 10
)

// LevelHandler returns a handler that shows and changes the log filter while
// the program runs. It is mounted nowhere by itself; whoever can reach it can
// make the program write much more, so it belongs behind authentication.
//
//	GET     shows the filter as JSON
//	PUT     sets the one in the body, info,github.com/acme/shop/db=debug, for 15
//	        minutes or what ?for=1h says, at most 24h
//	DELETE  brings the configured one back
//
// Records at ERROR and above cannot be turned off. A request that a browser
// sends from another site's page is refused. Only the instance that answers
// has changed, which the answer says.
func (t *Telemetry) LevelHandler() http.Handler { return &t.level }

// levels is the filter and who has changed it.
type levels struct {
	filter     *logging.Filter
	configured string
	service    string
	logger     *slog.Logger

	mu     sync.Mutex // guards what follows, and changes of filter
	timer  *time.Timer
	change int       // how many there were
	until  time.Time // zero: filter is as configured
}

func (l *levels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		http.Error(w, "refused: the request comes from another site", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		if err := l.put(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	case http.MethodDelete:
		l.restore(r.Context(), "asked to")
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		http.Error(w, "want GET, PUT or DELETE", http.StatusMethodNotAllowed)
		return
	}
	l.show(w)
}

// sameOrigin reports whether no browser sends r on behalf of another site.
// https://www.w3.org/TR/fetch-metadata/
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func (l *levels) put(r *http.Request) error {
	expiry := levelExpiry
	if s := r.URL.Query().Get("for"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 || d > maxLevelExpiry {
			return fmt.Errorf("for=%q: want a duration above 0 and up to %v, such as 30m", s, maxLevelExpiry)
		}
		expiry = d
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFilterBody+1))
	if err != nil {
		return fmt.Errorf("the body ended early: %w", err)
	}
	directives := strings.TrimSpace(string(body))
	switch {
	case len(body) > maxFilterBody:
		return fmt.Errorf("the filter is longer than %d bytes", maxFilterBody)
	case directives == "":
		return errors.New("the body is empty: want a filter such as info,github.com/acme/shop/db=debug")
	}
	return l.set(r.Context(), directives, expiry)
}

func (l *levels) set(ctx context.Context, directives string, expiry time.Duration) error {
	wanted, err := logging.ParseFilter(directives)
	if err != nil {
		return err
	}
	if silences(wanted) {
		return errors.New("a level above error: records at ERROR and above cannot be turned off")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.filter.String()
	if err := l.filter.Set(directives); err != nil {
		return err
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.until = time.Now().Add(expiry)
	l.change++
	change := l.change
	l.timer = time.AfterFunc(expiry, func() { l.expire(change) })
	l.logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelWarn, "log filter changed on this instance",
		slog.String("from", before), slog.String("to", l.filter.String()), slog.Duration("for", expiry))
	return nil
}

// silences reports whether some rule of f lets nothing at ERROR through.
func silences(f *logging.Filter) bool {
	for d := range strings.SplitSeq(f.String(), ",") {
		level := d[strings.LastIndexByte(d, '=')+1:]
		for _, above := range []string{"error+", "critical", "alert", "emergency", "off"} {
			if strings.HasPrefix(level, above) {
				return true
			}
		}
	}
	return false
}

// expire ends a change, unless another has come after it.
func (l *levels) expire(change int) {
	l.mu.Lock()
	latest := l.change == change
	l.mu.Unlock()
	if latest {
		l.restore(context.Background(), "expired")
	}
}

func (l *levels) restore(ctx context.Context, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	l.timer.Stop()
	l.timer, l.until = nil, time.Time{}
	if err := l.filter.Set(l.configured); err != nil {
		return // cannot be: it was parsed once
	}
	l.logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelInfo, "log filter restored on this instance",
		slog.String("to", l.configured), slog.String("why", why))
}

// stop ends the timer; the filter stays as it is.
func (l *levels) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

func (l *levels) show(w http.ResponseWriter) {
	l.mu.Lock()
	view := struct {
		Filter     string     `json:"filter"`
		Configured string     `json:"configured"`
		Until      *time.Time `json:"until,omitempty"`
		Service    string     `json:"service"`
		Note       string     `json:"note"`
	}{l.filter.String(), l.configured, nil, l.service, "this is one instance's filter; others have their own"}
	if !l.until.IsZero() {
		until := l.until.UTC().Truncate(time.Second)
		view.Until = &until
	}
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(view) // a client that is gone
}
