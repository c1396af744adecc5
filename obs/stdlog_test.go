package obs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"
)

const standardLogVar = "OBS_TEST_STANDARD_LOG"

// TestStandardLogProcess is not a test but the process that
// TestStandardLog looks at: globals are set, and log.Fatal ends it.
func TestStandardLogProcess(t *testing.T) {
	if os.Getenv(standardLogVar) == "" {
		t.Skip("runs as a child of TestStandardLog")
	}
	if _, err := Init(context.Background(), Options{LogFormat: "xml"}); err == nil {
		os.Exit(4)
	}
	tel, err := Init(context.Background(), Options{Service: "shop", LogFormat: "json", LogSource: true}) // the first was none
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	_, span := tel.TracerProvider().Tracer("test").Start(context.Background(), "work")
	span.End()
	otel.Handle(errors.New("odd"))
	log.Printf("plain %d", 1)
	func() {
		defer func() { _ = recover() }()
		log.Panicln("panicking")
	}()
	if _, err := Init(context.Background(), Options{}); err == nil || !strings.Contains(err.Error(), "called before") {
		log.Print("a second Init: ", err)
	}
	log.Fatal("the end")
}

// TestStandardLog: the log package's lines are records with a level and a
// place, and log.Fatal sends the spans first.
func TestStandardLog(t *testing.T) {
	t.Parallel()
	var payloads atomic.Int32
	agent := serveTest(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Datadog-Trace-Count") == "1" {
			payloads.Add(1)
		}
		io.WriteString(w, "OK")
	}))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStandardLogProcess$")
	cmd.Env = []string{standardLogVar + "=1", "DD_TRACE_AGENT_URL=" + agent, "OBS_LOG=info"}
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Fatalf("exit code %d, want log.Fatal's 1: %v\n%s", code, err, out)
	}
	type record struct {
		Severity, Message string
		Source            struct{ File string } `json:"logging.googleapis.com/sourceLocation"`
	}
	got := make(map[string]record)
	for line := range strings.Lines(string(out)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		got[r.Message] = r
	}
	for message, severity := range map[string]string{"plain 1": "INFO", "panicking": "ERROR", "the end": "CRITICAL"} {
		if r := got[message]; r.Severity != severity || r.Source.File != "obs/stdlog_test.go" {
			t.Errorf("%q: got %+v, want %s from this file", message, r, severity)
		}
	}
	if payloads.Load() != 1 {
		t.Errorf("the agent got %d traces before the end, want 1", payloads.Load())
	}
	if r := got["OpenTelemetry reports an error"]; r.Severity != "WARNING" {
		t.Errorf("OpenTelemetry's error: got %+v", r)
	}
	if len(got) != 5 { // and the start-up line
		t.Errorf("got %d records:\n%s", len(got), out)
	}
}
