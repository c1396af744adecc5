package chiobs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/kumihimo/kumihimo/internal/obsctx"
)

// routed is a router behind c with one route, whose handler is h.
func routed(c Config, h http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	r.Use(c.Middleware)
	r.HandleFunc("/users/{id}", h)
	return r
}

func ok(http.ResponseWriter, *http.Request) {}

// value is a record's attribute as text, "" if it is not there.
func (r *record) value(key string) string {
	if v, ok := r.attrs[key]; ok {
		return v.String()
	}
	return ""
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("35.191.0.0/16")}
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		proxies      []netip.Prefix
		want, host   string
	}{
		{"no proxies", "203.0.113.9:1000", []string{"10.0.0.1"}, nil, "203.0.113.9", "example.com"},
		{"a proxy", "169.254.1.1:1000", []string{"203.0.113.7"}, proxies, "203.0.113.7", "outside.example"},
		{"a proxy behind a proxy", "169.254.1.1:1000", []string{"198.51.100.1, 203.0.113.7, 35.191.0.3"}, proxies, "203.0.113.7", "outside.example"},
		{"two headers", "169.254.1.1:1000", []string{"203.0.113.7", "35.191.0.3"}, proxies, "203.0.113.7", "outside.example"},
		{"a stranger", "203.0.113.9:1000", []string{"10.0.0.1"}, proxies, "203.0.113.9", "example.com"},
		{"an invention", "169.254.1.1:1000", []string{"<script>, 35.191.0.3"}, proxies, "35.191.0.3", "outside.example"},
		{"a port", "169.254.1.1:1000", []string{"203.0.113.7:4711"}, proxies, "203.0.113.7", "outside.example"},
		{"IPv6", "169.254.1.1:1000", []string{"[2001:db8::1]:4711"}, proxies, "2001:db8::1", "outside.example"},
		{"mapped", "[::ffff:169.254.1.1]:1000", []string{"203.0.113.7"}, proxies, "203.0.113.7", "outside.example"},
		{"a unix socket", "@", []string{"203.0.113.7"}, proxies, "203.0.113.7", "outside.example"},
		{"none", "169.254.1.1:1000", nil, proxies, "169.254.1.1", "outside.example"},
		{"no end of them", "169.254.1.1:1000", []string{strings.Repeat("169.254.0.1,", 10_000)}, proxies, "169.254.1.1", "outside.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			r := httptest.NewRequest("GET", "http://example.com/users/7", http.NoBody)
			r.RemoteAddr = tt.remote
			r.Header["X-Forwarded-For"] = tt.forwarded
			r.Header.Set("X-Forwarded-Host", "outside.example")
			routed(Config{Provider: g, TrustedProxies: tt.proxies}, ok).ServeHTTP(httptest.NewRecorder(), r)
			attrs := attrsOf(g.span(t).Attributes())
			if attrs["client.address"] != tt.want || attrs["server.address"] != tt.host || g.access(t).http().RemoteIP != tt.want {
				t.Errorf("got %q at %q, %q in the record, want %q at %q", attrs["client.address"], attrs["server.address"],
					g.access(t).http().RemoteIP, tt.want, tt.host)
			}
		})
	}
}

// TestHeaders: what is listed is recorded on span and record, secrets hidden.
func TestHeaders(t *testing.T) {
	t.Parallel()
	g := newRig()
	c := Config{Provider: g, RequestHeaders: []string{"X-Tenant", "cookie", "X-None"}, ResponseHeaders: []string{"X-Cache"}, BaggageTags: []string{"plan", "voucher"}}
	local(routed(c, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cache", "hit") }), "GET", "/users/7",
		"X-Tenant", "acme", "Cookie", "planted", "Baggage", "plan=gold,voucher=planted,other=x", "X-Unlisted", "planted")
	want := map[string]string{
		"http.request.header.x-tenant": "acme", "http.response.header.x-cache": "hit", "baggage.plan": "gold",
	}
	attrs := attrsOf(g.span(t).Attributes())
	for key, value := range want {
		if attrs[key] != value || g.access(t).value(key) != value {
			t.Errorf("%s: got %q and %q, want %q", key, attrs[key], g.access(t).value(key), value)
		}
	}
	for _, absent := range []string{"http.request.header.x-none", "baggage.other", "http.request.header.x-unlisted"} {
		if _, ok := attrs[absent]; ok {
			t.Errorf("%s is recorded", absent)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, span, attr, original string }{
		{"QUERY", "QUERY /users/{id}", "QUERY", ""}, {"PURGE", "PURGE /users/{id}", "PURGE", ""}, {"BREW", "HTTP", "_OTHER", "BREW"},
	} {
		g := newRig()
		local(routed(Config{Provider: g, Methods: []string{"PURGE"}}, ok), tt.method, "/users/7")
		attrs := attrsOf(g.span(t).Attributes())
		if !strings.HasPrefix(g.span(t).Name(), strings.Fields(tt.span)[0]) || attrs["http.request.method"] != tt.attr || attrs["http.request.method_original"] != tt.original {
			t.Errorf("%s: got %q, %q, %q", tt.method, g.span(t).Name(), attrs["http.request.method"], attrs["http.request.method_original"])
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sent string
		trust      Trust
		kept       bool
	}{
		{"sent", "abc-1", TrustInternal, true},
		{"none", "", TrustInternal, false},
		{"a stranger's", "abc-1", TrustPublic, false},
		{"with blanks", "a b", TrustInternal, false},
		{"with a line feed", "a\nlevel=ERROR", TrustInternal, false},
		{"too long", strings.Repeat("a", maxRequestID+1), TrustInternal, false},
		{"not ASCII", "é", TrustInternal, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRig()
			var fields *obsctx.Fields
			h := routed(Config{Provider: g, RequestID: "X-Request-Id", Trust: tt.trust},
				func(_ http.ResponseWriter, r *http.Request) { fields = obsctx.FieldsFrom(r.Context()) })
			got := local(h, "GET", "/users/7", "X-Request-Id", tt.sent).Header().Get("X-Request-Id")
			want := g.span(t).SpanContext().TraceID().String()
			if tt.kept {
				want = tt.sent
			}
			if got != want || attrsOf(g.span(t).Attributes())[keyRequestID] != want {
				t.Errorf("answered %q, on the span %q, want %q", got, attrsOf(g.span(t).Attributes())[keyRequestID], want)
			}
			if fields == nil || fields.Attrs[0].String() != keyRequestID+"="+want {
				t.Errorf("the records of the request have %v", fields)
			}
		})
	}
}

func TestTraceResponse(t *testing.T) {
	t.Parallel()
	g := newRig()
	w := local(routed(Config{Provider: g, TraceResponse: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Server-Timing", "db;dur=3")
	}), "GET", "/users/7", "Traceparent", traceparent)
	want := "00-" + callersTrace + "-" + g.span(t).SpanContext().SpanID().String() + "-01"
	if got := w.Header().Get("Traceresponse"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{`traceparent;desc="` + want + `"`, "db;dur=3"}, w.Header()["Server-Timing"]); diff != "" {
		t.Error(diff)
	}
}

// TestHooks: what hooks return reaches span and record; one that panics costs
// nothing but its attributes and is reported once.
func TestHooks(t *testing.T) {
	t.Parallel()
	g := newRig()
	var outcome Outcome
	c := Config{Provider: g,
		OnStart: func(r *http.Request) []slog.Attr { return []slog.Attr{slog.String("tenant", r.Header.Get("X-Tenant"))} },
		OnEnd: func(_ *http.Request, o Outcome) []slog.Attr {
			outcome = o
			return []slog.Attr{slog.Int("items", 3)}
		},
	}
	local(routed(c, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "abc") }), "GET", "/users/7", "X-Tenant", "acme")
	attrs := attrsOf(g.span(t).Attributes())
	if attrs["tenant"] != "acme" || attrs["items"] != "3" || g.access(t).value("tenant") != "acme" || g.access(t).value("items") != "3" {
		t.Errorf("got %v and %v", attrs, g.access(t).attrs)
	}
	if outcome.Status != 200 || outcome.Route != "/users/{id}" || outcome.ResponseSize != 3 || outcome.Panic != nil {
		t.Errorf("got %+v", outcome)
	}

	g = newRig()
	c = Config{Provider: g,
		Skip:        func(*http.Request) bool { panic("skip") },
		OnStart:     func(*http.Request) []slog.Attr { panic("start") },
		OnEnd:       func(*http.Request, Outcome) []slog.Attr { panic("end") },
		AccessLevel: func(int) slog.Level { panic("level") },
	}
	h := routed(c, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })
	for range 3 {
		if w := local(h, "GET", "/users/7"); w.Code != 200 || w.Body.String() != "served" {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	}
	if diff := cmp.Diff([]string{"ERROR chiobs: a hook panicked; requests are served without it"}, g.others()); diff != "" {
		t.Error(diff)
	}
	if len(g.spans.Ended()) != 3 {
		t.Errorf("got %d spans, want 3", len(g.spans.Ended()))
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	g := newRig()
	var kept context.Context
	local(routed(Config{Provider: g}, func(_ http.ResponseWriter, r *http.Request) {
		kept = r.Context()
		Add(kept, slog.String("user.id", "u7"), slog.Int("n", 1))
		Add(kept, slog.Int("n", 2), slog.String("password", "planted"))
		for i := range 2 * maxAdded {
			Add(kept, slog.Int("k"+strings.Repeat("x", i), i))
		}
	}), "GET", "/users/7")
	Add(kept, slog.Bool("late", true))
	Add(context.Background(), slog.Bool("elsewhere", true))
	Add(nil, slog.Bool("nowhere", true)) //nolint:staticcheck // what a caller may do
	attrs, access := attrsOf(g.span(t).Attributes()), g.access(t)
	if attrs["user.id"] != "u7" || attrs["n"] != "2" || access.value("user.id") != "u7" || access.value("n") != "2" {
		t.Errorf("got %v and %v", attrs, access.attrs)
	}
	if _, ok := access.attrs["late"]; ok || attrs["late"] != "" {
		t.Error("what came after the request's end was added")
	}
	if got := access.value("chiobs.attributes_lost"); got != "67" {
		t.Errorf("lost: got %s, want 67", got)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	request := map[string]string{"fast": "/users/fast", "slow": "/users/slow", "error": "/users/error"}
	for _, tt := range []struct {
		name   string
		access Access
		kept   bool // the trace
		want   string
	}{
		{"all", AccessAll, false, "fast slow error"},
		{"sampled, not kept", AccessSampled, false, "slow error"},
		{"sampled, kept", AccessSampled, true, "fast slow error"},
		{"slow", AccessSlow, true, "slow error"},
		{"errors", AccessErrors, true, "error"},
		{"off", AccessOff, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got []string
				for _, name := range []string{"fast", "slow", "error"} {
					g := newRig()
					h := routed(Config{Provider: g, Access: tt.access, Slow: time.Second}, func(w http.ResponseWriter, r *http.Request) {
						switch chi.URLParam(r, "id") {
						case "slow":
							time.Sleep(time.Second)
						case "error":
							w.WriteHeader(500)
						}
					})
					r := httptest.NewRequest("GET", request[name], http.NoBody)
					if !tt.kept {
						ctx, s := obsctx.NewTrace(r.Context())
						s.Init(obsctx.Decision{Priority: -1})
						r = r.WithContext(ctx)
					}
					h.ServeHTTP(httptest.NewRecorder(), r)
					if len(g.records.all()) > 0 {
						got = append(got, name)
					}
					if len(g.spans.Ended()) != 1 {
						t.Error("the span goes by the policy for records")
					}
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("got %q, want %q", s, tt.want)
				}
			})
		})
	}
}

func TestConfigAccessLevel(t *testing.T) {
	t.Parallel()
	g := newRig()
	c := Config{Provider: g, AccessLevel: func(status int) slog.Level { return slog.Level(status) }}
	local(routed(c, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }), "GET", "/users/7")
	if got := g.access(t).level; got != 404 {
		t.Errorf("got %v, want the status", got)
	}
}

// TestNested: one request, one span and one record, whoever stands around it.
func TestNested(t *testing.T) {
	t.Parallel()
	g := newRig()
	r := chi.NewRouter()
	r.Use(Config{Provider: g}.Middleware, Config{Provider: g}.Middleware)
	r.Get("/users/{id}", ok)
	for range 3 {
		local(r, "GET", "/users/7")
	}
	if len(g.spans.Ended()) != 3 || len(g.records.all()) != 4 {
		t.Errorf("got %d spans, %d records, want 3, and 4 with the warning", len(g.spans.Ended()), len(g.records.all()))
	}
	if got := g.others(); len(got) != 1 || !strings.HasPrefix(got[0], "WARN chiobs: two middlewares") {
		t.Errorf("got %q", got)
	}

	g = newRig()
	r = chi.NewRouter()
	r.Use(Config{Provider: g, RequestHeaders: []string{"X-A"}, Access: AccessSampled}.Middleware)
	r.Route("/admin", func(r chi.Router) {
		r.Use(Config{Provider: g, RequestHeaders: []string{"X-B"}, OnEnd: func(*http.Request, Outcome) []slog.Attr {
			return []slog.Attr{slog.Bool("admin", true)}
		}, Skip: func(r *http.Request) bool { return r.URL.Path == "/admin/quiet" }}.Middleware)
		r.Get("/quiet", ok)
		r.Get("/{id}", ok)
	})
	local(r, "GET", "/admin/7", "X-A", "a", "X-B", "b")
	attrs := attrsOf(g.span(t).Attributes())
	if attrs["http.request.header.x-a"] != "a" || attrs["http.request.header.x-b"] != "b" || attrs["admin"] != "true" || len(g.others()) != 0 {
		t.Errorf("got %v, %q", attrs, g.others())
	}
	if got := g.access(t); got.value("http.request.header.x-b") != "b" || got.route() != "/admin/{id}" {
		t.Errorf("got %v", got.attrs)
	}
	local(r, "GET", "/admin/quiet")
	if len(g.spans.Ended()) != 2 || len(g.records.all()) != 1 {
		t.Errorf("an inner Skip leaves out the record alone: %d spans, %d records", len(g.spans.Ended()), len(g.records.all()))
	}
}

// TestNestedElsewhere: a request that a handler makes to a router of its own is
// another one.
func TestNestedElsewhere(t *testing.T) {
	t.Parallel()
	g := newRig()
	inner := routed(Config{Provider: g}, ok)
	outer := routed(Config{Provider: g}, func(_ http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/users/8", http.NoBody).WithContext(r.Context()))
	})
	local(outer, "GET", "/users/7")
	if len(g.spans.Ended()) != 2 || len(g.records.all()) != 2 {
		t.Errorf("got %d spans, %d records, want 2 of each", len(g.spans.Ended()), len(g.records.all()))
	}
}

// flushing is a rig whose pipeline can be flushed.
type flushing struct {
	*rig
	flushes atomic.Int64
	err     error
	hang    bool
}

func (f *flushing) Pipeline(ctx context.Context) *obsctx.Pipeline {
	p := f.rig.Pipeline(ctx)
	p.Provider = f
	p.Flush = func(ctx context.Context) error {
		f.flushes.Add(1)
		if f.hang {
			<-ctx.Done()
			return ctx.Err()
		}
		return f.err
	}
	return p
}

func TestFlushLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flushing{rig: newRig()}
		leave := make(chan struct{})
		h := routed(Config{Provider: f, FlushLast: true}, func(_ http.ResponseWriter, r *http.Request) {
			if chi.URLParam(r, "id") == "long" {
				<-leave
			}
		})
		done := make(chan struct{})
		go func() { local(h, "GET", "/users/long"); close(done) }()
		synctest.Wait()
		for range 3 {
			local(h, "GET", "/users/7")
		}
		if n := f.flushes.Load(); n != 0 {
			t.Errorf("flushed %d times while a request is in flight", n)
		}
		close(leave)
		<-done
		if n := f.flushes.Load(); n != 1 {
			t.Errorf("flushed %d times by the last request, want once", n)
		}
		f.hang = true
		began := time.Now()
		for range 5 {
			local(h, "GET", "/users/7")
		}
		if waited := time.Since(began); waited != flushTime {
			t.Errorf("a backend that hangs costs %v, want %v once", waited, flushTime)
		}
		time.Sleep(flushPause)
		f.hang, f.err = false, errors.New("down")
		local(h, "GET", "/users/7")
		if n := f.flushes.Load(); n != 3 {
			t.Errorf("flushed %d times, want a third after the pause", n)
		}
	})
}

// TestSkipped: no span and no record, but the caller's trace goes on.
func TestSkipped(t *testing.T) {
	t.Parallel()
	g := newRig()
	header := make(http.Header)
	h := routed(Config{Provider: g, Skip: func(*http.Request) bool { return true }, RequestID: "X-Request-Id"}, func(_ http.ResponseWriter, r *http.Request) {
		g.ingress.Inject(r.Context(), propagation.HeaderCarrier(header))
		Add(r.Context(), slog.Bool("x", true))
	})
	local(h, "GET", "/users/7", "Traceparent", traceparent)
	if len(g.spans.Ended()) != 0 || len(g.records.all()) != 0 {
		t.Errorf("got %d spans, %d records", len(g.spans.Ended()), len(g.records.all()))
	}
	if got := header.Get("Traceparent"); got != traceparent {
		t.Errorf("goes on as %q, want %q", got, traceparent)
	}
}

// TestOutlivingAdds: what a handler may keep is never another request's.
func TestOutlivingAdds(t *testing.T) {
	t.Parallel()
	g := newRig()
	var wg sync.WaitGroup
	h := routed(Config{Provider: g, RequestID: "X-Request-Id", RequestHeaders: []string{"X-A"}}, func(w http.ResponseWriter, r *http.Request) {
		id := chi.URLParam(r, "id")
		Add(r.Context(), slog.String("user", id))
		for range 2 {
			wg.Go(func() {
				for range 50 {
					Add(r.Context(), slog.String("user", id))
					if s := spanOf(r); !s.IsValid() {
						t.Error("the span has gone")
					}
				}
			})
		}
		io.WriteString(w, id)
	})
	for i := range 100 {
		local(h, "GET", "/users/"+strings.Repeat("x", i%7+1), "X-A", "a")
	}
	wg.Wait()
	for _, s := range g.spans.Ended() {
		attrs := attrsOf(s.Attributes())
		if !strings.HasSuffix(attrs["url.path"], "/"+attrs["user"]) {
			t.Errorf("%s has the user %q", attrs["url.path"], attrs["user"])
		}
	}
}
