package logging

import (
	"fmt"
	"log/slog"

	"github.com/kumihimo/kumihimo/internal/fault"
)

// maxResolve bounds LogValuers that return LogValuers, as slog does.
const maxResolve = 100

// The functions of this file run methods of the values that are logged: these
// may panic, and a nil pointer's usually do.

// resolve returns what the LogValuer v stands for.
func resolve(v slog.Value) (rv slog.Value) {
	orig := v
	defer func() {
		if p := recover(); p != nil {
			rv = slog.StringValue(fault.PanicText(orig.Any(), p))
		}
	}()
	for range maxResolve {
		if v.Kind() != slog.KindLogValuer {
			return v
		}
		v = v.LogValuer().LogValue()
	}
	return slog.StringValue(fmt.Sprintf("!ERROR: LogValue of %T returns ever more LogValuers", orig.Any()))
}

func errorText(err error) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fault.PanicText(err, p)
		}
	}()
	return err.Error()
}

func stringText(v fmt.Stringer) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = fault.PanicText(v, p)
		}
	}()
	return v.String()
}

// marshal calls f, which encodes v.
func marshal(v any, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &marshalPanic{fault.PanicText(v, p)}
		}
	}()
	return f()
}

type marshalPanic struct{ text string }

func (e *marshalPanic) Error() string { return e.text }

// failureText is what stands in place of a value that could not be encoded.
func failureText(err error) string {
	if p, ok := err.(*marshalPanic); ok { //nolint:errorlint // made by marshal and never wrapped; a foreign Unwrap might panic
		return p.text
	}
	return "!ERROR: " + errorText(err)
}
