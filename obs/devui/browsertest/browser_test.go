package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is the one Chromium of all tests.
var browser context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			fmt.Fprintln(os.Stderr, "no Chromium, and CI is set")
			return 1
		}
		return m.Run() // each test skips itself
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("force-color-profile", "srgb"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses root with one
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, end := chromedp.NewContext(allocator)
	defer end()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Chromium does not start:", err)
		return 1
	}
	browser = ctx
	return m.Run()
}

// tab is a page of its own on a system's viewer.
type tab struct {
	*testing.T
	ctx context.Context
	url string

	mu       sync.Mutex // guards what follows
	problems []string   // that the page had
	requests []string
}

type look struct {
	width, height int64
	scheme        string
	mobile        bool
}

var desk = look{width: 1280, height: 820, scheme: "light"}

func open(t *testing.T, s *system, l look, hash string) *tab {
	t.Helper()
	if browser == nil {
		t.Skip("no Chromium: apt-get install chromium")
	}
	if err := s.viewer.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.viewer)
	t.Cleanup(srv.Close)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		t.Fatal(err)
	}
	b := &tab{T: t, ctx: ctx, url: srv.URL + "/debug/obs/"}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	var options []chromedp.EmulateViewportOption
	if l.mobile {
		options = append(options, chromedp.EmulateMobile)
	}
	b.do(chromedp.EmulateViewport(l.width, l.height, options...), chromedp.Navigate(b.url+hash))
	t.Cleanup(b.clean)
	return b
}

// listen notes what a page must not do: fail, or ask for more than its own.
func (b *tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, describe(ev.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			b.problems = append(b.problems, fmt.Sprint("console: ", ev.Args))
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, ev.Request.URL)
	case *page.EventJavascriptDialogOpening:
		b.problems = append(b.problems, "a dialog: "+ev.Message)
	}
}

// clean fails the test for what the page noted.
func (b *tab) clean() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.Errorf("the page: %s", p)
	}
}

func (b *tab) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.requests...)
}

// bounded is the tab's context with a bound, which is no expectation.
func (b *tab) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, 20*time.Second)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := b.bounded()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatal(err)
	}
}

func get[T any](b *tab, a chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := b.bounded()
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.Helper()
	ctx, cancel := b.bounded()
	defer cancel()
	v, err := chromedp.Call(ctx, c, params)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// script puts JSON of args into a JavaScript expression.
func (b *tab) script(js string, args []any) string {
	b.Helper()
	texts := make([]any, len(args))
	for i, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			b.Fatal(err)
		}
		texts[i] = text
	}
	return fmt.Sprintf(js, texts...)
}

// eval returns what a JavaScript expression is.
func eval[T any](b *tab, js string, args ...any) T {
	b.Helper()
	return get(b, chromedp.Evaluate[T](b.script(js, args), chromedp.EvalAwaitPromise))
}

// act runs JavaScript.
func (b *tab) act(js string, args ...any) {
	b.Helper()
	eval[chromedp.Void](b, js, args...)
}

// until waits for a JavaScript expression to hold.
func (b *tab) until(js string, args ...any) {
	b.Helper()
	js = b.script(js, args)
	ctx, cancel := b.bounded()
	defer cancel()
	for {
		held, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		if held {
			return
		}
		if err == nil {
			err = chromedp.Do(ctx, chromedp.Sleep(30*time.Millisecond))
		}
		if err != nil {
			seen, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 2000)"))
			b.Fatalf("%v: %s\n%s", err, js, seen)
		}
	}
}

func (b *tab) key(keys string) { b.Helper(); b.do(chromedp.KeyEvent(keys)) }

// slash presses the key, as one event: of two the second would not know that
// the first was taken.
func (b *tab) slash() {
	b.Helper()
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"})
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "/"})
	b.until(`document.activeElement.id === 'search'`)
}

// shot keeps what is seen, for people.
func (b *tab) shot(name string) []byte {
	b.Helper()
	png := get(b, chromedp.CaptureScreenshot())
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("screenshots", name+".png"), png, 0o600); err != nil {
		b.Fatal(err)
	}
	return png
}

func describe(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Text + " " + e.Exception.Description
	}
	return e.Text
}
