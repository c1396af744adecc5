package blocks

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// listenAndServe takes the place of http.ListenAndServe, which does not say
// where it listens, nor ever ends well.
const listenAndServe = `package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
)

func listenAndServe(_ string, h http.Handler) any {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println("serving", ln.Addr())
	go http.Serve(ln, h)
	<-ctx.Done()
	os.Exit(0)
	return nil
}
`

// TestMigration runs the guide's program with dd-trace-go, the one with
// kumihimo, and the latter with the names that dd-trace-go has. A request tells
// an agent the same of each.
func TestMigration(t *testing.T) {
	t.Parallel()
	blocks, err := parse("docs/migrating.md", readDoc(t, "docs/migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	var programs []string
	var spanNames string
	for _, b := range blocks {
		if b.lang == "go" && strings.HasPrefix(b.text, "package main\n") {
			programs = append(programs, b.text)
		}
		if m := regexp.MustCompile(`(?s)\tSpanNames: func.*\n\t},\n`).FindString(b.text); m != "" {
			spanNames = m
		}
	}
	if len(programs) != 2 || spanNames == "" {
		t.Fatalf("%d programs, want one before and one after, and names %q", len(programs), spanNames)
	}
	before := strings.Replace(programs[0], "http.ListenAndServe(", "listenAndServe(", 1)
	after := strings.Replace(programs[1], `":8080"`, `"127.0.0.1:0"`, 1)
	named := strings.Replace(after, "obs.Options{", "obs.Options{\n"+spanNames, 1)
	named = strings.Replace(named, "import (", `import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"github.com/kumihimo/kumihimo/obs/tracing/ddagent"`, 1)
	tests := []struct {
		name, program string
		want          []string // the spans from the root on: operation, resource, type
	}{
		{"before", before, []string{
			"shop http.request, GET /orders/{id}, web", "shop order.load, order.load, ", "shop http.request, http.request, http"}},
		{"after", after, []string{
			"shop http.server.request, GET /orders/{id}, web", "shop Internal, order.load, custom", "shop http.client.request, GET, http"}},
		{"after, with names", named, []string{
			"shop http.request, GET /orders/{id}, web", "shop order.load, order.load, custom", "shop http.request, GET, http"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range order(t, tt.program) {
				got = append(got, fmt.Sprintf("%s %s, %s, %s", s.Service, s.Name, s.Resource, s.Type))
				if id := s.Meta["order.id"]; s.Resource == "order.load" && id != "7" || s.Meta["team"] != "orders" || s.Priority != 1 {
					t.Errorf("%s: priority %d, tags %v", s.Name, s.Priority, s.Meta)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// order asks a program for an order, and returns what the agent gets, the root
// first. It wants the trace to be carried on by the request for the stock.
func order(t *testing.T, program string) []emulator.Span {
	t.Helper()
	agent, err := emulator.StartAgent(emulator.AgentOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	stock := make(chan http.Header, 1)
	inventory := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stock <- r.Header }))
	defer inventory.Close()
	dir := t.TempDir()
	files := map[string]string{"main.go": program, "serve.go": listenAndServe}
	var pkg []string
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pkg = append(pkg, file)
	}
	slices.Sort(pkg)
	var spans []emulator.Span
	printed, err := server{
		module: "docs/blocks", pkg: pkg, path: "/orders/7",
		env: []string{
			"DD_TRACE_AGENT_URL=" + agent.URL(), "HTTP_PROXY=" + inventory.URL, // inventory is no host of ours
			"DD_INSTRUMENTATION_TELEMETRY_ENABLED=false", "DD_REMOTE_CONFIGURATION_ENABLED=false",
		},
		answered: func(ctx context.Context) (err error) {
			spans, err = agent.WaitSpans(ctx, 3)
			return err
		},
	}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spans = fromRoot(spans)
	carried := (<-stock).Get("X-Datadog-Parent-Id")
	if client := spans[len(spans)-1]; carried != fmt.Sprint(client.SpanID) {
		t.Errorf("the request for the stock has parent %s, want %d\n%s", carried, client.SpanID, printed)
	}
	return spans
}

// fromRoot sorts spans that are each other's parents.
func fromRoot(spans []emulator.Span) (sorted []emulator.Span) {
	parent := uint64(0)
	for range spans {
		for _, s := range spans {
			if s.ParentID == parent {
				sorted, parent = append(sorted, s), s.SpanID
				break
			}
		}
	}
	return sorted
}
