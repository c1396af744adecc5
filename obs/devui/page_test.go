package devui

import (
	"io/fs"
	"path"
	"regexp"
	"testing"
)

// TestPage holds the files to the policy that they are served under: nothing
// from elsewhere, no script or style within the markup, and no way by which a
// text becomes markup.
func TestPage(t *testing.T) {
	t.Parallel()
	banned := map[string]*regexp.Regexp{
		".html": regexp.MustCompile(`https?://|<style|style=|<script>|\son[a-z]+=|javascript:`),
		".js":   regexp.MustCompile(`https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|setAttribute\('style'`),
		".css":  regexp.MustCompile(`https?://|@import|url\(`),
		".svg":  regexp.MustCompile(`<script|\son[a-z]+=|href=`),
	}
	files, err := fs.ReadDir(page, "page")
	if err != nil {
		t.Fatal(err)
	}
	v, total := newRig(t, Options{}), 0
	for _, f := range files {
		body, err := page.ReadFile("page/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		total += len(body)
		ban := banned[path.Ext(f.Name())]
		if ban == nil || kinds[path.Ext(f.Name())] == "" {
			t.Errorf("%s: a kind of file that is not served", f.Name())
			continue
		}
		if found := ban.Find(body); found != nil {
			t.Errorf("%s: %q", f.Name(), found)
		}
		if w := serve(v, request(t, "GET", "/x/"+f.Name())); w.Code != 200 || w.Body.Len() != len(body) {
			t.Errorf("%s: %d", f.Name(), w.Code)
		}
	}
	t.Logf("%d files, %d bytes", len(files), total)
}
