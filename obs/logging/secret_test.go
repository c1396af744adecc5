package logging

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/kumihimo/kumihimo/internal/obsctx"
	"github.com/kumihimo/kumihimo/internal/redact"
)

const planted = "hunter2"

// TestSecretPrinted: no verb and no encoder shows a Secret.
func TestSecretPrinted(t *testing.T) {
	t.Parallel()
	s := NewSecret(planted)
	type holder struct {
		S Secret
		L []Secret
		M map[Secret]Secret
		P *Secret
		u Secret // fmt reads it without its methods
	}
	h := holder{s, []Secret{s}, map[Secret]Secret{s: s}, &s, s}
	outputs := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10.3s", "%T", "%t", "%!"} {
		outputs[verb] = fmt.Sprintf(verb, s) + fmt.Sprintf(verb, h) + fmt.Sprintf(verb, &h)
	}
	for name, encode := range map[string]func(io.Writer) error{
		"json": func(w io.Writer) error { return json.NewEncoder(w).Encode(h) },
		"xml":  func(w io.Writer) error { return xml.NewEncoder(w).Encode(s) },
		"gob":  func(w io.Writer) error { return gob.NewEncoder(w).Encode(struct{ S Secret }{s}) },
		"slog": func(w io.Writer) error {
			slog.New(slog.NewTextHandler(w, nil)).Info("m", "s", s, "h", h.L)
			return nil
		},
	} {
		var buf bytes.Buffer
		if err := encode(&buf); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		outputs[name] = buf.String()
	}
	hex := fmt.Sprintf("%x", planted)
	for name, out := range outputs {
		if strings.Contains(out, planted) || strings.Contains(strings.ToLower(out), hex) {
			t.Errorf("%s shows the secret: %s", name, out)
		}
		if name != "%T" && !strings.Contains(out, redact.Placeholder) {
			t.Errorf("%s: no placeholder in %s", name, out)
		}
	}
	if got := h.u.Reveal(); got != planted {
		t.Errorf("got %q back, want %q", got, planted)
	}
}

// TestSecretRead: a configuration has a Secret as it has a string.
func TestSecretRead(t *testing.T) {
	t.Parallel()
	var config struct{ Password, Missing Secret }
	if err := json.Unmarshal([]byte(`{"Password":"`+planted+`"}`), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Password; got.Reveal() != planted || got != NewSecret(planted) || got == NewSecret("") {
		t.Errorf("got %q", got.Reveal())
	}
	if got := config.Missing.Reveal(); got != "" {
		t.Errorf("the zero Secret: got %q", got)
	}
}

// TestRedaction plants a secret everywhere an attribute can be.
func TestRedaction(t *testing.T) {
	t.Parallel()
	type config struct {
		Token string
		Inner map[string]any `json:"inner"`
		Count int            `json:"password"`
	}
	attrs := []slog.Attr{
		slog.String("Authorization", planted),
		slog.Any("session.cookie", []byte(planted)),
		slog.Any("secret", struct{ Any string }{planted}),
		slog.Any("apiKey", valuerFunc(func() slog.Value { return slog.StringValue(planted) })),
		slog.Group("credentials", slog.String("user", planted), slog.Group("deep", slog.Any("x", []string{planted}))),
		slog.Group("plain", slog.String("access_token", planted)),
		slog.Any("typed", []any{NewSecret(planted), map[Secret]int{NewSecret(planted): 1}}),
		slog.Any("config", config{Token: planted, Inner: map[string]any{
			"db-password": map[string]string{"x": planted}, "custom": planted, "set_cookie": []string{planted, "}"}, "t\u006fken": planted,
		}, Count: 1 << 40}),
		slog.Any("raw", json.RawMessage(`{"tok\u0065n":"`+planted+`"}`)),
		slog.String("custom", planted),
		slog.Any("httpRequest", HTTPRequest{URL: "https://u:" + planted + "@a.b/?custom=" + planted}),
		slog.Any("other", &HTTPRequest{Referer: "/x?token=" + planted}),
	}
	opts := &Options{Redactor: redact.New([]string{"custom"})}
	for _, newHandler := range []func(io.Writer, *Options) slog.Handler{NewHandler, NewTextHandler} {
		for name, log := range map[string]func(slog.Handler) error{
			"call": func(h slog.Handler) error { return h.Handle(nil, record(slog.LevelError, "m", attrs...)) }, //nolint:staticcheck // callers do
			"With": func(h slog.Handler) error {
				return h.WithAttrs(attrs).Handle(context.Background(), record(slog.LevelError, "m"))
			},
			"context": func(h slog.Handler) error {
				return h.Handle(obsctx.WithFields(context.Background(), attrs), record(slog.LevelError, "m"))
			},
			"secret group": func(h slog.Handler) error {
				return h.WithGroup("token").WithGroup("g").Handle(context.Background(), record(slog.LevelInfo, "m", slog.String("x", planted), slog.Int("n", 1)))
			},
		} {
			var buf bytes.Buffer
			if err := log(newHandler(&buf, opts)); err != nil {
				t.Error(err)
			}
			if out := buf.String(); strings.Contains(out, planted) || !strings.Contains(out, redact.Placeholder) {
				t.Errorf("%s: %s", name, out)
			}
		}
	}
}

// TestNotRedacted: what counts or switches is no secret, nor is a key that
// merely begins like one.
func TestNotRedacted(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	slog.New(NewHandler(&buf, nil)).Info("m",
		"token", 7, "password", true, "secret", 1.5, "token_count", "three", "passwords", "many",
		"any", map[string]any{"token": 7, "password": nil, "secret": false, "tokens": "t"})
	const want = `"token":7,"password":true,"secret":1.5,"token_count":"three","passwords":"many","any":{"password":null,"secret":false,"token":7,"tokens":"t"}}`
	if !strings.HasSuffix(buf.String(), want+"\n") {
		t.Errorf("got %s want %s", &buf, want)
	}
}
