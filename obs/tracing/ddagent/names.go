package ddagent

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
)

// What follows is version 2 of the operation and resource names of the
// agent's OTLP intake (pkg/trace/transform/otelutil.go, v0.85.1).

// operation holds a name that is put together; it fits most of them.
type operation struct {
	buf [256]byte
}

// name returns the operation name, valid until the next call.
func (o *operation) name(f *factSet, kind trace.SpanKind) []byte {
	raw := o.raw(o.buf[:0], f, kind)
	return appendName(raw[len(raw):], raw)
}

func (o *operation) raw(b []byte, f *factSet, kind trace.SpanKind) []byte {
	client, server := kind == trace.SpanKindClient, kind == trace.SpanKindServer
	if f[factOperation] != "" {
		return appendTag(b, f[factOperation])
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
	if f[factMessagingSystem] != "" && f[factMessagingOperation] != "" && kind != trace.SpanKindInternal {
		b = append(appendTag(b, f[factMessagingSystem]), '.')
		return appendTag(b, f[factMessagingOperation])
	}
	if f[factRPCSystem] != "" && (client || server) {
		return rpcName(b, f, client)
	}
	if f[factFaaSProvider] != "" && f[factFaaSName] != "" && client {
		b = append(appendTag(b, f[factFaaSProvider]), '.')
		return append(appendTag(b, f[factFaaSName]), ".invoke"...)
	}
	if f[factFaaSTrigger] != "" && server {
		return append(appendTag(b, f[factFaaSTrigger]), ".invoke"...)
	}
	if f[factGraphQLType] != "" {
		return append(b, "graphql.server.request"...)
	}
	return plainName(b, f, kind)
}

func rpcName(b []byte, f *factSet, client bool) []byte {
	switch {
	case !client:
		return append(appendTag(b, f[factRPCSystem]), ".server.request"...)
	case f[factRPCSystem] != "aws-api":
		return append(appendTag(b, f[factRPCSystem]), ".client.request"...)
	case f[factRPCService] != "":
		b = append(b, "aws."...)
		return append(appendTag(b, f[factRPCService]), ".request"...)
	default:
		return append(b, "aws.client.request"...)
	}
}

func plainName(b []byte, f *factSet, kind trace.SpanKind) []byte {
	switch kind {
	case trace.SpanKindServer, trace.SpanKindClient:
		if f[factProtocol] != "" {
			b = append(appendTag(b, f[factProtocol]), '.')
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
func resourceName(f *factSet, kind trace.SpanKind, name string) (string, string) {
	if f[factResource] != "" {
		return f[factResource], ""
	}
	if method := f.first(factHTTPRequestMethod, factHTTPMethod); method != "" {
		if method == "_OTHER" {
			method = "HTTP"
		}
		switch kind {
		case trace.SpanKindClient:
			return method, f[factURLTemplate]
		case trace.SpanKindServer:
			return method, f[factHTTPRoute]
		}
		return method, ""
	}
	if f[factMessagingOperation] != "" {
		return f[factMessagingOperation], f.first(factMessagingDestination, factMessagingDestinationName)
	}
	if f[factRPCMethod] != "" {
		return f[factRPCMethod], f[factRPCService]
	}
	if f[factGraphQLType] != "" {
		return f[factGraphQLType], f[factGraphQLName]
	}
	if f.first(factDBSystemName, factDBSystem) != "" {
		if statement := f.first(factDBStatement, factDBQueryText); statement != "" {
			return statement, "" // the agent obfuscates it, by the span's type
		}
	}
	return name, ""
}

// spanType returns the span's type. The agent obfuscates by it: a query under
// the wrong one leaves with its literals.
func spanType(f *factSet, kind trace.SpanKind) string {
	if f[factType] != "" {
		return f[factType]
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
