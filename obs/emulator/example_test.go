package emulator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"time"

	"github.com/kumihimo/kumihimo/obs/emulator"
)

// token asks a metadata server as a program on Google Cloud does.
func token(host, audience string) string {
	r, err := http.NewRequest("GET", "http://"+host+
		"/computeMetadata/v1/instance/service-accounts/default/identity?audience="+url.QueryEscape(audience), nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	_, body := do(r)
	return body
}

func do(r *http.Request) (*http.Response, string) {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(err)
	}
	return resp, string(body)
}

func ExampleStartMetadataServer() {
	metadata, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{ProjectID: "acme"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer metadata.Close()

	// Programs find it by the variable GCE_METADATA_HOST.
	r, err := http.NewRequest("GET", "http://"+metadata.Host()+"/computeMetadata/v1/project/project-id", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, body := do(r)
	fmt.Print(resp.Status, ": ", body)

	r.Header.Set("Metadata-Flavor", "Google")
	resp, body = do(r)
	fmt.Print(resp.Status, ": ", body, "\n")
	// Output:
	// 403 Forbidden: Missing Metadata-Flavor:Google header.
	// 200 OK: acme
}

func ExampleStartFrontEnd() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))
	defer service.Close()
	metadata, err := emulator.StartMetadataServer(emulator.MetadataServerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer metadata.Close()
	frontEnd, err := emulator.StartFrontEnd(emulator.FrontEndOptions{Backend: service.URL, Metadata: metadata})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer frontEnd.Close()

	call := func(audience string) {
		r, err := http.NewRequest("GET", frontEnd.URL(), nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		if audience != "" {
			r.Header.Set("Authorization", "Bearer "+token(metadata.Host(), audience))
		}
		resp, _ := do(r)
		fmt.Println(resp.Status)
	}
	call("")
	call("https://other.example")
	call(frontEnd.Audience())
	fmt.Println("refused:", frontEnd.Refused(), "of", frontEnd.Requests())
	// Output:
	// 403 Forbidden
	// 401 Unauthorized
	// 200 OK
	// refused: 2 of 3
}

// A token is worth nothing once the key that signed it is gone.
func ExampleMetadataServer_RotateKey() {
	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	r, err := http.NewRequest("GET", cloud.FrontEnd.URL()+"/info", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token(cloud.Metadata.Host(), cloud.FrontEnd.Audience()))
	cloud.Metadata.RotateKey()
	resp, _ := do(r)
	fmt.Println(resp.Status, resp.Header.Get("X-Emulator-Reason"))

	// Who checks tokens itself finds the new key here.
	keys, err := http.Get(cloud.Metadata.CertsURL())
	if err != nil {
		fmt.Println(err)
		return
	}
	keys.Body.Close()
	fmt.Println(keys.Status, "tokens:", cloud.Metadata.Requests())
	// Output:
	// 401 Unauthorized unknown key
	// 200 OK tokens: 1
}

func ExampleStartAgent() {
	agent, err := emulator.StartAgent(emulator.AgentOptions{
		OnTraces: func(spans []emulator.Span) { fmt.Println("spans:", len(spans)) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()

	// One trace of one span, as tracers send it: [[{"service": "shop", "span_id": 7}]].
	payload := []byte("\x91\x91\x82\xa7service\xa4shop\xa7span_id\x07")
	resp, err := http.Post(agent.URL()+"/v0.4/traces", "application/msgpack", bytes.NewReader(payload))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	spans, err := agent.WaitSpans(context.Background(), 1)
	fmt.Println(spans[0].Service, len(agent.Spans()), err)
	fmt.Println("payloads:", agent.Requests(), "refused:", agent.Refused(), "spans let go of:", agent.Dropped())
	// Output:
	// spans: 1
	// 200 OK {"rate_by_service":{}} <nil>
	// shop 1 <nil>
	// payloads: 1 refused: 0 spans let go of: 0
}

func ExampleStartCloud() {
	cloud, err := emulator.StartCloud(emulator.CloudOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()

	// A program sets these variables and calls obs.Init; this one does by hand
	// what then happens.
	env := cloud.Environ()
	r, err := http.NewRequest("GET", env["DD_TRACE_AGENT_URL"]+"/info", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+token(env["GCE_METADATA_HOST"], env["OBS_AGENT_AUDIENCE"]))
	resp, _ := do(r)
	fmt.Println(resp.Status, "from agent", resp.Header.Get("Datadog-Agent-Version"))
	// Output: 200 OK from agent 7.80.0
}

func ExampleTree() {
	at := func(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)) }
	fmt.Print(emulator.Tree([]emulator.Span{
		{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: 2, ParentID: 1, Service: "shop", Resource: "store.Load", Start: at(1), Duration: 3 * time.Millisecond,
			Error: true, Meta: map[string]string{"error.message": "no such user"}},
		{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: 1, Service: "shop", Resource: "GET /users/{id}", Start: at(0), Duration: 5 * time.Millisecond},
	}))
	// Output:
	// trace 0af7651916cd43dd8448eb211c80319c  2 spans  5ms
	// └─ shop  GET /users/{id}  5ms
	//    └─ shop  store.Load  3ms  ERROR no such user
}

// An agent that answers as it should only from the sixth request on.
func ExampleFault() {
	var asked int
	faults := []emulator.Fault{
		emulator.Status(http.StatusTooManyRequests),
		emulator.Delay(time.Millisecond), // and then the agent's own answer
		emulator.Reset(),
		emulator.Garbage(),
		emulator.CaptivePage(),
	}
	agent, err := emulator.StartAgent(emulator.AgentOptions{
		Fault: emulator.Times(len(faults), func(w http.ResponseWriter, r *http.Request) bool {
			asked++
			return faults[asked-1](w, r)
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // which does not try again by itself
	for range len(faults) + 1 {
		resp, err := client.Get(agent.URL() + "/info")
		if err != nil {
			fmt.Println("reset:", errors.Is(err, syscall.ECONNRESET))
			continue
		}
		resp.Body.Close()
		fmt.Println(resp.Status, resp.Header.Get("Content-Type"))
	}
	// Output:
	// 429 Too Many Requests text/plain; charset=utf-8
	// 200 OK application/json
	// reset: true
	// 200 OK application/octet-stream
	// 200 OK text/html; charset=utf-8
	// 200 OK application/json
}
