package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestHTTPRequestForms: the entry's own httpRequest at the root, an object of
// that form elsewhere, a group to other handlers.
func TestHTTPRequestForms(t *testing.T) {
	t.Parallel()
	r := HTTPRequest{Method: "GET", Status: 200, ResponseSize: 512, Latency: 1500 * time.Millisecond}
	ours := map[string]any{"requestMethod": "GET", "status": json.Number("200"), "responseSize": "512", "latency": "1.5s"}
	theirs := map[string]any{"requestMethod": "GET", "status": json.Number("200"), "responseSize": json.Number("512"), "latency": json.Number("1500000000")}
	for _, tt := range []struct {
		name string
		log  func(*bytes.Buffer)
		want map[string]any
	}{
		{"value", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).Info("m", "httpRequest", r) }, map[string]any{"httpRequest": ours}},
		{"pointer", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).Info("m", "httpRequest", &r) }, map[string]any{"httpRequest": ours}},
		{"another key", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).Info("m", "upstream", &r) }, map[string]any{"upstream": ours}},
		{"in a group", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).WithGroup("g").Info("m", "httpRequest", &r) },
			map[string]any{"g": map[string]any{"httpRequest": ours}}},
		{"not a request", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).Info("m", "httpRequest", "text") }, map[string]any{"_httpRequest": "text"}},
		{"the last one", func(b *bytes.Buffer) {
			slog.New(NewHandler(b, nil)).With("httpRequest", &HTTPRequest{Status: 100}).Info("m", "httpRequest", &r)
		}, map[string]any{"httpRequest": ours}},
		{"nothing known", func(b *bytes.Buffer) { slog.New(NewHandler(b, nil)).Info("m", "httpRequest", &HTTPRequest{}) }, map[string]any{"httpRequest": map[string]any{}}},
		{"slog's handler", func(b *bytes.Buffer) { slog.New(slog.NewJSONHandler(b, nil)).Info("m", "httpRequest", &r) }, map[string]any{"httpRequest": theirs}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			tt.log(&buf)
			m := decode(t, buf.Bytes())
			for k, want := range tt.want {
				if diff := cmp.Diff(want, m[k]); diff != "" {
					t.Errorf("%s: want -, got +:\n%s", k, diff)
				}
			}
		})
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{1, "0.000000001s"}, {time.Millisecond, "0.001s"}, {time.Second, "1s"}, {90 * time.Second, "90s"},
		{123456789, "0.123456789s"}, {10*time.Second + 500*time.Millisecond, "10.5s"},
	} {
		if got := string(appendSeconds(nil, tt.d)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.d, got, tt.want)
		}
	}
}

// TestHTTPRequestNegative: sizes that net/http does not know are left out.
func TestHTTPRequestNegative(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	r := &HTTPRequest{Method: "GET", RequestSize: -1, ResponseSize: -1, Status: -1, Latency: -1}
	if err := NewHandler(&buf, nil).Handle(context.Background(), record(slog.LevelInfo, "m", slog.Any("httpRequest", r))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"requestMethod": "GET"}, decode(t, buf.Bytes())["httpRequest"]); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
