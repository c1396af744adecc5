package recipes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/chiobs"
	"github.com/kumihimo/kumihimo/obs"
)

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServeMux(t *testing.T) {
	w := start(t)
	server := httptest.NewServer(NewServeMux())
	defer server.Close()
	if got := get(t, server.URL+"/users/7"); got != "user 7" {
		t.Fatalf("got %q", got)
	}
	server.Close() // and the record is written
	if err := w.tel.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range w.agent.Spans() {
		found = found || s.Resource == "GET /users/{id}" && s.Meta["http.route"] == "/users/{id}" && s.Kind == "server"
	}
	if !found || !strings.Contains(w.log.String(), `"http.route":"/users/{id}"`) {
		t.Errorf("no span or record of the route")
	}
}

// TestFunction: the span is with the agent when the answer is with the client.
func TestFunction(t *testing.T) {
	w := start(t)
	id := make(chan string, 1)
	server := httptest.NewServer(Function(w.tel, func(_ http.ResponseWriter, r *http.Request) {
		id <- trace.SpanContextFromContext(r.Context()).TraceID().String()
	}))
	defer server.Close()
	get(t, server.URL)
	traceID, n := <-id, 0
	for _, s := range w.agent.Spans() {
		if s.TraceID == traceID {
			n++
		}
	}
	if n != 1 {
		t.Errorf("got %d spans, want the request's", n)
	}
}

// TestPubSub: the consumer's span is in a trace of its own, or the push
// request's, and links to the publisher's, by whichever names its client has.
func TestPubSub(t *testing.T) {
	w := start(t)
	var sent Message
	ctx, root := obs.Start(t.Context(), "order")
	err := Publish(ctx, "orders", Message{ID: "m7", Data: []byte("tea"), Attributes: map[string]string{"k": "v"}},
		func(_ context.Context, m Message) error { sent = m; return nil })
	if err != nil || sent.Attributes["k"] != "v" || sent.Attributes["traceparent"] == "" {
		t.Fatalf("got %v, %v", sent.Attributes, err)
	}
	root.End(nil)
	publisherTrace := trace.SpanContextFromContext(ctx).TraceID().String()
	producer := w.spans(t, publisherTrace)["orders publish"]
	if producer.Kind != "producer" {
		t.Fatalf("got %+v", producer)
	}
	googles := Message{ID: "m8", Attributes: map[string]string{"googclient_traceparent": sent.Attributes["traceparent"]}}
	for _, m := range []Message{sent, googles} {
		for _, failure := range []error{nil, errors.New("no tea")} {
			var pulled, pushed string
			work := func(id *string) func(context.Context, Message) error {
				return func(ctx context.Context, m Message) error {
					*id = trace.SpanContextFromContext(ctx).TraceID().String()
					slog.InfoContext(ctx, "at work", "message", m.ID)
					return failure
				}
			}
			if err := Process(t.Context(), "orders", m, work(&pulled)); !errors.Is(err, failure) {
				t.Fatal(err)
			}
			body, err := json.Marshal(map[string]any{"message": m, "subscription": "projects/p/subscriptions/s"})
			if err != nil {
				t.Fatal(err)
			}
			rec := httptest.NewRecorder()
			chiobs.Middleware(Push("orders", work(&pushed))).ServeHTTP(rec, httptest.NewRequest("POST", "/push", bytes.NewReader(body)))
			if got := rec.Code >= 500; got != (failure != nil) {
				t.Errorf("push: got %d", rec.Code)
			}
			for _, id := range []string{pulled, pushed} {
				s := w.spans(t, id)["orders process"]
				if id == publisherTrace || s.Kind != "consumer" || s.Error != (failure != nil) || s.Meta["messaging.message.id"] != m.ID {
					t.Errorf("got %+v", s)
				}
				if len(s.Links) != 1 || s.Links[0].TraceID != publisherTrace || s.Links[0].SpanID != producer.SpanID {
					t.Errorf("got links %+v, want the publisher", s.Links)
				}
			}
		}
	}
}
