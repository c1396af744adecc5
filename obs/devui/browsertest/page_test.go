package browsertest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

const (
	requestRows = `document.querySelectorAll('#requests .space .row').length`
	names       = `[...document.querySelectorAll('#requests .space .row')].sort((a, b) => a.dataset.index - b.dataset.index).map(r => r.querySelector('a').textContent)`
	spanRows    = `document.querySelectorAll('#waterfall .space .row').length`
	count       = `document.querySelector('.count').textContent`
)

func TestList(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	for i := range 3 {
		s.now = s.now.Add(time.Second)
		s.order(i, ms, i == 1)
	}
	b := open(t, s, desk, "")
	b.until(requestRows + ` === 3`)
	if got := fmt.Sprint(eval[[]string](b, names)); got != "[GET /orders/2 GET /orders/1 GET /orders/0]" {
		t.Errorf("newest first: got %s", got)
	}
	failed := eval[string](b, `document.querySelector('#requests .row.failed').innerText`)
	for _, want := range []string{"/orders/1", "error", "502", "118 ms", "shop +2", "12", "5"} {
		if !strings.Contains(strings.Join(strings.Fields(failed), " "), want) {
			t.Errorf("the failed request's row lacks %q: %q", want, failed)
		}
	}
}

// TestScriptsAreText: whoever sends a span chooses its names.
func TestScriptsAreText(t *testing.T) {
	t.Parallel()
	const script = `<img src=x onerror="alert(1)"><script>alert(2)</script>`
	s := newSystem(t, "shop", script)
	span := s.span(t.Context(), script, script, in, 0, 5*ms, []attribute.KeyValue{
		attribute.String(script, script), attribute.String("http.route", script), attribute.String("http.request.method", script), attribute.String("url.path", "javascript:alert(3)"),
	}, func(ctx context.Context, span trace.Span) {
		s.log(ctx, ms, slog.LevelError, script, script, script)
		span.AddEvent(script, trace.WithAttributes(attribute.String(script, script)))
	})
	id := span.SpanContext().TraceID().String()
	for _, hash := range []string{"", "#/logs", "#/trace/" + id, "#/trace/" + id + "?span=" + span.SpanContext().SpanID().String()} {
		b := open(t, s, desk, hash)
		b.until(`document.querySelector('main').textContent.includes('<script>alert(2)')`)
		if n := eval[int](b, `document.querySelectorAll('main img, main script').length`); n != 0 {
			t.Errorf("%s: %d elements that a name made", hash, n)
		}
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	b := open(t, s, desk, "")
	b.until(`document.querySelector('.empty').innerText.includes('No requests yet')`)
	s.order(1, ms, false)
	b.until(requestRows + ` === 1`)
	b.key("p")
	b.until(`document.querySelector('#live').innerText.startsWith('Paused')`)
	s.order(2, ms, false)
	b.until(`document.querySelector('#live').innerText === 'Paused · 1 new'`)
	if n := eval[int](b, requestRows); n != 1 {
		t.Errorf("%d rows while paused, want 1", n)
	}
	b.act(`document.querySelector('#live').click()`)
	b.until(requestRows + ` === 2 && document.querySelector('#live').innerText === 'Live'`)
}

// TestIdle: a page that nobody uses asks for nothing.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	root := s.order(1, ms, false)
	for _, hash := range []string{"", "#/logs", "#/trace/" + root.SpanContext().TraceID().String()} {
		b := open(t, s, desk, hash)
		b.until(`document.querySelectorAll('.space .row').length > 0`)
		before := len(b.sent())
		b.do(chromedp.Sleep(1500 * time.Millisecond))
		for _, url := range b.sent()[before:] {
			if !strings.HasSuffix(url, "icon.svg") { // which the browser takes its time for
				t.Errorf("%s: idle, the page asked for %s", hash, url)
			}
		}
		streams := 0
		for _, url := range b.sent() {
			if strings.Contains(url, "api/stream") {
				streams++
			}
			if !strings.HasPrefix(url, b.url) {
				t.Errorf("%s: the page asked another server: %s", hash, url)
			}
		}
		if streams != 1 {
			t.Errorf("%s: %d streams, want 1", hash, streams)
		}
	}
}

func TestSearchAndFilters(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	s.day(60)
	b := open(t, s, desk, "")
	b.until(count + ` === '60 requests'`)
	b.slash()
	b.key("declined")
	b.until(count + ` === '3 requests' && location.hash === '#/requests?q=declined'`)
	b.do(chromedp.Reload()) // the address says it all
	b.until(count + ` === '3 requests' && document.querySelector('#search').value === 'declined'`)
	b.key(kb.Escape)
	b.until(count + ` === '60 requests'`)
	for _, tt := range []struct{ label, value, want string }{
		{"Service", "payments", "39 requests"}, {"Service", "", "60 requests"},
		{"Route", "/articles", "18 requests"}, {"Route", "", "60 requests"},
		{"Status", "4xx", "3 requests"}, {"Status", "", "60 requests"},
		{"Log level", "error", "3 requests"}, {"Log level", "", "60 requests"},
	} {
		b.act(`{ const el = document.querySelector('select[aria-label="' + %s + '"]'); el.value = %s; el.dispatchEvent(new Event('change')); }`, tt.label, tt.value)
		b.until(count+` === %s`, tt.want)
	}
	b.act(`[...document.querySelectorAll('.filters .chip')].find(c => c.innerText === 'Errors').click()`)
	b.until(count + ` === '3 requests' && location.hash.includes('failed=1')`)
	b.act(`[...document.querySelectorAll('.filters .chip')].find(c => c.innerText === 'Reset').click()`)
	b.until(count + ` === '60 requests'`)
	b.act(`document.querySelector('.filters input').focus()`)
	b.key("500")
	b.until(count + ` === '2 requests' && location.hash.includes('min=500ms')`)
}

func TestBrush(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	s.day(60)
	b := open(t, s, desk, "")
	b.until(count + ` === '60 requests'`)
	box := eval[map[string]float64](b, `document.querySelector('.plot canvas').getBoundingClientRect().toJSON()`)
	y := box["y"] + 30 // the slow ones are above
	b.do(chromedp.DragAndDropXY(box["x"]+60, box["y"]+4, box["right"]-10, y, 4))
	b.until(count + ` === '2 requests'`)
	b.act(`document.querySelector('.plot .chip').click()`)
	b.until(count + ` === '60 requests'`)
}

// bar is where a row shows a span, as shares of the width there is.
type bar struct {
	Name        string
	Left, Right float64
	Level       string
	Critical    int
	Ticks       []float64
}

const bars = `[...document.querySelectorAll('#waterfall .space .row')].sort((a, b) => a.dataset.index - b.dataset.index).map(r => {
	const cell = r.querySelector('.w1').getBoundingClientRect(), at = (x) => (x - cell.left - 1) / (cell.width - 1);
	const bar = r.querySelector('.span-bar').getBoundingClientRect();
	return { Name: r.querySelector('.label').textContent, Left: at(bar.left), Right: at(bar.right), Level: r.getAttribute('aria-level'),
		Critical: r.querySelectorAll('.critical').length, Ticks: [...r.querySelectorAll('.tick')].map(t => { const b = t.getBoundingClientRect(); return at((b.left + b.right) / 2); }) };
})`

func TestWaterfall(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	root := s.order(7, ms, true)
	b := open(t, s, desk, "#/trace/"+root.SpanContext().TraceID().String())
	b.until(spanRows + ` === 12`)
	got := eval[[]bar](b, bars)
	want := []struct {
		name     string
		from, to float64
		level    string
		critical bool
		ticks    []float64
	}{
		{"GET /orders/{id}", 0, 118, "1", true, []float64{2, 116}},
		{"auth.verify", 1, 10, "2", true, nil},
		{"order.load", 11, 69, "2", true, nil},
		{"SELECT orders", 12, 29, "3", true, nil},
		{"GET", 30, 66, "3", true, nil},
		{"GET /stock/{id}", 33, 62, "4", true, nil},
		{"redis GET", 34, 38, "5", true, nil},
		{"stock.count", 39, 60, "5", true, []float64{58}},
		{"POST", 71, 111, "2", true, nil},
		{"POST /charge", 74, 108, "3", true, []float64{106}},
		{"risk.score", 76, 88, "4", true, nil},
		{"bank.authorize", 89, 106, "4", true, []float64{104}},
	}
	const tolerance = 0.004 // two pixels
	near := func(got, at float64) bool { return math.Abs(got-at/118) < tolerance }
	for i, w := range want {
		g := got[i]
		if g.Name != w.name || !near(g.Left, w.from) || !near(g.Right, w.to) || g.Level != w.level || (g.Critical > 0) != w.critical || len(g.Ticks) != len(w.ticks) {
			t.Errorf("row %d: got %+v, want %+v", i, g, w)
			continue
		}
		for j := range w.ticks {
			if !near(g.Ticks[j], w.ticks[j]) {
				t.Errorf("%s: a record at %v, want %v", w.name, g.Ticks[j], w.ticks[j]/118)
			}
		}
	}
	b.key("c") // without the critical path
	b.until(`!document.querySelector('.critical')`)
	b.act(`[...document.querySelectorAll('#waterfall .row')].find(r => r.innerText.includes('order.load')).click()`)
	b.key(kb.ArrowLeft)
	b.until(spanRows + ` === 7`)
	b.key(kb.ArrowRight)
	b.until(spanRows + ` === 12`)
	b.slash()
	b.key("bank")
	b.until(`document.querySelectorAll('#waterfall .row.faded').length === 11`)
}

func TestMissingParents(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	lost := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), lost)
	s.span(ctx, "shop", "first", in, 0, 10*ms, nil, func(ctx context.Context, _ trace.Span) {
		s.span(ctx, "shop", "below", inside, ms, 5*ms, nil, nil)
	})
	s.span(ctx, "inventory", "second", in, 20*ms, 10*ms, nil, nil)
	b := open(t, s, desk, "#/trace/"+lost.TraceID().String())
	b.until(spanRows + ` === 3`)
	if text := eval[string](b, `document.querySelector('#waterfall').innerText`); strings.Count(text, "no parent") != 2 {
		t.Errorf("want two spans without a parent: %q", text)
	}
	got := eval[[]bar](b, bars)
	if got[0].Name != "first" || got[1].Level != "2" || got[2].Left < 0.6 {
		t.Errorf("got %+v", got)
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	root := s.order(7, ms, true)
	id := root.SpanContext().TraceID().String()
	b := open(t, s, desk, "#/trace/"+id)
	b.until(spanRows + ` === 12`)
	b.act(`[...document.querySelectorAll('#waterfall .row')].find(r => r.innerText.includes('bank.authorize')).click()`)
	b.until(`document.querySelector('.panel .problem')`)
	b.act(`document.querySelectorAll('.panel details').forEach(d => { d.open = true; })`)
	text := eval[string](b, `document.querySelector('.panel').innerText`)
	for _, want := range []string{"*bank.Declined", "charge 9900 cents: card declined", "client.go:88", "bank declined", "cents", "9900", "client.request", "payments",
		id, `trace:"` + id, "service.version", "1.4.2", "github.com/acme/payments"} {
		if !strings.Contains(text, want) {
			t.Errorf("the panel lacks %q: %s", want, text)
		}
	}
	if !strings.Contains(eval[string](b, `location.hash`), "span=") {
		t.Error("the address does not name the span")
	}
	b.do(chromedp.Reload())
	b.until(`document.querySelector('.panel .problem') && document.querySelector('#waterfall .row.selected')`)
}

func TestLogJump(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	s.day(60)
	b := open(t, s, desk, "#/logs")
	rows := `document.querySelectorAll('#logs .space .row').length`
	b.until(rows + ` > 8`)
	all := eval[string](b, count)
	b.act(`{ const el = document.querySelector('select[aria-label="Level"]'); el.value = 'error'; el.dispatchEvent(new Event('change')); }`)
	b.until(rows + ` === 3`)
	b.act(`document.querySelector('#logs .row a').click()`)
	b.until(`document.querySelector('.records .chosen .message')?.textContent === 'payment failed' && document.querySelector('#waterfall .row.selected .label').textContent === 'POST /charge'`)
	b.act(`document.querySelector('.records .chosen a').click()`)
	b.until(`document.querySelector('#logs .row.selected .message')?.textContent === 'payment failed'`)
	b.until(count+` === %s`, all)
	b.key("k")
	b.until(`document.querySelector('.record h2').innerText.includes('bank declined')`)
	b.key(kb.Enter)
	b.until(spanRows + ` === 12 && document.querySelector('.records .chosen')`)
	// A tick leads to its record.
	b.act(`document.querySelector('#waterfall .row .tick').click()`)
	b.until(`document.querySelector('.records .chosen .message')?.textContent === 'order requested'`)
}

func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	for i := range 5 {
		s.now = s.now.Add(time.Second)
		s.order(i, ms, false)
	}
	b := open(t, s, desk, "")
	b.until(requestRows + ` === 5`)
	selected := `document.querySelector('#requests .row.selected a')?.textContent`
	b.key("jjj")
	b.until(selected + ` === 'GET /orders/2'`)
	b.key("k")
	b.until(selected + ` === 'GET /orders/3'`)
	if id := eval[string](b, `document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).querySelector('a').textContent`); id != "GET /orders/3" {
		t.Errorf("the active descendant is %q", id)
	}
	b.key(kb.Enter)
	b.until(spanRows + ` === 12`)
	b.key("jj")
	b.until(`document.querySelector('.panel h2').textContent === 'auth.verify'`)
	b.key(kb.Escape)
	b.until(`!document.querySelector('.panel h2') || document.querySelector('.panel h2').textContent === 'Log records'`)
	b.key(kb.Escape)
	b.until(selected + ` === 'GET /orders/3'`) // where one was
	b.slash()
	b.key(kb.Escape)
	b.until(`document.activeElement.id === 'requests'`)
	b.key(kb.End)
	b.until(selected + ` === 'GET /orders/0'`)
}

func TestFile(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	root := s.order(7, ms, true)
	id := root.SpanContext().TraceID().String()
	from := open(t, s, desk, "#/trace/"+id)
	from.until(spanRows + ` === 12`)
	text := eval[string](from, `fetch(document.querySelector('.tools a').href).then(r => r.text())`)
	file := filepath.Join(t.TempDir(), "trace.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, newSystem(t), desk, "") // another viewer, which has nothing
	b.until(`document.querySelector('.empty').innerText.includes('No requests yet')`)
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	b.until(spanRows + ` === 12 && document.querySelector('.titles').innerText.includes('from a file')`)
	b.act(`[...document.querySelectorAll('#waterfall .row')].find(r => r.innerText.includes('bank.authorize')).click()`)
	b.until(`document.querySelector('.panel .problem pre')?.textContent.includes('client.go:88')`)
	if again := eval[string](b, `document.querySelector('.tools a').href`); !strings.HasPrefix(again, "blob:") {
		t.Errorf("exported again: %s", again)
	}
	for _, url := range b.sent() {
		if strings.Contains(url, "api/traces") {
			t.Errorf("the server was asked for what was in the file: %s", url)
		}
	}
	if err := os.WriteFile(file, []byte(`{"format":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	b.until(`document.querySelector('#notice').textContent.includes('no trace')`)
}

// TestLargeTrace measures, and wants few elements: how long it takes is the
// machine's affair too.
func TestLargeTrace(t *testing.T) {
	s := newSystem(t, "shop", "inventory", "payments")
	root := s.wide(5000)
	s.order(1, ms, false)
	b := open(t, s, desk, "")
	b.until(requestRows + ` === 2`)
	best := math.Inf(1)
	for range 5 {
		took := eval[float64](b, `(async () => {
			location.hash = '#/requests';
			await new Promise(r => setTimeout(r, 300));
			const began = performance.now();
			location.hash = %s;
			while (document.querySelectorAll('#waterfall .space .row').length < 10) await new Promise(requestAnimationFrame);
			await new Promise(requestAnimationFrame);
			const took = performance.now() - began;
			location.hash = '#/trace/' + '0'.repeat(31) + '1';
			await new Promise(r => setTimeout(r, 300));
			return took;
		})()`, "#/trace/"+root.SpanContext().TraceID().String())
		best = min(best, took)
	}
	t.Logf("a trace of 5,000 spans opens in %.0f ms, the best of 5", best)
	b.act(`location.hash = %s`, "#/trace/"+root.SpanContext().TraceID().String())
	b.until(spanRows + ` > 10`)
	if n := eval[int](b, spanRows); n > 80 {
		t.Errorf("%d rows are in the document, want those in sight", n)
	}
	b.key(kb.End)
	b.until(`document.querySelector('#waterfall .row.selected')?.dataset.index === '4999'`)
	b.shot("large")
}
