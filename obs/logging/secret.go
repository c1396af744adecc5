package logging

import (
	"fmt"
	"io"
	"log/slog"
	"unique"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// Secret is a text that prints as [REDACTED]: in logs and spans, with every
// verb of fmt, through every encoder, and as a key of a map. [Secret.Reveal]
// is the way to the text. Secrets of one text are equal. The zero Secret is an
// empty text.
//
// It is no string, because fmt reads an unexported field of a struct, and
// encoding/json a string for a map's key, without asking its methods.
type Secret struct {
	text unique.Handle[string]
}

var (
	_ slog.LogValuer = Secret{}
	_ fmt.Formatter  = Secret{}
)

// NewSecret returns the Secret of text.
func NewSecret(text string) Secret { return Secret{unique.Make(text)} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.text.Value()
}

// LogValue returns the placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redact.Placeholder) }

// String returns the placeholder.
func (Secret) String() string { return redact.Placeholder }

// Format writes the placeholder, whatever the verb and its flags.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Placeholder) } //nolint:errcheck // fmt's own buffer takes every write

// MarshalText returns the placeholder: for JSON, XML and map keys.
func (Secret) MarshalText() ([]byte, error) { return []byte(redact.Placeholder), nil }

// MarshalBinary returns the placeholder: for gob.
func (Secret) MarshalBinary() ([]byte, error) { return []byte(redact.Placeholder), nil }

// UnmarshalText makes s the Secret of text, so that a configuration can have
// one.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
