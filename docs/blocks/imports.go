//go:build documents

package blocks

// What a block may use without importing it. The build constraint keeps it from
// being linked; go mod tidy heeds it all the same. A comment gives the name of
// one whose own is another's.
import (
	_ "context"
	_ "encoding/json"
	_ "errors"
	_ "fmt"
	_ "io"
	_ "log"
	_ "log/slog"
	_ "net/http"
	_ "net/netip"
	_ "os"
	_ "time"

	_ "github.com/DataDog/dd-trace-go/contrib/go-chi/chi.v5/v2" // as chitrace
	_ "github.com/DataDog/dd-trace-go/contrib/log/slog/v2"      // as slogtrace
	_ "github.com/DataDog/dd-trace-go/contrib/net/http/v2"      // as httptrace
	_ "github.com/DataDog/dd-trace-go/v2/ddtrace/ext"
	_ "github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	_ "github.com/go-chi/chi/v5"
	_ "github.com/go-chi/httplog/v3"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/riandyrn/otelchi"
	_ "github.com/rs/zerolog"
	_ "go.opentelemetry.io/otel"
	_ "go.opentelemetry.io/otel/attribute"
	_ "go.opentelemetry.io/otel/baggage"
	_ "go.opentelemetry.io/otel/codes"
	_ "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	_ "go.opentelemetry.io/otel/propagation"
	_ "go.opentelemetry.io/otel/sdk/trace" // as sdktrace
	_ "go.opentelemetry.io/otel/trace"
	_ "go.uber.org/zap"

	_ "github.com/kumihimo/kumihimo/chiobs"
	_ "github.com/kumihimo/kumihimo/obs"
	_ "github.com/kumihimo/kumihimo/obs/devui"
	_ "github.com/kumihimo/kumihimo/obs/emulator"
	_ "github.com/kumihimo/kumihimo/obs/gcpauth"
	_ "github.com/kumihimo/kumihimo/obs/gcpauth/adc"
	_ "github.com/kumihimo/kumihimo/obs/gcpauth/command"
	_ "github.com/kumihimo/kumihimo/obs/gcpauth/rediscache"
	_ "github.com/kumihimo/kumihimo/obs/logging"
	_ "github.com/kumihimo/kumihimo/obs/obstest"
	_ "github.com/kumihimo/kumihimo/obs/otlp"
	_ "github.com/kumihimo/kumihimo/obs/tracing"
	_ "github.com/kumihimo/kumihimo/obs/tracing/ddagent"
)
