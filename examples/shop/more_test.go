package shop_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/kumihimo/kumihimo/examples/shop"
	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

var _ = flag.Bool("update", false, "write the golden files")

// post sends one request to the shop, as part of the recorder's test.
func post(rec *obstest.Recorder, path string) int {
	w := httptest.NewRecorder()
	shop.New().ServeHTTP(w, httptest.NewRequest("POST", path, nil).WithContext(rec.Context()))
	return w.Code
}

func TestDeclined(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	post(rec, "/orders/13/pay")
	if span := rec.Span("charge"); !span.Failed || span.Error != "card declined" {
		t.Errorf("got %+v", span)
	}
	last := rec.Records()[len(rec.Records())-1] // the access record
	if last.Severity != "WARNING" || rec.Trace(last.TraceID).Roots[0].Attributes["http.response.status_code"] != int64(402) {
		t.Errorf("got %s", last.Line)
	}
	if err := rec.Check("…\nPOST /refunds server\n…"); err == nil {
		t.Error("a refund of what was not paid")
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	post(rec, "/orders/13/pay")
	rec.Golden("testdata/declined.golden")
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]int{"7": 200, "8": 200, "13": 402} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			rec := obstest.New(t)
			if got := post(rec, "/orders/"+id+"/pay"); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
			if got := rec.Span("pay").Attributes["order.id"]; got != id {
				t.Errorf("got the span of order %v", got)
			}
		})
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	server := httptest.NewServer(rec.Handler(shop.New()))
	t.Cleanup(server.Close)
	resp, err := http.Post(server.URL+"/orders/7/pay", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	rec.Want(`
		POST /orders/{id}/pay server
		  …
		  INFO order paid order.id=7
		  …
	`)
}

func TestSampledAway(t *testing.T) {
	t.Parallel()
	rec := obstest.NewIn(t, map[string]string{"DD_TRACE_SAMPLE_RATE": "0", "OBS_LOG": "info"})
	post(rec, "/orders/7/pay")
	rec.Want(`
		INFO order paid
		INFO POST /orders/{id}/pay 200
	`)
}

func TestAgentFails(t *testing.T) {
	t.Parallel()
	cloud := obstest.StartCloud(t, emulator.CloudOptions{
		Agent: emulator.AgentOptions{Fault: emulator.Times(1, emulator.Status(503))},
	})
	rec := obstest.NewIn(t, cloud.Environ(), obs.Options{Service: "shop"})
	if got := post(rec, "/orders/7/pay"); got != 200 {
		t.Errorf("got %d, want 200 whatever the agent does", got)
	}
	if err := rec.Telemetry().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if spans := cloud.Agent.Spans(); !slices.ContainsFunc(spans, func(s emulator.Span) bool { return s.Resource == "charge" }) {
		t.Errorf("the agent has\n%s", emulator.Tree(spans))
	}
	if s := rec.Telemetry().Stats().Spans; s.Sent != 3 || s.Dropped.Total() != 0 || cloud.FrontEnd.Refused() != 0 {
		t.Errorf("got %+v", s)
	}
}
