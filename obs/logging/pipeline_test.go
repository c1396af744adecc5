package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A processor is one of Datadog's log pipelines. See
// https://docs.datadoghq.com/api/latest/logs-pipelines/.
type processor struct {
	Type             string   `json:"type"`
	Name             string   `json:"name"`
	Enabled          bool     `json:"is_enabled"`
	Sources          []string `json:"sources"`
	SourceType       string   `json:"source_type"`
	Target           string   `json:"target"`
	TargetType       string   `json:"target_type"`
	TargetFormat     string   `json:"target_format"`
	PreserveSource   bool     `json:"preserve_source"`
	OverrideConflict bool     `json:"override_on_conflict"`
}

type pipeline struct {
	Name       string                 `json:"name"`
	Enabled    bool                   `json:"is_enabled"`
	Filter     struct{ Query string } `json:"filter"`
	Processors []processor            `json:"processors"`
}

func loadPipeline(t *testing.T) pipeline {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "datadog", "pipeline.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var p pipeline
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// official are the remappers whose target is Datadog's own, and its name.
var official = map[string]string{
	"date-remapper": "date", "status-remapper": "status", "message-remapper": "message", "service-remapper": "service",
	"trace-id-remapper": "trace_id", "span-id-remapper": "span_id",
}

// apply returns what the pipeline makes of an event, flattened, and the
// processors that found nothing. It fails for a processor that is not
// well-formed.
func (p pipeline) apply(t *testing.T, event map[string]any) (made map[string]any, idle []string) {
	t.Helper()
	made = map[string]any{}
	for _, proc := range p.Processors {
		target, isOfficial := official[proc.Type]
		switch {
		case isOfficial && (proc.Target != "" || len(proc.Sources) != 1):
			t.Errorf("%s: want one source, and no target", proc.Name)
		case isOfficial:
		case proc.Type != "attribute-remapper":
			t.Errorf("%s: type %q", proc.Name, proc.Type)
		case proc.SourceType != "attribute" || proc.TargetType != "attribute" && proc.TargetType != "tag":
			t.Errorf("%s: from %q to %q", proc.Name, proc.SourceType, proc.TargetType)
		case proc.TargetType == "tag":
			target = "tag " + proc.Target
		default:
			target = proc.Target
		}
		if !proc.Enabled {
			t.Errorf("%s: not enabled", proc.Name)
		}
		found := false
		for _, source := range proc.Sources {
			if v, has := event[source]; has && made[target] == nil {
				made[target], found = v, true
			}
		}
		if !found {
			idle = append(idle, proc.Name)
		}
	}
	return made, idle
}

// entryOf makes of a line the log entry that Cloud Logging keeps of it. See
// https://cloud.google.com/logging/docs/structured-logging.
func entryOf(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var payload map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&payload); err != nil {
		t.Fatal(err)
	}
	entry := map[string]any{"jsonPayload": payload, "logName": "projects/acme-shop/logs/run.googleapis.com%2Fstdout"}
	for from, to := range entryFields {
		if v, has := payload[from]; has {
			entry[to] = v
			delete(payload, from)
		}
	}
	return entry
}

var entryFields = map[string]string{
	"severity": "severity", "time": "timestamp", "httpRequest": "httpRequest",
	"logging.googleapis.com/trace": "trace", "logging.googleapis.com/spanId": "spanId",
	"logging.googleapis.com/trace_sampled": "traceSampled", "logging.googleapis.com/sourceLocation": "sourceLocation",
	"logging.googleapis.com/labels": "labels", "logging.googleapis.com/operation": "operation", "logging.googleapis.com/insertId": "insertId",
}

// flat is an event as Datadog addresses its attributes: by paths with dots.
func flat(prefix string, v any, into map[string]any) map[string]any {
	m, isMap := v.(map[string]any)
	if !isMap {
		into[prefix] = v
		return into
	}
	for k, v := range m {
		flat(strings.TrimPrefix(prefix+"."+k, "."), v, into)
	}
	return into
}

// lines are two records of a request that failed, the error's and the access
// record; together they have every field that the pipeline reads.
func lines(t *testing.T) (failure, access []byte) {
	t.Helper()
	var out bytes.Buffer
	h := NewHandler(&out, &Options{ProjectID: "acme-shop", Service: "shop", Env: "prod", Version: "1.4.0"})
	r := slog.NewRecord(recordTime, slog.LevelError, "order not loaded", here())
	r.AddAttrs(slog.Any("error", errors.New("store: no such order")))
	if err := h.WithAttrs([]slog.Attr{slog.String("logger", "shop.store")}).Handle(spanCtx(), r); err != nil {
		t.Fatal(err)
	}
	failure = bytes.Clone(out.Bytes())
	out.Reset()
	r = slog.NewRecord(recordTime, slog.LevelWarn, "GET /orders/{id} 404", here())
	r.AddAttrs(slog.String("http.route", "/orders/{id}"), slog.Any("httpRequest", &HTTPRequest{
		Method: "GET", URL: "https://shop.example/orders/7", Status: 404, ResponseSize: 21, UserAgent: "curl/8", RemoteIP: "192.0.2.7",
		Referer: "https://shop.example/", Latency: 12 * time.Millisecond, Protocol: "HTTP/1.1",
	}))
	if err := h.Handle(spanCtx(), r); err != nil {
		t.Fatal(err)
	}
	return failure, out.Bytes()
}

// TestPipeline applies deploy/datadog/pipeline.json to records as they arrive
// through Cloud Logging, Pub/Sub and Dataflow: each processor finds its source,
// and the records are what Datadog should have.
func TestPipeline(t *testing.T) {
	t.Parallel()
	p := loadPipeline(t)
	failure, access := lines(t)
	sc := spanContext()
	both := map[string]any{
		"date": "2026-03-01T12:30:05.678900000Z", "service": "shop", "tag env": "prod", "tag version": "1.4.0",
		"trace_id": sc.TraceID().String(), "span_id": fmt.Sprint(spanNumber(sc.SpanID())),
	}
	idle := map[string]int{}
	for _, tt := range []struct {
		line []byte
		want map[string]any
	}{
		{failure, map[string]any{
			"status": "ERROR", "message": "order not loaded", "logger.name": "shop.store",
			"error.message": "store: no such order", "error.kind": "*errors.errorString",
		}},
		{access, map[string]any{
			"status": "WARNING", "message": "GET /orders/{id} 404", "http.method": "GET", "http.url": "https://shop.example/orders/7",
			"http.status_code": json.Number("404"), "http.useragent": "curl/8", "http.referer": "https://shop.example/",
			"network.client.ip": "192.0.2.7", "network.bytes_written": "21", "http.route": "/orders/{id}",
		}},
	} {
		event := flat("", map[string]any{"data": entryOf(t, tt.line), "messageId": "1"}, map[string]any{})
		made, unused := p.apply(t, event)
		for _, name := range unused {
			idle[name]++
		}
		if stack, has := made["error.stack"]; has {
			if text := fmt.Sprint(stack); !strings.Contains(text, "goroutine ") || !strings.HasPrefix(text, "order not loaded\n\n") {
				t.Errorf("the stack is %q", text)
			}
			delete(made, "error.stack")
		}
		maps.Copy(tt.want, both)
		if diff := cmp.Diff(tt.want, made); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
		attribute := regexp.MustCompile(`@([a-zA-Z._]+):\*`).FindStringSubmatch(p.Filter.Query)
		if attribute == nil || event[attribute[1]] == nil {
			t.Errorf("the filter %q does not find the record", p.Filter.Query)
		}
	}
	for name, times := range idle {
		if times == 2 {
			t.Errorf("%s: finds nothing in any record", name)
		}
	}
	if p.Name == "" || !p.Enabled || len(p.Processors) > 20 {
		t.Errorf("%q, enabled %t, %d processors: want a name, and 20 at most", p.Name, p.Enabled, len(p.Processors))
	}
}

func spanNumber(id [8]byte) (n uint64) {
	for _, b := range id {
		n = n<<8 | uint64(b)
	}
	return n
}

// TestPipelineTable holds the table of docs/datadog.md: what becomes of each
// field of a line.
func TestPipelineTable(t *testing.T) {
	t.Parallel()
	byPath := map[string]string{}
	for _, proc := range loadPipeline(t).Processors {
		target := official[proc.Type]
		switch {
		case proc.TargetType == "tag":
			target = "tag `" + proc.Target + "`"
		case target != "":
			target = "**" + target + "**"
		default:
			target = "`" + proc.Target + "`"
		}
		for _, s := range proc.Sources {
			byPath[s] = target
		}
	}
	var table strings.Builder
	table.WriteString("| field of the line | in the log entry | in Datadog |\n|---|---|---|\n")
	failure, access := lines(t)
	keys := paths(t, failure)
	for _, key := range paths(t, access) {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		parts := strings.Split(key, "\x00")
		entry, isField := entryFields[parts[0]]
		if !isField {
			entry = "jsonPayload." + parts[0]
		}
		entry = strings.Join(append([]string{entry}, parts[1:]...), ".")
		target := byPath["data."+entry]
		if target == "" {
			target = "`data." + entry + "`"
		}
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", strings.ReplaceAll(key, "\x00", "."), entry, target)
	}
	inDoc(t, "fields", table.String())
}

// paths returns the keys of a JSON object in their order, those of objects in
// it below theirs, divided by NUL.
func paths(t *testing.T, object []byte) (all []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			t.Fatal(err)
		}
		if value[0] != '{' {
			all = append(all, key.(string))
			continue
		}
		for _, below := range paths(t, value) {
			all = append(all, key.(string)+"\x00"+below)
		}
	}
	return all
}

// inDoc compares the table below a mark in docs/datadog.md, or puts it there.
func inDoc(t *testing.T, mark, want string) {
	t.Helper()
	file := filepath.Join("..", "..", "docs", "datadog.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile("(?s)<!-- " + mark + " -->\n((?:\\|[^\n]*\n)+)").FindSubmatchIndex(text)
	if at == nil {
		t.Fatalf("no table %s", mark)
	}
	switch got := string(text[at[2]:at[3]]); {
	case got == want:
	case *update:
		if err := os.WriteFile(file, slices.Concat(text[:at[2]], []byte(want), text[at[3]:]), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/datadog.md, %s: want -, got +:\n%s\nrun with -update", mark, cmp.Diff(want, got))
	}
}
