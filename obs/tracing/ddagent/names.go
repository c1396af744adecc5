package ddagent

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
)

// What follows is version 2 of the operation and resource names of the
// agent's OTLP intake (pkg/trace/transform/otelutil.go, v0.85.1).

// SpanNames returns the names by which Datadog knows a span: its service, "" if
// that is the resource's, its operation and its resource.
func SpanNames(kind trace.SpanKind, name string, attrs []attribute.KeyValue) (service, op, resource string) {
	var none factSet
	var f spanFacts
	f.reset(&none)
	for _, kv := range attrs {
		if k := known[string(kv.Key)]; k.fact != factNone && k.fact != factStatusCode {
			f.set(k.fact, clean(kv.Value.String(), maxValue))
		}
	}
	if own := f.get(factService); own != "" {
		service = serviceName(own)
	}
	var o operation
	resource, second := resourceName(&f, kind, name)
	if second != "" {
		resource += " " + second
	}
	return service, string(o.name(&f, kind)), clean(resource, maxResource)
}

// operation holds a name that is put together; it fits most of them.
type operation struct {
	buf [256]byte
}

// name returns the operation name, valid until the next call.
func (o *operation) name(f *spanFacts, kind trace.SpanKind) []byte {
	raw := o.raw(o.buf[:0], f, kind)
	return appendName(raw[len(raw):], raw)
}

// cleaned is name for one that somebody else has made.
func (o *operation) cleaned(name string) []byte {
	raw := append(o.buf[:0], clean(name, maxName)...)
	return appendName(raw[len(raw):], raw)
}

func (o *operation) raw(b []byte, f *spanFacts, kind trace.SpanKind) []byte {
	client, server := kind == trace.SpanKindClient, kind == trace.SpanKindServer
	if f.get(factOperation) != "" {
		return appendTag(b, f.get(factOperation))
	}
	if f.first(factHTTPRequestMethod, factHTTPMethod) != "" && server {
		return append(b, "http.server.request"...)
	}
	if f.first(factHTTPRequestMethod, factHTTPMethod) != "" && client {
		return append(b, "http.client.request"...)
	}
	if system := f.first(factDBSystemName, factDBSystem); system != "" && client {
		return append(appendTag(b, system), ".query"...)
	}
	if f.get(factMessagingSystem) != "" && f.get(factMessagingOperation) != "" && kind != trace.SpanKindInternal {
		b = append(appendTag(b, f.get(factMessagingSystem)), '.')
		return appendTag(b, f.get(factMessagingOperation))
	}
	if f.get(factRPCSystem) != "" && (client || server) {
		return rpcName(b, f, client)
	}
	if f.get(factFaaSProvider) != "" && f.get(factFaaSName) != "" && client {
		b = append(appendTag(b, f.get(factFaaSProvider)), '.')
		return append(appendTag(b, f.get(factFaaSName)), ".invoke"...)
	}
	if f.get(factFaaSTrigger) != "" && server {
		return append(appendTag(b, f.get(factFaaSTrigger)), ".invoke"...)
	}
	if f.get(factGraphQLType) != "" {
		return append(b, "graphql.server.request"...)
	}
	return plainName(b, f, kind)
}

func rpcName(b []byte, f *spanFacts, client bool) []byte {
	switch {
	case !client:
		return append(appendTag(b, f.get(factRPCSystem)), ".server.request"...)
	case f.get(factRPCSystem) != "aws-api":
		return append(appendTag(b, f.get(factRPCSystem)), ".client.request"...)
	case f.get(factRPCService) != "":
		b = append(b, "aws."...)
		return append(appendTag(b, f.get(factRPCService)), ".request"...)
	default:
		return append(b, "aws.client.request"...)
	}
}

func plainName(b []byte, f *spanFacts, kind trace.SpanKind) []byte {
	switch kind {
	case trace.SpanKindServer, trace.SpanKindClient:
		if f.get(factProtocol) != "" {
			b = append(appendTag(b, f.get(factProtocol)), '.')
		}
		return append(append(b, kind.String()...), ".request"...)
	case trace.SpanKindProducer:
		return append(b, "Producer"...)
	case trace.SpanKindConsumer:
		return append(b, "Consumer"...)
	default:
		return append(b, "Internal"...)
	}
}

// resourceName returns the two parts of the resource name; the second may be
// empty, else a space stands between them.
func resourceName(f *spanFacts, kind trace.SpanKind, name string) (string, string) {
	if f.get(factResource) != "" {
		return f.get(factResource), ""
	}
	if method := f.first(factHTTPRequestMethod, factHTTPMethod); method != "" {
		if method == "_OTHER" {
			method = "HTTP"
		}
		switch kind {
		case trace.SpanKindClient:
			return method, f.get(factURLTemplate)
		case trace.SpanKindServer:
			return method, f.get(factHTTPRoute)
		}
		return method, ""
	}
	if f.get(factMessagingOperation) != "" {
		return f.get(factMessagingOperation), f.first(factMessagingDestination, factMessagingDestinationName)
	}
	if f.get(factRPCMethod) != "" {
		return f.get(factRPCMethod), f.get(factRPCService)
	}
	if f.get(factGraphQLType) != "" {
		return f.get(factGraphQLType), f.get(factGraphQLName)
	}
	if f.first(factDBSystemName, factDBSystem) != "" {
		if statement := f.first(factDBStatement, factDBQueryText); statement != "" {
			return statement, "" // the agent obfuscates it, by the span's type
		}
	}
	return clean(name, maxResource), ""
}

// spanType returns the span's type. The agent obfuscates by it: a query under
// the wrong one leaves with its literals.
func spanType(f *spanFacts, kind trace.SpanKind) string {
	if f.get(factType) != "" {
		return f.get(factType)
	}
	switch kind {
	case trace.SpanKindServer:
		return ext.SpanTypeWeb
	case trace.SpanKindClient:
		if system := f.first(factDBSystemName, factDBSystem); system != "" {
			return databaseType(system)
		}
		return ext.SpanTypeHTTP
	default:
		return "custom"
	}
}

func databaseType(system string) string {
	var buf [64]byte
	tag := appendTag(buf[:0], system)
	if t, ok := databaseTypes[string(tag)]; ok {
		return t
	}
	return ext.AppTypeDB
}

// databaseTypes are those of pkg/opentelemetry-mapping-go, and at the end SQL
// systems it does not know, whose literals would leave in clear.
var databaseTypes = map[string]string{
	"cassandra": ext.SpanTypeCassandra, "redis": ext.SpanTypeRedis,
	"memcached": ext.SpanTypeMemcached, "mongodb": ext.SpanTypeMongoDB,
	"elasticsearch": ext.SpanTypeElasticSearch, "opensearch": ext.SpanTypeOpenSearch,

	"other_sql": "sql", "mssql": "sql", "microsoft.sql_server": "sql", "mysql": "sql",
	"oracle": "sql", "oracle.db": "sql", "db2": "sql", "ibm.db2": "sql", "postgresql": "sql",
	"redshift": "sql", "aws.redshift": "sql", "cloudscape": "sql", "hsqldb": "sql",
	"maxdb": "sql", "sap.maxdb": "sql", "ingres": "sql", "actian.ingres": "sql",
	"firstsql": "sql", "edb": "sql", "cache": "sql", "intersystems.cache": "sql",
	"firebird": "sql", "firebirdsql": "sql", "derby": "sql", "informix": "sql",
	"ibm.informix": "sql", "mariadb": "sql", "sqlite": "sql", "sybase": "sql",
	"teradata": "sql", "vertica": "sql", "h2": "sql", "h2database": "sql",
	"coldfusion": "sql", "cockroachdb": "sql", "progress": "sql", "hanadb": "sql",
	"sap.hana": "sql", "adabas": "sql", "softwareag.adabas": "sql", "filemaker": "sql",
	"instantdb": "sql", "interbase": "sql", "netezza": "sql", "ibm.netezza": "sql",
	"pervasive": "sql", "pointbase": "sql", "clickhouse": "sql",

	"spanner": "sql", "gcp.spanner": "sql", "trino": "sql",
}
