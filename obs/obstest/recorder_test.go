package obstest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.opentelemetry.io/otel"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

var update = flag.Bool("update", false, "write the golden files")

// tracer is got at package level, as libraries do: before any recorder is.
var tracer = otel.Tracer("shop")

func checkout(ctx context.Context, order string, broke error) (err error) {
	ctx, span := obs.Start(ctx, "checkout", slog.String("order.id", order))
	defer span.End(&err)
	slog.DebugContext(ctx, "begun", "card.token", "planted", "n", 2)
	_, charge := tracer.Start(ctx, "charge")
	charge.End()
	if broke != nil {
		return fmt.Errorf("charge: %w", broke)
	}
	slog.InfoContext(ctx, "order paid", "order.id", order)
	return nil
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	if err := checkout(rec.Context(), "o 7", nil); err != nil {
		t.Fatal(err)
	}
	rec.Want(`
		checkout order.id="o 7"
		  DEBUG begun card.token=[REDACTED] n=2
		  charge
		  INFO order paid order.id="o 7"
	`)
	span := rec.Span("checkout")
	if span.Failed || span.Attributes["order.id"] != "o 7" || len(span.Children) != 1 || len(span.Records) != 2 {
		t.Errorf("got %+v", span)
	}
	if r := rec.Records()[0]; r.Fields["n"] != int64(2) || r.SpanID != span.ID || strings.Contains(r.Line, "planted") {
		t.Errorf("got %+v", r)
	}
	if tr := rec.Trace(rec.Records()[0].TraceID); len(tr.Roots) != 1 || tr.Roots[0].Name != "checkout" {
		t.Errorf("got %+v", tr)
	}
}

// TestParallel: what runs at the same time stays apart.
func TestParallel(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rec := obstest.New(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { _ = checkout(rec.Context(), fmt.Sprint(i), nil) })
			}
			wg.Wait()
			for _, tr := range rec.Traces() {
				if got := tr.Roots[0].Attributes["order.id"]; got != fmt.Sprint(i) {
					t.Errorf("a span of another test: %v", got)
				}
			}
			if n := len(rec.Traces()); n != 4 {
				t.Errorf("got %d traces, want 4", n)
			}
		})
	}
}

// shop is a service, as chi and net/http know it.
func shop(inventory string) http.Handler {
	client := &http.Client{Transport: obs.Transport(nil)}
	r := chi.NewRouter()
	r.Use(chiobs.Middleware)
	r.Get("/orders/{id}", func(w http.ResponseWriter, req *http.Request) {
		if err := checkout(req.Context(), chi.URLParam(req, "id"), errors.New("card declined")); err != nil {
			slog.ErrorContext(req.Context(), "checkout failed", "error", err)
		}
		out, err := http.NewRequestWithContext(req.Context(), "GET", inventory+"/stock", nil)
		if err != nil {
			panic(err)
		}
		resp, err := client.Do(out)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		http.Error(w, "no", http.StatusBadGateway)
	})
	return r
}

// TestServers: a server's requests are the test's by its handler, or by the
// trace they continue.
func TestServers(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	r := chi.NewRouter()
	r.Use(chiobs.Middleware)
	r.Get("/stock", func(w http.ResponseWriter, req *http.Request) {
		slog.InfoContext(req.Context(), "counted")
		io.WriteString(w, "3")
	})
	inventory := httptest.NewServer(r)
	t.Cleanup(inventory.Close)
	front := httptest.NewServer(rec.Handler(shop(inventory.URL)))
	t.Cleanup(front.Close)
	resp, err := http.Get(front.URL + "/orders/7")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	rec.Want(`
		GET /orders/{id} server http.response.status_code=502
		  checkout error="charge: card declined"
		    …
		  ERROR checkout failed error="charge: card declined"
		  GET client http.response.status_code=200
		    GET /stock server
		      INFO counted
		      INFO GET /stock 200
		  ERROR GET /orders/{id} 502 httpRequest.status=502
	`)
}

// TestGolden: the whole, without what differs from run to run.
func TestGolden(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	_ = checkout(rec.Context(), "7", errors.New("card declined after 1.5s at 127.0.0.1:4711"))
	ctx, span := obs.Start(rec.Context(), "ship", slog.Group("to", slog.Int("port", 80), slog.Any("ports", []int{1, 2})))
	slog.WarnContext(ctx, "late", "carrier", map[string]any{"name": "a b", "latency": "3 days"}, "trace", rec.Traces()[0].ID)
	span.End(nil)
	rec.Golden("testdata/checkout.golden")
}

// TestGoldenDiffers: in the form that returns an error, and in the other.
func TestGoldenDiffers(t *testing.T) {
	t.Parallel()
	if *update {
		t.Skip("files are written")
	}
	path := filepath.Join(t.TempDir(), "old.golden")
	if err := os.WriteFile(path, []byte("charge\nrefund\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFailing(t)
	rec := obstest.New(f)
	_, span := tracer.Start(rec.Context(), "charge")
	span.End()
	want := path + " differs (- file, + recorded; go test -update writes it anew):\n    charge\n  - refund"
	if err := rec.CheckGolden(path); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := rec.CheckGolden(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if f.Failed() {
		t.Errorf("CheckGolden fails the test: %s", &f.said)
	}
	rec.Golden(path)
	if said := f.end(); !strings.HasPrefix(said, want) {
		t.Errorf("got %s\nwant %s", said, want)
	}
}

// TestLateSpan: a span that ends after the test has begun to ask, as a server's
// after its answer.
func TestLateSpan(t *testing.T) {
	t.Parallel()
	golden := filepath.Join(t.TempDir(), "late.golden")
	if err := os.WriteFile(golden, []byte("late\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(*testing.T, *obstest.Recorder, string){
		"Want":   func(_ *testing.T, rec *obstest.Recorder, _ string) { rec.Want("late") },
		"Golden": func(_ *testing.T, rec *obstest.Recorder, _ string) { rec.Golden(golden) },
		"Span":   func(_ *testing.T, rec *obstest.Recorder, _ string) { rec.Span("late") },
		"Trace": func(t *testing.T, rec *obstest.Recorder, id string) {
			if got := rec.Trace(id); len(got.Roots) != 1 || got.Roots[0].Name != "late" {
				t.Errorf("got %s", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := obstest.New(t)
			_, span := tracer.Start(rec.Context(), "late")
			time.AfterFunc(20*time.Millisecond, func() { span.End() })
			ask(t, rec, span.SpanContext().TraceID().String())
		})
	}
}

// failing is a test that notes what it is told.
type failing struct {
	testing.TB
	mu       sync.Mutex
	said     strings.Builder
	cleanups []func()
}

func (f *failing) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.WriteString(s + "\n")
}
func (f *failing) Helper()                   {}
func (f *failing) Name() string              { return f.TB.Name() + "/failing" }
func (f *failing) Cleanup(c func())          { f.cleanups = append(f.cleanups, c) }
func (f *failing) Error(a ...any)            { f.note(fmt.Sprint(a...)) }
func (f *failing) Errorf(s string, a ...any) { f.note(fmt.Sprintf(s, a...)) }
func (f *failing) Logf(s string, a ...any)   { f.note(fmt.Sprintf(s, a...)) }
func (f *failing) Fatalf(s string, a ...any) { f.note(fmt.Sprintf(s, a...)); panic(f) }
func (f *failing) Fatal(a ...any)            { f.note(fmt.Sprint(a...)); panic(f) }
func (f *failing) Failed() bool              { return f.said.Len() > 0 }
func (f *failing) fatally(do func())         { defer func() { _ = recover() }(); do() }
func (f *failing) end() (said string)        { f.cleanups[0](); return f.said.String() }
func newFailing(t *testing.T) (f *failing)   { return &failing{TB: t} }

func TestWantFails(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	rec := obstest.New(f)
	_ = checkout(rec.Context(), "7", errors.New("declined"))
	rec.Want(`
checkout order.id=7 error="charge: declined"
  DEBUG begun
  INFO order paid
`)
	f.fatally(func() { rec.Golden("testdata/\x00") })
	said := f.end()
	for _, want := range []string{
		"    checkout\n      DEBUG begun\n  -   INFO order paid\n  +   charge\n", "go test -update", "recorded:\ntrace ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("got %s\nwant %s", said, want)
		}
	}
}

// TestDifference: what follows the first difference is found again, and only
// what differs has its attributes.
func TestDifference(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	_ = checkout(rec.Context(), "7", nil)
	for tree, want := range map[string]string{
		"checkout\n  DEBUG begun n=3\n  charge\n  INFO order paid": `
    checkout
  -   DEBUG begun n=3
  +   DEBUG begun card.token=[REDACTED] n=2
      charge
      INFO order paid`,
		"checkout\n  charge\n  INFO order paid\n  refund": `
    checkout
  +   DEBUG begun card.token=[REDACTED] n=2
      charge
      INFO order paid
  -   refund`,
		"checkout\n  charge\n  …": `
    checkout
  -   charge
  -   …
  +   DEBUG begun card.token=[REDACTED] n=2
  +   charge
  +   INFO order paid`,
	} {
		got := rec.Check(tree).Error()
		if want = "telemetry differs (- wanted, + recorded):" + want; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	if got := rec.Trace(rec.Records()[0].TraceID).String(); !strings.HasPrefix(got, "trace "+rec.Records()[0].TraceID+"\n  checkout ") {
		t.Errorf("got %s", got)
	}
}

func TestTreesDiffer(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	_ = checkout(rec.Context(), "7", nil)
	for tree, want := range map[string]bool{
		"checkout\n\tDEBUG begun\n\tcharge\n\tINFO order paid": true,
		"checkout\n  ...": true,
		"…":               true,
		"checkout\n  …\n  INFO order paid order.id=7":            true,
		"checkout\n  …\n  INFO order paid order.id=8":            false,
		"checkout\n  charge\n  …":                                false,
		"checkout server\n  …":                                   false,
		"checkou\n  …":                                           false,
		"checkout error=\"\"\n  …":                               false,
		"checkout":                                               false,
		"checkout\n  …\nmore":                                    false,
		"checkout\n  DEBUG begun n=2 card.token=[REDACTED]\n  …": true,
		"checkout\n  DEBUG begun n=2 n=3\n  …":                   false,
		"":                                                       false,
		"checkout\n    DEBUG begun\n  charge\n  INFO order paid":        false,
		"checkout order.id=7\n  DEBUG begun\n  charge\n  INFO order p…": false,
	} {
		if err := rec.Check(tree); (err == nil) != want {
			t.Errorf("%s: %v", tree, err)
		}
	}
}

// TestLeaks: a span that is open and a goroutine that runs fail the test.
func TestLeaks(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	var said string
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // a test's own goroutine, which its mark stays with
		defer close(done)
		rec := obstest.New(f)
		_, span := tracer.Start(rec.Context(), "open")
		defer span.End()
		go func() { <-stop }()
		said = f.end()
	}()
	<-done
	close(stop)
	if !strings.Contains(said, `never ended: ["open"]`) || !strings.Contains(said, "goroutines are left") || !strings.Contains(said, "TestLeaks") {
		t.Errorf("got %s", said)
	}
}

// TestTwoRecorders: what began under the first is no leak of the second.
func TestTwoRecorders(t *testing.T) {
	t.Parallel()
	outer := newFailing(t)
	obstest.New(outer)
	server := httptest.NewServer(http.NotFoundHandler())
	inner := newFailing(t)
	obstest.New(inner)
	if said := inner.end(); said != "" {
		t.Errorf("the inner one says %s", said)
	}
	server.Close()
	if said := outer.end(); said != "" {
		t.Errorf("the outer one says %s", said)
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	f.fatally(func() { obstest.New(f, obs.Options{}, obs.Options{}) })
	f.fatally(func() { obstest.New(f, obs.Options{LogFilter: "loud"}) })
	rec := obstest.New(f)
	f.fatally(func() { rec.Trace("none") })
	f.fatally(func() { rec.Span("none") })
	said := f.said.String()
	for _, want := range []string{"one Options", "loud", `no trace "none"`, `0 spans are named "none"`} {
		if !strings.Contains(said, want) {
			t.Errorf("got %s, want %s", said, want)
		}
	}
	f.end()
}

// TestEnvironment: what the shell says is nothing to a test.
func TestEnvironment(t *testing.T) {
	t.Setenv("DD_SERVICE", "shell")
	t.Setenv("DD_TRACE_SAMPLE_RATE", "nonsense")
	t.Setenv("OBS_LOG", "off")
	rec := obstest.New(t)
	_ = checkout(rec.Context(), "7", nil)
	if len(rec.Records()) != 2 {
		t.Errorf("got %v", rec.Records())
	}
}

// TestNoTest: what is given no context of a test's is made for none.
func TestNoTest(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	_, span := tracer.Start(context.Background(), "stray")
	span.End()
	if span.SpanContext().IsValid() || len(rec.Traces()) != 0 {
		t.Error("a span without a context of a test's came to one")
	}
	slog.Info("astray")
	if got := rec.String(); !strings.Contains(got, `"stray"`) || !strings.Contains(got, `"INFO astray"`) {
		t.Errorf("got %s", got)
	}
}
