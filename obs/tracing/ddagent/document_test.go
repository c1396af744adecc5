package ddagent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// inDocument compares the table below a mark in docs/datadog.md, or puts it
// there.
func inDocument(t *testing.T, mark, want string) {
	t.Helper()
	file := filepath.Join("..", "..", "..", "docs", "datadog.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile("(?s)<!-- " + mark + " -->\n((?:\\|[^\n]*\n)+)").FindSubmatchIndex(text)
	if at == nil {
		t.Fatalf("no table %s", mark)
	}
	switch got := string(text[at[2]:at[3]]); {
	case got == want:
	case *update:
		if err := os.WriteFile(file, slices.Concat(text[:at[2]], []byte(want), text[at[3]:]), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/datadog.md, %s (-want +got); run with -update:\n%s", mark, gocmp.Diff(want, got))
	}
}

// TestDocumentNames holds the table of names: each row is made by a span.
func TestDocumentNames(t *testing.T) {
	str := attribute.String
	rows := []struct {
		kind  trace.SpanKind
		attrs []attribute.KeyValue
	}{
		{trace.SpanKindServer, []attribute.KeyValue{str("http.request.method", "GET"), str("http.route", "/users/{id}")}},
		{trace.SpanKindServer, []attribute.KeyValue{str("http.request.method", "GET")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("http.request.method", "GET"), str("url.template", "/users/{id}")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("http.request.method", "GET")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "postgresql"), str("db.query.text", "SELECT 1")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "gcp.spanner")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "redis")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "neo4j")}},
		{trace.SpanKindServer, []attribute.KeyValue{str("rpc.system", "grpc"), str("rpc.service", "shop.Orders"), str("rpc.method", "Get")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("rpc.system", "grpc"), str("rpc.service", "shop.Orders"), str("rpc.method", "Get")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("rpc.system", "aws-api"), str("rpc.service", "S3")}},
		{trace.SpanKindProducer, []attribute.KeyValue{str("messaging.system", "gcp_pubsub"), str("messaging.operation", "publish"), str("messaging.destination.name", "orders")}},
		{trace.SpanKindClient, []attribute.KeyValue{str("faas.invoked_provider", "gcp"), str("faas.invoked_name", "resize")}},
		{trace.SpanKindServer, []attribute.KeyValue{str("faas.trigger", "timer")}},
		{trace.SpanKindServer, []attribute.KeyValue{str("graphql.operation.type", "query"), str("graphql.operation.name", "me")}},
		{trace.SpanKindServer, []attribute.KeyValue{str("network.protocol.name", "amqp")}},
		{trace.SpanKindServer, nil},
		{trace.SpanKindClient, nil},
		{trace.SpanKindProducer, nil},
		{trace.SpanKindConsumer, nil},
		{trace.SpanKindInternal, nil},
		{trace.SpanKindInternal, []attribute.KeyValue{str("operation.name", "cron.run"), str("resource.name", "nightly"), str("span.type", "worker"), str("service.name", "batch")}},
	}
	var table strings.Builder
	table.WriteString("| kind | attributes | operation | resource | type |\n|---|---|---|---|---|\n")
	for _, row := range rows {
		s := mapped(t, Options{Service: "shop"}, resource.Empty(), row.kind, func(s trace.Span) { s.SetAttributes(row.attrs...) })
		attrs := make([]string, len(row.attrs))
		for i, kv := range row.attrs {
			attrs[i] = fmt.Sprintf("`%s=%s`", kv.Key, kv.Value.AsString())
		}
		fmt.Fprintf(&table, "| %s | %s | `%v` | `%v` | `%v` |\n", row.kind, cmp.Or(strings.Join(attrs, " "), "none"), s["name"], s["resource"], s["type"])
	}
	inDocument(t, "names", table.String())
}

// TestDocumentTypes holds the table of databases.
func TestDocumentTypes(t *testing.T) {
	systems := map[string][]string{}
	for system, typ := range databaseTypes {
		systems[typ] = append(systems[typ], "`"+system+"`")
	}
	var table strings.Builder
	table.WriteString("| type | `db.system.name`, or `db.system` |\n|---|---|\n")
	for _, typ := range slices.Sorted(maps.Keys(systems)) {
		slices.Sort(systems[typ])
		fmt.Fprintf(&table, "| `%s` | %s |\n", typ, strings.Join(systems[typ], " "))
	}
	fmt.Fprintf(&table, "| `%s` | any other |\n", databaseType("any other"))
	inDocument(t, "types", table.String())
}

// TestDocumentAttributes holds the table of attributes that do not stay as they
// are.
func TestDocumentAttributes(t *testing.T) {
	says := map[treatment]string{
		keep: "as it is", omit: "not a tag: it is said elsewhere", redactURL: "without userinfo and signed values",
		redactArgs: "without signed values", redactText: "the URLs in it without userinfo and signed values", asText: "as a string",
		asSwitch: "0 or 1", keepTrace: "keeps the trace", dropTrace: "drops the trace",
	}
	var table strings.Builder
	table.WriteString("| attribute | in Datadog | value |\n|---|---|---|\n")
	for _, key := range slices.Sorted(maps.Keys(known)) {
		k := known[key]
		internal := strings.HasPrefix(key, "_dd.") && k.treat == omit || strings.HasPrefix(key, "_s")
		if k.as == "" && k.treat == keep || internal {
			continue
		}
		as := "`" + cmp.Or(k.as, key) + "`"
		switch k.treat {
		case omit:
			as = map[fact]string{factOperation: "operation", factResource: "resource", factType: "type", factService: "service"}[k.fact]
			as = cmp.Or(as, "the span's own")
		case keepTrace, dropTrace:
			as = "the decision"
		}
		if says[k.treat] == "" {
			t.Fatalf("%s: treatment %d is not described", key, k.treat)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", key, as, says[k.treat])
	}
	fmt.Fprintf(&table, "| `%s`… | `http.request.headers.`… | as it is |\n", headerPrefix)
	inDocument(t, "attributes", table.String())
}

// TestDocumentTags holds the table of what each span has of the process and
// its trace.
func TestDocumentTags(t *testing.T) {
	from := map[string]string{
		"env": "`DD_ENV`", "version": "`DD_VERSION`, `K_REVISION`", "language": "`go`", "runtime-id": "the process, made at start; first span of a chunk",
		"span.kind": "the kind", keyScopeName: "the tracer's name", "team": "`DD_TAGS`", keyTraceHigh: "upper half of the trace's id; v0.4 alone",
		keyPriority: "sampling priority: -1, 0, 1, 2; first span of a chunk", keyTopLevel: "1: the first of its service in the trace, here", "process_id": "the process; first span of a chunk",
		keyBaseService: "the process's service, where the span has another",
	}
	s := mapped(t, Options{Service: "shop", Env: "prod", Version: "1.4.0", Tags: map[string]string{"team": "a"}}, resource.Empty(), trace.SpanKindServer, func(s trace.Span) {
		s.SetAttributes(attribute.String("service.name", "other"))
	})
	var table strings.Builder
	table.WriteString("| tag or metric | what it is |\n|---|---|\n")
	seen := 0
	for _, m := range []map[string]any{s.meta(), s.metrics()} {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if from[key] == "" {
				t.Errorf("%s is not described", key)
			}
			seen++
			fmt.Fprintf(&table, "| `%s` | %s |\n", key, from[key])
		}
	}
	if seen != len(from) {
		t.Errorf("%d tags, %d described", seen, len(from))
	}
	inDocument(t, "tags", table.String())
}

// TestDocumentErrors holds the table of errors.
func TestDocumentErrors(t *testing.T) {
	rows := []struct {
		what string
		do   func(trace.Span)
	}{
		{"status Error `broke`", func(s trace.Span) { s.SetStatus(codes.Error, "broke") }},
		{"status Error, `http.response.status_code=503`", func(s trace.Span) {
			s.SetAttributes(attribute.Int("http.response.status_code", 503))
			s.SetStatus(codes.Error, "")
		}},
		{"status Error, and an exception", func(s trace.Span) {
			s.AddEvent("exception", trace.WithAttributes(attribute.String("exception.message", "boom"),
				attribute.String("exception.type", "*shop.Error"), attribute.String("exception.stacktrace", "goroutine 1 …")))
			s.SetStatus(codes.Error, "")
		}},
		{"an exception alone", func(s trace.Span) { s.RecordError(errors.New("boom")) }},
		{"status Error `status`, `error.message=own`", func(s trace.Span) {
			s.SetAttributes(attribute.String("error.message", "own"))
			s.SetStatus(codes.Error, "status")
		}},
		{"status Ok", func(s trace.Span) { s.SetStatus(codes.Ok, "") }},
	}
	var table strings.Builder
	table.WriteString("| span has | error | `error.message` | `error.type` | `error.stack` | `otel.status_code` | `_dd.span_events.has_exception` |\n|---|---|---|---|---|---|---|\n")
	for _, row := range rows {
		s := mapped(t, Options{}, resource.Empty(), trace.SpanKindServer, row.do)
		failed, _ := s["error"].(uint64)
		fmt.Fprintf(&table, "| %s | %d |", row.what, failed)
		for _, key := range []string{"error.message", "error.type", "error.stack", keyStatusCode, keyHasException} {
			cell := ""
			if v, has := s.meta()[key]; has {
				cell = fmt.Sprintf(" `%v`", v)
			}
			table.WriteString(cell + " |")
		}
		table.WriteString("\n")
	}
	inDocument(t, "errors", table.String())
}
