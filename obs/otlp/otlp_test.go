package otlp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// TestCorrelation: records and spans arrive with the same ids and the same
// resource.
func TestCorrelation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.work("7")
		r.work("8")
		if err := r.tel.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		spans, records := r.got("span"), r.got("record")
		var rows []string
		for _, rec := range records {
			if !strings.HasPrefix(rec.text, "INFO in") && !strings.HasPrefix(rec.text, "WARN in") {
				continue
			}
			i := slices.IndexFunc(spans, func(s item) bool { return s.span == rec.span && s.trace == rec.trace })
			if i < 0 {
				t.Fatalf("%q has no span among those that arrived", rec.text)
			}
			if diff := cmp.Diff(spans[i].resource, rec.resource); diff != "" {
				t.Errorf("resources (-span +record):\n%s", diff)
			}
			rows = append(rows, fmt.Sprintf("%s | %s | order %s", rec.text, spans[i].text, rec.attrs["order.id"]))
		}
		want := []string{
			"INFO in root 7 | root 7 | order ", "WARN in child 7 | child 7 | order 7",
			"INFO in root 8 | root 8 | order ", "WARN in child 8 | child 8 | order 8",
		}
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Error(diff)
		}
		res := spans[0].resource
		if res["service.name"] != "shop" || res["service.version"] != "1.2" || res["deployment.environment.name"] != "prod" {
			t.Errorf("resource: %v", res)
		}
		if err := r.tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s, l := r.balanced(t); s.Spans.Sent != 4 || l.Sent != l.Emitted {
			t.Errorf("got %+v, %+v", s.Spans, l)
		}
		if again := r.out.said("in child"); len(again) != 2 { // asked for by LogWriter
			t.Errorf("printed: %q", again)
		}
	})
}
