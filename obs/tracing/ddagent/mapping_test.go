package ddagent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// begin is when the spans of these tests begin.
var begin = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// mapped returns the payload's one span that f makes of a root span.
func mapped(t *testing.T, o Options, res *resource.Resource, kind trace.SpanKind, f func(trace.Span)) span {
	t.Helper()
	e := NewExporter(o)
	p := NewProcessor(e, ProcessorOptions{})
	e.dead = true // nothing is sent; the chunk is taken below
	var got chunk
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithIDGenerator(&counterIDs{}),
		sdktrace.WithSpanProcessor(capture{p, &got}),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{AttributeValueLengthLimit: -1, AttributeCountLimit: -1,
			EventCountLimit: -1, LinkCountLimit: -1, AttributePerEventCountLimit: -1, AttributePerLinkCountLimit: -1}))
	_, s := provider.Tracer("scope").Start(context.Background(), "span name",
		trace.WithSpanKind(kind), trace.WithTimestamp(begin))
	if f != nil {
		f(s)
	}
	s.End(trace.WithTimestamp(begin.Add(time.Second)))
	traces, err := tracesOf(encodeV04(got))
	if err != nil {
		t.Fatal(err)
	}
	sameInV1(t, traces, got)
	return traces[0][0]
}

func encodeV04(chunks ...chunk) []byte {
	p := payloadV04{process: process{pid: 42, runtimeID: "runtime"}}
	return p.append(nil, chunks)
}

// capture keeps the chunk that a processor makes of a one-span trace.
type capture struct {
	*Processor
	got *chunk
}

func (c capture) OnEnd(s sdktrace.ReadOnlySpan) {
	enc := c.encoder()
	enc.encode(s, c.identity(s.Resource()), time.Now())
	*c.got, _ = c.finish(s, enc, time.Now())
}

func TestNamesResourcesTypes(t *testing.T) {
	t.Parallel()
	str := attribute.String
	tests := []struct {
		name                    string
		kind                    trace.SpanKind
		attrs                   []attribute.KeyValue
		wantName, wantRes, want string
	}{
		{"internal", trace.SpanKindInternal, nil, "Internal", "span name", "custom"},
		{"producer", trace.SpanKindProducer, nil, "Producer", "span name", "custom"},
		{"consumer", trace.SpanKindConsumer, nil, "Consumer", "span name", "custom"},
		{"server", trace.SpanKindServer, nil, "server.request", "span name", "web"},
		{"client", trace.SpanKindClient, nil, "client.request", "span name", "http"},
		{"protocol", trace.SpanKindServer, []attribute.KeyValue{str("network.protocol.name", "AMQP")}, "amqp.server.request", "span name", "web"},
		{"http server", trace.SpanKindServer, []attribute.KeyValue{str("http.request.method", "GET"), str("http.route", "/users/{id}")}, "http.server.request", "GET /users/{id}", "web"},
		{"http server without a route", trace.SpanKindServer, []attribute.KeyValue{str("http.method", "GET")}, "http.server.request", "GET", "web"},
		{"http client", trace.SpanKindClient, []attribute.KeyValue{str("http.request.method", "POST"), str("url.template", "/u/{id}"), str("http.route", "/no")}, "http.client.request", "POST /u/{id}", "http"},
		{"unknown method", trace.SpanKindServer, []attribute.KeyValue{str("http.request.method", "_OTHER")}, "http.server.request", "HTTP", "web"},
		{"new method key first", trace.SpanKindServer, []attribute.KeyValue{str("http.method", "OLD"), str("http.request.method", "NEW")}, "http.server.request", "NEW", "web"},
		{"http internal", trace.SpanKindInternal, []attribute.KeyValue{str("http.request.method", "GET")}, "Internal", "GET", "custom"},
		{"sql", trace.SpanKindClient, []attribute.KeyValue{str("db.system", "postgresql"), str("db.statement", "SELECT 1")}, "postgresql.query", "SELECT 1", "sql"},
		{"sql, stable keys", trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "microsoft.sql_server"), str("db.query.text", "SELECT 2")}, "microsoft.sql_server.query", "SELECT 2", "sql"},
		{"spanner", trace.SpanKindClient, []attribute.KeyValue{str("db.system.name", "gcp.spanner")}, "gcp.spanner.query", "span name", "sql"},
		{"redis", trace.SpanKindClient, []attribute.KeyValue{str("db.system", "Redis")}, "redis.query", "span name", "redis"},
		{"cassandra", trace.SpanKindClient, []attribute.KeyValue{str("db.system", "cassandra")}, "cassandra.query", "span name", "cassandra"},
		{"neo4j", trace.SpanKindClient, []attribute.KeyValue{str("db.system", "neo4j")}, "neo4j.query", "span name", "db"},
		{"messaging", trace.SpanKindProducer, []attribute.KeyValue{str("messaging.system", "kafka"), str("messaging.operation", "Publish"), str("messaging.destination.name", "orders")}, "kafka.publish", "Publish orders", "custom"},
		{"messaging internal", trace.SpanKindInternal, []attribute.KeyValue{str("messaging.system", "kafka"), str("messaging.operation", "publish")}, "Internal", "publish", "custom"},
		{"grpc client", trace.SpanKindClient, []attribute.KeyValue{str("rpc.system", "grpc"), str("rpc.service", "pkg.Svc"), str("rpc.method", "Do")}, "grpc.client.request", "Do pkg.Svc", "http"},
		{"grpc server", trace.SpanKindServer, []attribute.KeyValue{str("rpc.system", "grpc"), str("rpc.method", "Do")}, "grpc.server.request", "Do", "web"},
		{"aws with a service", trace.SpanKindClient, []attribute.KeyValue{str("rpc.system", "aws-api"), str("rpc.service", "S3")}, "aws.s3.request", "span name", "http"},
		{"aws", trace.SpanKindClient, []attribute.KeyValue{str("rpc.system", "aws-api")}, "aws.client.request", "span name", "http"},
		{"faas client", trace.SpanKindClient, []attribute.KeyValue{str("faas.invoked_provider", "gcp"), str("faas.invoked_name", "my fn")}, "gcp.my_fn.invoke", "span name", "http"},
		{"faas server", trace.SpanKindServer, []attribute.KeyValue{str("faas.trigger", "timer")}, "timer.invoke", "span name", "web"},
		{"graphql", trace.SpanKindServer, []attribute.KeyValue{str("graphql.operation.type", "query"), str("graphql.operation.name", "me")}, "graphql.server.request", "query me", "web"},
		{"reserved attributes", trace.SpanKindServer, []attribute.KeyValue{str("operation.name", "My.Op"), str("resource.name", "res"), str("span.type", "worker")}, "my.op", "res", "worker"},
		{"name of no letters", trace.SpanKindInternal, []attribute.KeyValue{str("operation.name", "123")}, "unnamed_operation", "span name", "custom"},
		{"long name", trace.SpanKindInternal, []attribute.KeyValue{str("operation.name", strings.Repeat("a", 150))}, strings.Repeat("a", 100), "span name", "custom"},
		{"long resource", trace.SpanKindInternal, []attribute.KeyValue{str("resource.name", strings.Repeat("é", 3000))}, "Internal", strings.Repeat("é", 2500), "custom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := mapped(t, Options{Service: "shop"}, resource.Empty(), tt.kind, func(s trace.Span) { s.SetAttributes(tt.attrs...) })
			if s["name"] != tt.wantName || s["resource"] != tt.wantRes || s["type"] != tt.want {
				t.Errorf("name %q, resource %q, type %q; want %q, %q, %q", s["name"], s["resource"], s["type"], tt.wantName, tt.wantRes, tt.want)
			}
			if service, op, res := SpanNames(tt.kind, "span name", tt.attrs); service != "" || op != tt.wantName || res != tt.wantRes {
				t.Errorf("Names: %q, %q, %q; want the payload's", service, op, res)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	str := attribute.String
	tests := []struct {
		name    string
		attrs   []attribute.KeyValue
		meta    map[string]any
		metrics map[string]any
	}{
		{"string", []attribute.KeyValue{str("k", "v")}, map[string]any{"k": "v"}, nil},
		{"bool", []attribute.KeyValue{attribute.Bool("k", true)}, map[string]any{"k": "true"}, nil},
		{"int", []attribute.KeyValue{attribute.Int("k", -7)}, nil, map[string]any{"k": -7.0}},
		{"float", []attribute.KeyValue{attribute.Float64("k", 1.5)}, nil, map[string]any{"k": 1.5}},
		{"NaN and infinities", []attribute.KeyValue{attribute.Float64("a", math.NaN()), attribute.Float64("b", math.Inf(-1)), str("c", "stays")}, map[string]any{"c": "stays"}, nil},
		{"strings", []attribute.KeyValue{attribute.StringSlice("k", []string{"a", "b"})}, map[string]any{"k.0": "a", "k.1": "b"}, nil},
		{"ints", []attribute.KeyValue{attribute.Int64Slice("k", []int64{1, 2})}, nil, map[string]any{"k.0": 1.0, "k.1": 2.0}},
		{"bools", []attribute.KeyValue{attribute.BoolSlice("k", []bool{true})}, map[string]any{"k.0": "true"}, nil},
		{"floats with NaN", []attribute.KeyValue{attribute.Float64Slice("k", []float64{math.NaN(), 2})}, nil, map[string]any{"k.0": 2.0}},
		{"status code", []attribute.KeyValue{attribute.Int("http.response.status_code", 404)}, map[string]any{"http.status_code": "404"}, nil},
		{"renamed", []attribute.KeyValue{
			str("client.address", "1.2.3.4"), str("user_agent.original", "curl"), str("server.address", "h"),
			str("network.protocol.version", "1.1"), str("http.request.header.x-id", "7"), str("http.request.header.referrer", "r"),
			attribute.Int("http.response.body.size", 9), attribute.Int("http.request.body.size", 8),
		}, map[string]any{
			"http.client_ip": "1.2.3.4", "http.useragent": "curl", "http.server_name": "h", "http.version": "1.1",
			"http.request.headers.x-id": "7", "http.referrer": "r",
		}, map[string]any{"http.response.content_length": 9.0, "http.request.content_length": 8.0}},
		{"a renamed one gives way", []attribute.KeyValue{str("http.request.method", "new"), str("http.method", "old")}, map[string]any{"http.method": "old"}, nil},
		{"secrets", []attribute.KeyValue{str("http.request.header.authorization", "Bearer x"), attribute.Int("password", 1), attribute.StringSlice("api_key", []string{"x"})},
			map[string]any{"http.request.headers.authorization": redact.Placeholder, "password": redact.Placeholder, "api_key": redact.Placeholder}, nil},
		{"URLs", []attribute.KeyValue{str("url.full", "https://u:p@h/?sig=x&a=1"), str("url.query", "token=x&b=2")},
			map[string]any{"http.url": "https://REDACTED@h/?sig=REDACTED&a=1", "url.query": "token=REDACTED&b=2"}, nil},
		{"measured and analytics", []attribute.KeyValue{attribute.Bool("_dd.measured", true), str("analytics.event", "true")}, nil, map[string]any{"_dd.measured": 1.0, "_dd1.sr.eausr": 1.0}},
		{"facts of the chunk cannot be gainsaid", []attribute.KeyValue{
			str("_dd.p.tid", "ffffffffffffffff"), str("_dd.p.dm", "-9"), attribute.Int("_sampling_priority_v1", 9),
			str("_dd.origin", "x"), str("span.kind", "x"), str("runtime-id", "x"), attribute.Int("_dd.top_level", 0),
		}, nil, nil},
		{"database name", []attribute.KeyValue{str("db.namespace", "orders")}, map[string]any{"db.namespace": "orders", "db.name": "orders"}, nil},
		{"a tag of the process", []attribute.KeyValue{str("env", "own"), str("team", "own")}, map[string]any{"env": "own", "team": "own"}, nil},
		{"invalid UTF-8", []attribute.KeyValue{str("k", "a\xffb"), str("bad\xffkey", "v")}, map[string]any{"k": "a\uFFFDb", "bad\uFFFDkey": "v"}, nil},
		{"long", []attribute.KeyValue{str("k", strings.Repeat("é", 20000)), str(strings.Repeat("k", 300), "v")},
			map[string]any{"k": strings.Repeat("é", 12500), strings.Repeat("k", 200): "v"}, nil},
		{"empty key", []attribute.KeyValue{str("", "v")}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Service: "shop", Env: "prod", Version: "1.2", Tags: map[string]string{"team": "a", "db_password": "x"}}
			s := mapped(t, o, resource.Empty(), trace.SpanKindInternal, func(s trace.Span) { s.SetAttributes(tt.attrs...) })
			wantMeta := map[string]any{
				"span.kind": "internal", "language": "go", "env": "prod", "version": "1.2", "team": "a",
				"db_password": redact.Placeholder, "otel.scope.name": "scope", "runtime-id": "runtime", "_dd.p.tid": "6b756d6900000000",
			}
			for k, v := range tt.meta {
				wantMeta[k] = v
			}
			wantMetrics := map[string]any{"_sampling_priority_v1": 1.0, "_dd.top_level": 1.0, "process_id": 42.0}
			for k, v := range tt.metrics {
				wantMetrics[k] = v
			}
			if diff := cmp.Diff(wantMeta, s.meta()); diff != "" {
				t.Errorf("meta (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantMetrics, s.metrics()); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		f     func(trace.Span)
		error uint64
		want  map[string]any // error.* and what tells of exceptions
	}{
		{"none", nil, 0, map[string]any{}},
		{"ok", func(s trace.Span) { s.SetStatus(codes.Ok, "") }, 0, map[string]any{}},
		{"status", func(s trace.Span) { s.SetStatus(codes.Error, "broke") }, 1, map[string]any{"error.message": "broke"}},
		{"status code", func(s trace.Span) {
			s.SetAttributes(attribute.Int("http.response.status_code", 503))
			s.SetStatus(codes.Error, "")
		}, 1, map[string]any{"error.message": "503 Service Unavailable"}},
		{"exception without a status", func(s trace.Span) { s.RecordError(errors.New("x")) }, 0, map[string]any{keyHasException: "true"}},
		{"exception", func(s trace.Span) {
			s.RecordError(errors.New("boom"))
			s.SetStatus(codes.Error, "")
		}, 1, map[string]any{"error.message": "boom", "error.type": "*errors.errorString", keyHasException: "true"}},
		{"the exception of the status", func(s trace.Span) {
			s.AddEvent("exception", trace.WithAttributes(attribute.String("exception.message", "first"), attribute.String("exception.type", "A"), attribute.String("exception.stacktrace", "at a")))
			s.AddEvent("exception", trace.WithAttributes(attribute.String("exception.message", "second"), attribute.String("exception.type", "B")))
			s.SetStatus(codes.Error, "first")
		}, 1, map[string]any{"error.message": "first", "error.type": "A", "error.stack": "at a", keyHasException: "true"}},
		{"attributes stand above", func(s trace.Span) {
			s.SetAttributes(attribute.String("error.type", "mine"), attribute.String("error.message", "own"))
			s.RecordError(errors.New("boom"))
			s.SetStatus(codes.Error, "status")
		}, 1, map[string]any{"error.message": "own", "error.type": "mine", keyHasException: "true"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := mapped(t, Options{}, resource.Empty(), trace.SpanKindServer, tt.f)
			got := map[string]any{}
			for k, v := range s.meta() {
				if strings.HasPrefix(k, "error.") || k == keyHasException {
					got[k] = v
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || s["error"] != tt.error {
				t.Errorf("error = %v, want %v; meta (-want +got):\n%s", s["error"], tt.error, diff)
			}
		})
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, option, resource, span string
		want, base                   string
	}{
		{"option", "shop", "", "", "shop", ""},
		{"resource above option", "shop", "res", "", "res", ""},
		{"option above the SDK's guess", "shop", "unknown_service:x", "", "shop", ""},
		{"span above all", "shop", "res", "own", "own", "res"},
		{"span says the same", "shop", "res", "res", "res", ""},
		{"nothing", "", "", "", unnamedService, ""},
		{"normalised", "My Shop!", "", "", "my_shop", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := resource.Empty()
			if tt.resource != "" {
				res = resource.NewSchemaless(attribute.String("service.name", tt.resource))
			}
			s := mapped(t, Options{Service: tt.option}, res, trace.SpanKindInternal, func(s trace.Span) {
				if tt.span != "" {
					s.SetAttributes(attribute.String("service.name", tt.span))
				}
			})
			base, _ := s.meta()[keyBaseService].(string)
			if s["service"] != tt.want || base != tt.base {
				t.Errorf("service %q, base %q; want %q, %q", s["service"], base, tt.want, tt.base)
			}
		})
	}
}

func TestResourceAttributesFillGaps(t *testing.T) {
	t.Parallel()
	res := resource.NewSchemaless(
		attribute.String("deployment.environment.name", "staging"), attribute.String("service.version", "9"),
		attribute.String("cloud.region", "europe-west1"), attribute.String("shared", "resource"),
		attribute.String("some.token", "x"))
	s := mapped(t, Options{}, res, trace.SpanKindInternal, func(s trace.Span) { s.SetAttributes(attribute.String("shared", "span")) })
	for k, want := range map[string]any{
		"env": "staging", "version": "9", "cloud.region": "europe-west1", "shared": "span", "some.token": redact.Placeholder,
	} {
		if got := s.meta()[k]; got != want {
			t.Errorf("%s = %v, want %v", k, got, want)
		}
	}
}

// TestHostileSpans sends spans that are broken one way or another and wants
// them sound, and no panic.
func TestHostileSpans(t *testing.T) {
	t.Parallel()
	times := []struct {
		name       string
		start, end time.Time
		duration   uint64
	}{
		{"1970", time.Unix(1, 0), time.Unix(2, 0), 1e9},
		{"year 10000", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 1, 0, time.UTC), 1e9},
		{"year 1", time.Unix(-62135596799, 0), time.Unix(-62135596799, 0), 0},
		{"ends before it starts", begin, begin.Add(-time.Hour), 0},
	}
	for _, tt := range times {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
			start, duration := timesOf(tt.start, tt.end, now)
			if start < year2000*1e9 || start > now.UnixNano() || uint64(duration) != tt.duration {
				t.Errorf("start %v, duration %v", time.Unix(0, start), time.Duration(duration))
			}
		})
	}
	t.Run("100,000 attributes and 10,000 events", func(t *testing.T) {
		t.Parallel()
		s := mapped(t, Options{}, resource.Empty(), trace.SpanKindInternal, func(s trace.Span) {
			kvs := make([]attribute.KeyValue, 100_000)
			for i := range kvs {
				kvs[i] = attribute.String(fmt.Sprint("key", i), strings.Repeat("v", 20))
			}
			s.SetAttributes(kvs...)
			for range 10_000 {
				s.AddEvent("e", trace.WithAttributes(kvs[:3]...))
			}
			s.SetStatus(codes.Error, "still said")
		})
		if got := s.metrics()[keyTruncated]; got == nil || s.meta()["error.message"] != "still said" {
			t.Errorf("truncated %v, error.message %v", got, s.meta()["error.message"])
		}
	})
	t.Run("a 12 MB tag and an empty name", func(t *testing.T) {
		t.Parallel()
		s := mapped(t, Options{}, resource.Empty(), trace.SpanKindInternal, func(s trace.Span) {
			s.SetName("")
			s.SetAttributes(attribute.String("big", strings.Repeat("x", 12<<20)), attribute.String("next", "unharmed"))
		})
		if n := len(s.meta()["big"].(string)); n != maxValue || s.meta()["next"] != "unharmed" {
			t.Errorf("%d bytes of the tag, next = %v", n, s.meta()["next"])
		}
	})
}
