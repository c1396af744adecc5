package obstest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/emulator"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

// pay is the code under test. It knows nothing of tests.
func pay(ctx context.Context, order string) (err error) {
	ctx, span := obs.Start(ctx, "pay", slog.String("order.id", order))
	defer span.End(&err)
	slog.InfoContext(ctx, "charging", "cents", 9900)
	return errors.New("card declined")
}

// aTest stands for the *testing.T of a test.
type aTest struct {
	testing.TB
	cleanups []func()
}

func (*aTest) Helper()                  {}
func (*aTest) Name() string             { return "TestPay" }
func (*aTest) Context() context.Context { return context.Background() }
func (t *aTest) Cleanup(f func())       { t.cleanups = append(t.cleanups, f) }
func (*aTest) Failed() bool             { return false }
func (*aTest) Errorf(s string, a ...any) {
	fmt.Printf(s+"\n", a...)
}
func (*aTest) Error(a ...any) { fmt.Println(a...) }

func (t *aTest) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

func ExampleNew() {
	t := &aTest{}
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")

	fmt.Println(rec.Check(`
		pay order.id=o7 error="card declined"
		  INFO charging cents=9900
	`))
	fmt.Println(rec.Check(`
		pay
		  INFO charging cents=100
	`))
	t.end()
	// Output:
	// <nil>
	// telemetry differs (- wanted, + recorded):
	//     pay
	//   -   INFO charging cents=100
	//   +   INFO charging cents=9900
}

func ExampleRecorder_Want() {
	t := &aTest{}
	defer t.end()
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")
	rec.Want(`
		pay order.id=o8
		  …
	`)
	// Output:
	// telemetry differs (- wanted, + recorded):
	//   - pay order.id=o8
	//   -   …
	//   + pay error="card declined" order.id=o7
	//   +   INFO charging
}

func ExampleRecorder_Span() {
	t := &aTest{}
	defer t.end()
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")

	span := rec.Span("pay")
	fmt.Println(span.Failed, span.Error, span.Attributes["order.id"])
	record := rec.Records()[0]
	fmt.Println(record.Severity, record.Message, record.Fields["cents"], record.SpanID == span.ID)
	fmt.Println(len(rec.Traces()), rec.Trace(record.TraceID).Roots[0].Name)
	// Output:
	// true card declined o7
	// INFO charging 9900 true
	// 1 pay
}

// A server's requests have contexts of their own.
func ExampleRecorder_Handler() {
	t := &aTest{}
	defer t.end()
	rec := obstest.New(t)
	server := httptest.NewServer(rec.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = pay(r.Context(), "o7")
	})))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(rec.Check("pay\n  INFO charging"))
	// Output: <nil>
}

// Spans take production's way to an agent, which at first is overloaded.
func ExampleNewIn() {
	t := &aTest{}
	defer t.end()
	cloud := obstest.StartCloud(t, emulator.CloudOptions{
		Agent: emulator.AgentOptions{Fault: emulator.Times(1, emulator.Status(http.StatusTooManyRequests))},
	})
	rec := obstest.NewIn(t, cloud.Environ(), obs.Options{Service: "shop"})
	_ = pay(rec.Context(), "o7")
	if err := rec.Telemetry().Flush(t.Context()); err != nil {
		fmt.Println(err)
	}
	for _, s := range cloud.Agent.Spans() {
		fmt.Println(s.Service, s.Resource, s.Error)
	}
	fmt.Println("refused:", cloud.FrontEnd.Refused(), "dropped:", rec.Telemetry().Stats().Spans.Dropped.Total())
	// Output:
	// shop pay true
	// refused: 0 dropped: 0
}

func ExampleRecorder_Golden() {
	t := &aTest{}
	defer t.end()
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")
	rec.Golden("testdata/pay.golden") // fails the test if it is another one
	file, err := os.ReadFile("testdata/pay.golden")
	fmt.Println(string(file), err)
	// Output:
	// pay error="card declined" order.id=o7
	//   INFO charging cents=9900
	//  <nil>
}

func ExampleRecorder_CheckGolden() {
	t := &aTest{}
	defer t.end()
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")
	fmt.Println(rec.CheckGolden("testdata/pay.golden"))
	// Output:
	// <nil>
}

// The three parts, wired: what a program's variables point it at.
func ExampleStartCloud() {
	t := &aTest{}
	defer t.end() // which closes them
	cloud := obstest.StartCloud(t, emulator.CloudOptions{})
	fmt.Println(cloud.Environ()["DD_TRACE_AGENT_URL"] == cloud.FrontEnd.URL())
	// Output: true
}

// An agent alone, without authentication.
func ExampleStartAgent() {
	t := &aTest{}
	defer t.end()
	agent := obstest.StartAgent(t, emulator.AgentOptions{})
	rec := obstest.New(t, obs.Options{Service: "shop", AgentURL: agent.URL()})
	_ = pay(rec.Context(), "o7")
	fmt.Println(rec.Telemetry().Flush(t.Context()), agent.Spans()[0].Resource)
	// Output: <nil> pay
}

// A metadata server, and a service behind a front end that believes its tokens.
func ExampleStartFrontEnd() {
	t := &aTest{}
	defer t.end()
	service := obstest.StartAgent(t, emulator.AgentOptions{})
	metadata := obstest.StartMetadataServer(t, emulator.MetadataServerOptions{})
	front := obstest.StartFrontEnd(t, emulator.FrontEndOptions{Backend: service.URL(), Metadata: metadata})

	source := gcpauth.Metadata(gcpauth.MetadataOptions{Audience: front.Audience(), Host: metadata.Host()})
	with := &http.Client{Transport: &gcpauth.Transport{Source: source, Origin: front.URL()}}
	for _, client := range []*http.Client{http.DefaultClient, with} {
		resp, err := client.Get(front.URL() + "/info")
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// 403 Forbidden
	// 200 OK
}

// A metadata server alone, for what asks it for tokens.
func ExampleStartMetadataServer() {
	t := &aTest{}
	defer t.end()
	metadata := obstest.StartMetadataServer(t, emulator.MetadataServerOptions{Email: "shop@acme.iam.gserviceaccount.com"})
	token, err := gcpauth.Metadata(gcpauth.MetadataOptions{Audience: "https://agent.example", Host: metadata.Host()}).Token(t.Context())
	fmt.Println(token.Identity(), token.Audience(), err)
	// Output: shop@acme.iam.gserviceaccount.com [https://agent.example] <nil>
}
