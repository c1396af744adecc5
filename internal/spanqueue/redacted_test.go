package spanqueue

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestRedacted(t *testing.T) {
	t.Parallel()
	const url = "https://user:planted@host.example/path?sig=planted&a=1"
	secrets := []attribute.KeyValue{
		attribute.String("db.password", "planted"), attribute.StringSlice("cookie", []string{"planted"}),
		attribute.String("url.full", url), attribute.String("url.query", "token=planted&a=1"),
		attribute.String("exception.message", "Get "+url+": refused"), attribute.Int("token", 7),
		attribute.Map("user", attribute.String("id", "u7"), attribute.Slice("logins",
			attribute.MapValue(attribute.String("token", "planted"), attribute.Bool("secret", true)))),
	}
	stub := tracetest.SpanStub{
		Name: "s", Attributes: secrets, Events: []sdktrace.Event{{Name: "e", Attributes: secrets}},
		Links: []sdktrace.Link{{Attributes: secrets}}, Status: sdktrace.Status{Code: codes.Error, Description: "Get " + url + ": refused"},
	}
	s := stub.Snapshot()
	got := Redacted(s, nil)
	text := fmt.Sprint(got.Attributes(), got.Events(), got.Links(), got.Status())
	if strings.Contains(text, "planted") || strings.Count(text, "host.example/path") != 7 || strings.Count(text, "a=1") != 10 {
		t.Errorf("got %s", text)
	}
	if user := got.Attributes()[6].Value.String(); user != `{"id":"u7","logins":[{"secret":true,"token":"[REDACTED]"}]}` {
		t.Errorf("got %s", user)
	}
	if got.Attributes()[5].Value.AsInt64() != 7 {
		t.Error("a number is no secret")
	}
	if before := fmt.Sprint(s.Attributes()); !strings.Contains(before, "planted") {
		t.Errorf("the span itself was written to: %s", before)
	}
	stub.Attributes, stub.Events, stub.Links, stub.Status.Description = secrets[5:6], nil, nil, "refused"
	if _, copied := Redacted(stub.Snapshot(), nil).(*redacted); copied {
		t.Error("a span without secrets was copied")
	}
}
