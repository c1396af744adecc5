package benchmarks

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/kumihimo/kumihimo/obs"
)

// recordTime is a prebuilt record's.
var recordTime = time.Date(2026, 3, 1, 12, 30, 5, 678_900_000, time.UTC)

// newHandwritten returns a function that writes the record of recordAttrs as
// kumihimo's handler does, by hand: it knows the keys, which values need no
// escape, and that there are no duplicates. Nothing that is a handler can be
// as fast.
func newHandwritten(w io.Writer) func() {
	ctx, attrs := recordContext(), recordAttrs()
	buf := make([]byte, 0, 1<<10)
	return func() {
		sc := trace.SpanContextFromContext(ctx)
		tid, sid := sc.TraceID(), sc.SpanID()
		b := append(buf[:0], `{"severity":"INFO","time":"`...)
		b = recordTime.AppendFormat(b, "2006-01-02T15:04:05.000000000Z07:00")
		b = append(append(b, `","message":"`...), recordMessage...)
		b = append(b, `","logging.googleapis.com/trace":"projects/`+project+`/traces/`...)
		b = hex.AppendEncode(b, tid[:])
		b = hex.AppendEncode(append(b, `","logging.googleapis.com/spanId":"`...), sid[:])
		b = strconv.AppendBool(append(b, `","logging.googleapis.com/trace_sampled":`...), sc.IsSampled())
		b = hex.AppendEncode(append(b, `,"dd.trace_id":"`...), tid[:])
		b = strconv.AppendUint(append(b, `","dd.span_id":"`...), binary.BigEndian.Uint64(sid[:]), 10)
		b = append(b, `","dd.service":"`+service+`","dd.env":"`+env+`","dd.version":"`+version+`","placed":"`...)
		b = attrs[0].Value.Time().AppendFormat(b, time.RFC3339Nano)
		b = strconv.AppendInt(append(b, `","elapsed":`...), int64(attrs[1].Value.Duration()), 10)
		b = append(append(b, `,"error":"`...), attrs[2].Value.Any().(error).Error()...)
		b = strconv.AppendInt(append(b, `","items":`...), attrs[3].Value.Int64(), 10)
		b = strconv.AppendInt(append(b, `,"total":`...), attrs[4].Value.Int64(), 10)
		b = append(append(b, `,"user":"`...), attrs[5].Value.String()...)
		b = append(append(b, `","path":"`...), attrs[6].Value.String()...)
		b = appendEscaped(append(b, `","comment":"`...), attrs[7].Value.String())
		b = strconv.AppendBool(append(b, `","gift":`...), attrs[8].Value.Bool())
		address := attrs[9].Value.Group()
		b = append(append(b, `,"address":{"city":"`...), address[0].Value.String()...)
		b = append(append(b, `","zip":"`...), address[1].Value.String()...)
		b = append(b, "\"}}\n"...)
		if _, err := w.Write(b); err != nil {
			panic(err)
		}
		buf = b
	}
}

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, c)
		}
	}
	return b
}

// newZerolog returns a function that writes the first five attributes and the
// three trace fields with zerolog's own API. Times have all their digits, and
// durations are integers, as the others write them.
func newZerolog(w io.Writer) func() {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	zerolog.DurationFieldUnit, zerolog.DurationFieldInteger = time.Nanosecond, true
	ctx, attrs := recordContext(), recordAttrs()
	logger := zerolog.New(w)
	return func() {
		sc := trace.SpanContextFromContext(ctx)
		tid, sid := sc.TraceID(), sc.SpanID()
		var room [len("projects//traces/") + len(project) + 32]byte
		full := append(room[:0], "projects/"+project+"/traces/"...)
		full = hex.AppendEncode(full, tid[:])
		var span [16]byte
		hex.Encode(span[:], sid[:])
		logger.Info().Time("time", time.Now()).
			Bytes("logging.googleapis.com/trace", full).
			Bytes("logging.googleapis.com/spanId", span[:]).
			Bool("logging.googleapis.com/trace_sampled", sc.IsSampled()).
			Time(attrs[0].Key, attrs[0].Value.Time()).
			Dur(attrs[1].Key, attrs[1].Value.Duration()).
			AnErr(attrs[2].Key, attrs[2].Value.Any().(error)).
			Int64(attrs[3].Key, attrs[3].Value.Int64()).
			Int64(attrs[4].Key, attrs[4].Value.Int64()).
			Msg(recordMessage)
	}
}

// filtered returns a logger with a filter of its own.
func filtered(tb testing.TB, filter string) *slog.Logger {
	return newTelemetry(tb, obs.Options{LogFilter: filter}).Logger()
}

// callerPC is the place of a record made here.
func callerPC() uintptr {
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	return pcs[0]
}

// BenchmarkLevels is what a record costs that is not written.
func BenchmarkLevels(b *testing.B) {
	ctx, attrs := recordContext(), recordAttrs()[:5]
	for _, bm := range []struct{ name, filter string }{
		{"below-every-rule", "info"},
		{"withheld-by-its-package", "info,elsewhere.example=debug"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			h := filtered(b, bm.filter).Handler()
			r := slog.NewRecord(recordTime, slog.LevelDebug, recordMessage, callerPC())
			r.AddAttrs(attrs...)
			b.ReportAllocs()
			for b.Loop() {
				if h.Enabled(ctx, slog.LevelDebug) {
					if err := h.Handle(ctx, r); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
