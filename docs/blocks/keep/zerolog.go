package keep

import (
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
)

// NewZerolog returns a logger whose lines Cloud Logging and Datadog read, with
// the trace of the context that Event.Ctx or Context.Ctx gave. zerolog has the
// names of its fields in package variables.
func NewZerolog(w io.Writer, project string) zerolog.Logger {
	zerolog.LevelFieldName = "severity"
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.LevelFieldMarshalFunc = severity
	return zerolog.New(w).With().Timestamp().Logger().Hook(ids{project})
}

// ids is a hook that writes a trace's and a span's ids.
type ids struct{ project string }

func (h ids) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	sc := trace.SpanContextFromContext(e.GetCtx())
	if !sc.IsValid() {
		return
	}
	t, s := sc.TraceID(), sc.SpanID()
	e.Str("logging.googleapis.com/trace", "projects/"+h.project+"/traces/"+t.String()).
		Str("logging.googleapis.com/spanId", s.String()).
		Bool("logging.googleapis.com/trace_sampled", sc.IsSampled()).
		Str("dd.trace_id", t.String()).
		Str("dd.span_id", strconv.FormatUint(binary.BigEndian.Uint64(s[:]), 10))
}

func severity(l zerolog.Level) string {
	switch l {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return "DEBUG"
	case zerolog.WarnLevel:
		return "WARNING"
	case zerolog.ErrorLevel:
		return "ERROR"
	case zerolog.FatalLevel, zerolog.PanicLevel:
		return "CRITICAL"
	default:
		return "INFO"
	}
}
