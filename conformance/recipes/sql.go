package recipes

import (
	"database/sql"

	"github.com/XSAM/otelsql"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// OpenSQL returns a pool whose queries are spans. The system's name matters: by
// it Datadog's agent knows that the statement is SQL, and takes out literals.
func OpenSQL(driver, dsn string) (*sql.DB, error) {
	return otelsql.Open(driver, dsn,
		otelsql.WithAttributes(semconv.DBSystemNamePostgreSQL),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnectorConnect: true, OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true,
		}))
}
