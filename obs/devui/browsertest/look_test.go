package browsertest

import (
	_ "embed"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe.min.js
var axe string

// violation is what axe-core found.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// TestLooks keeps pictures of every view in both schemes and at two widths, and
// asks axe-core what people who see or use them otherwise would stumble over.
func TestLooks(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "shop", "inventory", "payments")
	failed := s.day(240)
	id := failed.SpanContext().TraceID().String()
	for name, l := range map[string]look{
		"light": desk, "dark": {1280, 820, "dark", false}, "narrow-light": {400, 800, "light", true}, "narrow-dark": {400, 800, "dark", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, s, l, "")
			b.until(requestRows + ` > 8`)
			b.seen(name + "-requests")
			b.act(`location.hash = %s`, "#/trace/"+id)
			b.until(spanRows + ` > 8`)
			b.seen(name + "-trace")
			b.act(`[...document.querySelectorAll('#waterfall .row')].find(r => r.innerText.includes('bank.authorize')).click()`)
			b.until(`document.querySelector('.panel .problem pre')`)
			b.act(`document.querySelectorAll('.panel details').forEach(d => { d.open = true; })`)
			b.check(name + "-panel")
			b.act(`document.querySelectorAll('.panel details').forEach(d => { d.open = !/Datadog form|Process/.test(d.innerText); })`)
			b.seen(name + "-span")
			b.act(`location.hash = '#/logs'`)
			b.until(`document.querySelectorAll('#logs .space .row').length > 8`)
			b.act(`document.querySelectorAll('#logs .space .row')[9].click()`)
			b.until(`!document.querySelector('.record').hidden`)
			b.seen(name + "-logs")
			b.act(`location.hash = '#/requests?q=nothing+has+this'`)
			b.until(`!document.querySelector('.empty').hidden`)
			b.seen(name + "-empty")
			dark := eval[bool](b, `getComputedStyle(document.body).backgroundColor.match(/\d+/)[0] < 60`)
			if dark != (l.scheme == "dark") {
				t.Errorf("%s: the page is dark: %t", l.scheme, dark)
			}
		})
	}
}

// seen keeps a picture and checks what is in it.
func (b *tab) seen(name string) {
	b.Helper()
	b.shot(name)
	b.check(name)
}

func (b *tab) check(name string) {
	b.Helper()
	if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		b.Errorf("%s: the page is %d pixels wider than the window", name, wide)
	}
	// The page's policy forbids what axe does to measure colours.
	call(b, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
	if !eval[bool](b, `Boolean(window.axe)`) {
		get(b, chromedp.Evaluate[chromedp.Void](axe+";undefined"))
	}
	type result struct {
		Passes     int
		Violations []violation
	}
	r := eval[result](b, `axe.run(document, { resultTypes: ['violations'] }).then(r => ({ passes: r.passes.length, violations: r.violations.map(v => (
		{ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map(n => ({ html: n.html, failureSummary: n.failureSummary })) })) }))`)
	serious := 0
	for _, v := range r.Violations {
		report := b.Logf
		if v.Impact == "serious" || v.Impact == "critical" {
			serious++
			report = b.Errorf
		}
		report("%s: axe: %s (%s): %s: %+v", name, v.ID, v.Impact, v.Help, v.Nodes)
	}
	b.Logf("%s: axe: %d rules hold, %d do not, %d of them serious", name, r.Passes, len(r.Violations), serious)
}
