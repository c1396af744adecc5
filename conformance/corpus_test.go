package conformance

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A sample is one span of the corpus.
type sample struct {
	name  string
	kind  trace.SpanKind
	attrs []attribute.KeyValue
	do    func(trace.Span) // before its end
}

const (
	internal = trace.SpanKindInternal
	server   = trace.SpanKindServer
	client   = trace.SpanKindClient
	producer = trace.SpanKindProducer
	consumer = trace.SpanKindConsumer
)

var (
	str  = attribute.String
	num  = attribute.Int
	flag = attribute.Bool
)

type kvs = []attribute.KeyValue

// corpusBegin is when the spans of the corpus begin.
var corpusBegin = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

func fails(message string) func(trace.Span) {
	return func(s trace.Span) { s.SetStatus(codes.Error, message) }
}

func throws(err error, message string) func(trace.Span) {
	return func(s trace.Span) {
		s.RecordError(err, trace.WithTimestamp(corpusBegin.Add(time.Millisecond)), trace.WithStackTrace(false))
		s.SetStatus(codes.Error, message)
	}
}

// corpus returns spans of the kinds that instrumentations make, by the stable
// semantic conventions and by older ones, and spans that none should make.
func corpus() []sample {
	var all []sample
	for _, part := range [][]sample{httpSamples(), databaseSamples(), rpcSamples(), messagingSamples(), otherSamples(), errorSamples(), nestedSamples(), oddSamples()} {
		all = append(all, part...)
	}
	return all
}

func httpSamples() []sample {
	return []sample{
		{"GET /users/{id}", server, kvs{str("http.request.method", "GET"), str("http.route", "/users/{id}"), str("url.path", "/users/1"), str("url.scheme", "https"), num("http.response.status_code", 200), str("user_agent.original", "curl/8"), str("client.address", "1.2.3.4"), str("network.protocol.version", "1.1"), str("server.address", "shop"), num("server.port", 443)}, nil},
		{"GET", server, kvs{str("http.request.method", "GET"), num("http.response.status_code", 404)}, nil},
		{"HTTP", server, kvs{str("http.request.method", "_OTHER"), str("http.request.method_original", "BREW"), str("http.route", "/pot")}, nil},
		{"POST /old", server, kvs{str("http.method", "POST"), str("http.route", "/old"), num("http.status_code", 201), str("http.url", "https://shop/old?a=1"), str("http.user_agent", "x")}, nil},
		{"both", server, kvs{str("http.method", "PUT"), str("http.request.method", "PATCH"), num("http.status_code", 200), num("http.response.status_code", 500)}, nil},
		{"GET", client, kvs{str("http.request.method", "GET"), str("url.full", "https://api.example/v1/items?page=2"), str("server.address", "api.example"), num("http.response.status_code", 200)}, nil},
		{"GET /items/{id}", client, kvs{str("http.request.method", "GET"), str("url.template", "/items/{id}"), str("http.route", "/ignored")}, nil},
		{"GET", client, kvs{str("http.request.method", "GET"), num("http.response.status_code", 503), str("error.type", "503")}, fails("")},
		{"POST", internal, kvs{str("http.request.method", "POST")}, nil},
		{"PUT", server, kvs{str("http.request.method", "PUT"), num("http.request.body.size", 512), num("http.response.body.size", 64), str("http.request.header.referrer", "https://a/"), attribute.StringSlice("http.request.header.x-request-id", []string{"7"})}, nil},
		{"status as text", server, kvs{str("http.request.method", "GET"), str("http.response.status_code", "204")}, nil},
		{"status out of range", server, kvs{str("http.request.method", "GET"), num("http.response.status_code", 99999)}, nil},
		{"ws", server, kvs{str("network.protocol.name", "websocket"), str("network.transport", "tcp")}, nil},
		{"ws", client, kvs{str("network.protocol.name", "amqp")}, nil},
	}
}

func databaseSamples() []sample {
	return []sample{
		{"SELECT orders", client, kvs{str("db.system.name", "postgresql"), str("db.query.text", "SELECT * FROM orders WHERE id = $1"), str("db.namespace", "shop"), str("db.operation.name", "SELECT"), str("db.collection.name", "orders"), str("server.address", "db")}, nil},
		{"select", client, kvs{str("db.system", "mysql"), str("db.statement", "SELECT 1"), str("db.name", "shop"), str("net.peer.name", "db")}, nil},
		{"both systems", client, kvs{str("db.system", "mysql"), str("db.system.name", "mariadb"), str("db.statement", "old"), str("db.query.text", "new")}, nil},
		{"SELECT", client, kvs{str("db.system.name", "microsoft.sql_server"), str("db.query.text", "SELECT TOP 1 * FROM t")}, nil},
		{"no statement", client, kvs{str("db.system.name", "sqlite")}, nil},
		{"GET", client, kvs{str("db.system.name", "redis"), str("db.query.text", "GET user:1"), num("db.redis.database_index", 2)}, nil},
		{"get", client, kvs{str("db.system.name", "memcached"), str("db.operation.name", "get")}, nil},
		{"find users", client, kvs{str("db.system.name", "mongodb"), str("db.collection.name", "users"), str("db.operation.name", "find")}, nil},
		{"search", client, kvs{str("db.system.name", "elasticsearch"), str("db.query.text", `{"query":{}}`)}, nil},
		{"search", client, kvs{str("db.system.name", "opensearch")}, nil},
		{"select", client, kvs{str("db.system.name", "cassandra"), str("db.query.text", "SELECT * FROM t")}, nil},
		{"upper case", client, kvs{str("db.system", "PostgreSQL"), str("db.statement", "SELECT 2")}, nil},
		{"unknown system", client, kvs{str("db.system.name", "acme db"), str("db.query.text", "FETCH")}, nil},
		{"read", client, kvs{str("db.system.name", "gcp.spanner"), str("db.query.text", "SELECT 3")}, nil},
		{"internal query", internal, kvs{str("db.system.name", "postgresql"), str("db.query.text", "SELECT 4")}, nil},
		{"no system", client, kvs{str("db.query.text", "SELECT 5")}, nil},
		{"batch", client, kvs{str("db.system.name", "postgresql"), num("db.operation.batch.size", 3), str("db.query.text", strings.Repeat("SELECT 6; ", 600))}, nil},
	}
}

func rpcSamples() []sample {
	return []sample{
		{"shop.Orders/Get", server, kvs{str("rpc.system", "grpc"), str("rpc.service", "shop.Orders"), str("rpc.method", "Get"), num("rpc.grpc.status_code", 0)}, nil},
		{"shop.Orders/Get", client, kvs{str("rpc.system", "grpc"), str("rpc.service", "shop.Orders"), str("rpc.method", "Get"), num("rpc.grpc.status_code", 14), str("server.address", "orders")}, fails("unavailable")},
		{"no method", client, kvs{str("rpc.system", "connect_rpc")}, nil},
		{"stream", internal, kvs{str("rpc.system", "grpc"), str("rpc.method", "Watch")}, nil},
		{"DynamoDB.GetItem", client, kvs{str("rpc.system", "aws-api"), str("rpc.service", "DynamoDB"), str("rpc.method", "GetItem"), str("aws.dynamodb.table_names", "t")}, nil},
		{"aws", client, kvs{str("rpc.system", "aws-api")}, nil},
	}
}

func messagingSamples() []sample {
	return []sample{
		{"orders send", producer, kvs{str("messaging.system", "kafka"), str("messaging.operation", "publish"), str("messaging.destination.name", "orders"), num("messaging.kafka.message.offset", 12)}, nil},
		{"orders process", consumer, kvs{str("messaging.system", "kafka"), str("messaging.operation", "process"), str("messaging.destination", "orders")}, nil},
		{"stable names", producer, kvs{str("messaging.system", "gcp_pubsub"), str("messaging.operation.name", "send"), str("messaging.operation.type", "send"), str("messaging.destination.name", "topic")}, nil},
		{"receive", client, kvs{str("messaging.system", "rabbitmq"), str("messaging.operation", "receive")}, nil},
		{"internal", internal, kvs{str("messaging.system", "kafka"), str("messaging.operation", "process")}, nil},
		{"plain producer", producer, nil, nil},
		{"plain consumer", consumer, nil, nil},
	}
}

func otherSamples() []sample {
	return []sample{
		{"invoke", client, kvs{str("faas.invoked_provider", "gcp"), str("faas.invoked_name", "Resize Image"), str("faas.invoked_region", "eu")}, nil},
		{"timer", server, kvs{str("faas.trigger", "timer"), str("faas.invocation_id", "7")}, nil},
		{"query FindUser", server, kvs{str("graphql.operation.type", "query"), str("graphql.operation.name", "FindUser"), str("graphql.document", "query { user }")}, nil},
		{"mutation", internal, kvs{str("graphql.operation.type", "mutation")}, nil},
		{"plain", internal, nil, nil},
		{"plain server", server, nil, nil},
		{"plain client", client, nil, nil},
		{"reserved", internal, kvs{str("operation.name", "My Op!"), str("resource.name", "res"), str("span.type", "worker"), str("service.name", "other")}, nil},
		{"analytics", internal, kvs{flag("analytics.event", true), num("_dd.measured", 1)}, nil},
		{"peer", client, kvs{str("peer.service", "Payments API"), str("http.request.method", "GET")}, nil},
		{"component", internal, kvs{str("component", "net/http"), str("env", "other"), str("version", "9")}, nil},
	}
}

func errorSamples() []sample {
	return []sample{
		{"status", internal, nil, fails("broke")},
		{"exception", internal, nil, throws(errors.New("boom"), "boom")},
		{"exception, other status", internal, nil, throws(errors.New("boom"), "request failed")},
		{"exception without status", internal, nil, func(s trace.Span) {
			s.RecordError(errors.New("handled"), trace.WithTimestamp(corpusBegin.Add(time.Millisecond)))
		}},
		{"error attributes", internal, kvs{str("error.type", "TimeoutError"), str("error.message", "own"), str("error.stack", "own stack")}, fails("status")},
		{"ok", internal, nil, func(s trace.Span) { s.SetStatus(codes.Ok, "") }},
		{"5xx without message", server, kvs{str("http.request.method", "GET"), num("http.response.status_code", 502)}, fails("")},
	}
}

func nestedSamples() []sample {
	at := trace.WithTimestamp(corpusBegin.Add(2 * time.Millisecond))
	state, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		panic(err)
	}
	to := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 2}, SpanID: trace.SpanID{7: 4}, TraceFlags: trace.FlagsSampled, TraceState: state})
	return []sample{
		{"event", internal, nil, func(s trace.Span) { s.AddEvent("cache miss", at) }},
		{"typed event", internal, nil, func(s trace.Span) {
			s.AddEvent("retry", at, trace.WithAttributes(str("why", "busy"), num("n", -2), flag("last", true), attribute.Float64("wait", 0.5), attribute.StringSlice("hosts", []string{"a", "b"}), attribute.Int64Slice("codes", []int64{1, 2})))
		}},
		{"two events", internal, nil, func(s trace.Span) { s.AddEvent("one", at); s.AddEvent("two", at) }},
		{"link", consumer, nil, func(s trace.Span) {
			s.AddLink(trace.Link{SpanContext: to, Attributes: kvs{str("reason", "batch"), num("n", 3)}})
		}},
		{"two links", consumer, nil, func(s trace.Span) {
			s.AddLink(trace.Link{SpanContext: to})
			s.AddLink(trace.Link{SpanContext: to.WithSpanID(trace.SpanID{7: 5})})
		}},
	}
}

func oddSamples() []sample {
	return []sample{
		{"", internal, nil, nil},
		{"", server, kvs{str("http.request.method", "GET")}, nil},
		{"arrays", internal, kvs{attribute.StringSlice("s", []string{"a", "b"}), attribute.Int64Slice("i", []int64{1, 2}), attribute.BoolSlice("b", []bool{true}), attribute.Float64Slice("f", []float64{0.5})}, nil},
		{"numbers", internal, kvs{attribute.Int64("max", math.MaxInt64), attribute.Int64("min", math.MinInt64), attribute.Float64("pi", math.Pi), num("zero", 0), attribute.Float64("tiny", 5e-324)}, nil},
		{"NaN", internal, kvs{attribute.Float64("nan", math.NaN()), attribute.Float64("inf", math.Inf(-1)), str("k", "v")}, nil},
		{"unicode 組紐", internal, kvs{str("clé", "værdi"), str("nul", "a\x00b"), str("lines", "a\r\nb\u2028")}, nil},
		{"long", internal, kvs{str("long", strings.Repeat("é", 20000)), str(strings.Repeat("k", 300), "v")}, nil},
		{strings.Repeat("n", 6000), internal, nil, nil},
		{"empty values", internal, kvs{str("empty", ""), attribute.StringSlice("none", nil)}, nil},
		{"odd service", internal, kvs{str("service.name", "  Shop & Söhne (EU) "+strings.Repeat("x", 120))}, nil},
		{"odd operation", internal, kvs{str("operation.name", "123..__Go go!  "+strings.Repeat("y", 150))}, nil},
	}
}

// upstream is another vendor's span that called.
func upstream() trace.SpanContext {
	state, err := trace.ParseTraceState("vendor=1")
	if err != nil {
		panic(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 9}, SpanID: trace.SpanID{7: 9}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
}

// record runs the corpus through the SDK under the given processors. Every
// second span has a parent in the process, every fourth one elsewhere.
func record(tb testing.TB, processors ...sdktrace.SpanProcessor) {
	tb.Helper()
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(str("service.name", "shop"), str("deployment.environment.name", "prod"),
			str("service.version", "1.2"), str("cloud.region", "europe-west1"), str("gcp.cloud_run.job.execution", "run-7"), num("replicas", 3))),
	}
	for _, p := range processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	tracer := sdktrace.NewTracerProvider(opts...).Tracer("conformance", trace.WithInstrumentationVersion("v1"))
	for i, s := range corpus() {
		ctx, parent := context.Background(), trace.Span(nil)
		switch i % 4 {
		case 1, 3:
			ctx, parent = tracer.Start(ctx, "parent", trace.WithTimestamp(corpusBegin), trace.WithSpanKind(server))
		case 2:
			ctx = trace.ContextWithRemoteSpanContext(ctx, upstream())
		}
		_, span := tracer.Start(ctx, s.name, trace.WithSpanKind(s.kind), trace.WithAttributes(s.attrs...), trace.WithTimestamp(corpusBegin.Add(time.Duration(i))))
		if s.do != nil {
			s.do(span)
		}
		span.End(trace.WithTimestamp(corpusBegin.Add(time.Second)))
		if parent != nil {
			parent.End(trace.WithTimestamp(corpusBegin.Add(2 * time.Second)))
		}
	}
}

func TestCorpusIsLargeEnough(t *testing.T) {
	if n := len(corpus()); n < 60 {
		t.Errorf("%d spans, want at least 60", n)
	}
}
