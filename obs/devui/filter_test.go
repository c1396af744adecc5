package devui

import (
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.request("/orders/1", 200, nil)
	r.request("/orders/2", 404, nil)
	r.request("/orders/3", 500, errDeclined)
	_, span := r.tracer.Start(t.Context(), "nightly Éclair", trace.WithAttributes(attribute.String("Customer", "Ada Lovelace"), attribute.Int64("rows", 7)))
	span.End()
	r.flush(t)
	post(t, r.Agent(), "/v0.4/traces", "application/msgpack", payloadV04())
	r.logger.Info("of no trace: Lovelace")
	r.flush(t)
	id := span.SpanContext().TraceID().String()
	all := []string{"/orders/1", "/orders/2", "/orders/3", "nightly Éclair", "Orders#show"}
	tests := []struct {
		query string
		want  []string
	}{
		{"", all},
		{"q=lovelace", []string{"nightly Éclair"}},
		{"q=LOVELACE+ada", []string{"nightly Éclair"}},
		{"q=lovelace+orders", nil},
		{"q=ORDER.LOAD", []string{"/orders/1", "/orders/2", "/orders/3"}},
		{"q=declined", []string{"/orders/3"}},
		{"q=not+loaded", []string{"/orders/3"}},
		{"q=éclair", []string{"nightly Éclair"}},
		{"q=Éclair", []string{"nightly Éclair"}},
		{"q=" + id[:9], []string{"nightly Éclair"}},
		{"q=nowhere", nil},
		{"service=web", []string{"Orders#show"}},
		{"service=none", nil},
		{"route=" + url.QueryEscape("/orders/{id}"), []string{"/orders/1", "/orders/2", "/orders/3"}},
		{"status=404", []string{"/orders/2"}},
		{"status=5xx", []string{"/orders/3", "Orders#show"}},
		{"failed=1", []string{"/orders/3", "Orders#show"}},
		{"failed=1&service=shop", []string{"/orders/3"}},
		{"min=1h", nil},
		{"min=1ns", all},
		{"level=error", []string{"/orders/3"}},
		{"level=info", []string{"/orders/1", "/orders/2", "/orders/3"}},
		{"trace=" + id, []string{"nightly Éclair"}},
	}
	for _, tt := range tests {
		var got []string
		for _, row := range get[update](t, r, "/api/traces?"+tt.query).Traces {
			if row.Path != "" {
				got = append(got, row.Path)
			} else {
				got = append(got, row.Name)
			}
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(tt.want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.query, diff)
		}
	}
	for query, want := range map[string]int{"": 4, "level=error": 1, "q=lovelace": 1, "q=items": 2, "trace=" + id: 0, "q=none": 0} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFilter(q)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.store.since(0, f, false, true).Logs; len(got) != want {
			t.Errorf("records, %s: got %d, want %d", query, len(got), want)
		}
	}
	for _, query := range []string{"status=6xx", "status=xx", "status=99", "status=-404", "min=5", "level=x", "trace=00"} {
		q, _ := url.ParseQuery(query)
		if _, err := parseFilter(q); err == nil {
			t.Errorf("%s: no error", query)
		}
	}
}
