package emulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
)

// AgentOptions configure an agent. The zero value takes every payload and
// asks for no sampling.
type AgentOptions struct {
	// OnTraces, if set, gets the spans of each accepted payload from the
	// request's goroutine, before the request is answered. It must not close
	// the agent, which waits for it.
	OnTraces func([]Span)

	// Rates are the sampling rates that the agent answers with, by
	// "service:shop,env:prod", or "service:,env:" for all others.
	Rates map[string]float64

	// WithoutV1 makes it an agent that does not know v1.0.
	WithoutV1 bool

	// Fault, if set, gets each request first.
	Fault Fault
}

// Agent takes what a Datadog Agent's trace endpoints take, v0.3, v0.4 and v1.0,
// and keeps the last 100,000 spans. Its methods are safe for concurrent use.
type Agent struct {
	server *server
	opts   AgentOptions
	info   []byte
	state  string // of info
	rates  []byte

	requests atomic.Int64
	refused  atomic.Int64

	mu       sync.Mutex // guards the fields below
	spans    []Span
	keep     int
	dropped  int64
	received chan struct{} // closed and replaced at each payload
}

const (
	agentVersion = "7.80.0"
	maxAgentBody = ddpayload.MaxBody
	bodyTimeout  = 5 * time.Second // the agent's receiver_timeout
	maxKept      = 100_000
)

// StartAgent listens on a loopback port.
func StartAgent(o AgentOptions) (*Agent, error) {
	if o.Rates == nil {
		o.Rates = map[string]float64{}
	}
	rates, err := json.Marshal(map[string]any{"rate_by_service": o.Rates})
	if err != nil {
		return nil, fmt.Errorf("emulator: rates: %w", err)
	}
	s, err := listen()
	if err != nil {
		return nil, err
	}
	a := &Agent{server: s, opts: o, rates: rates, keep: maxKept, received: make(chan struct{})}
	a.info = agentInfo(o)
	sum := sha256.Sum256(a.info)
	a.state = hex.EncodeToString(sum[:])
	s.serve(http.HandlerFunc(a.serveHTTP), o.Fault)
	return a, nil
}

// Close ends the agent with the requests under way, and waits for it. The
// spans stay.
func (a *Agent) Close() error { return a.server.close() }

// URL is http://127.0.0.1:port.
func (a *Agent) URL() string { return a.server.url() }

// Requests returns how many payloads came, accepted or not.
func (a *Agent) Requests() int64 { return a.requests.Load() }

// Refused returns how many of them were not accepted. Those that a Fault has
// answered are not among either.
func (a *Agent) Refused() int64 { return a.refused.Load() }

// Spans returns the spans in the order in which they came.
func (a *Agent) Spans() []Span {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.spans)
}

// Dropped returns how many spans were let go of to make room.
func (a *Agent) Dropped() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dropped
}

// WaitSpans returns the spans once there are n, or those there are with ctx's
// error.
func (a *Agent) WaitSpans(ctx context.Context, n int) ([]Span, error) {
	for {
		a.mu.Lock()
		spans, received := slices.Clone(a.spans), a.received
		a.mu.Unlock()
		if len(spans) >= n {
			return spans, nil
		}
		select {
		case <-received:
		case <-ctx.Done():
			return spans, fmt.Errorf("emulator: %d spans, want %d: %w", len(spans), n, ctx.Err())
		}
	}
}

func (a *Agent) add(spans []Span) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spans = append(a.spans, spans...)
	if over := len(a.spans) - a.keep; over > 0 {
		a.spans = slices.Delete(a.spans, 0, over)
		a.dropped += int64(over)
	}
	close(a.received)
	a.received = make(chan struct{})
}

// agentInfo is the answer to GET /info, as far as it concerns us. See
// https://github.com/DataDog/datadog-agent/blob/main/pkg/trace/api/info.go.
func agentInfo(o AgentOptions) []byte {
	endpoints := []string{"/v0.3/traces", "/v0.4/traces"}
	if !o.WithoutV1 {
		endpoints = append(endpoints, "/v1.0/traces")
	}
	b, err := json.MarshalIndent(map[string]any{
		"version":             agentVersion,
		"endpoints":           endpoints,
		"feature_flags":       []string{},
		"client_drop_p0s":     true,
		"span_meta_structs":   true,
		"long_running_spans":  true,
		"span_events":         true,
		"obfuscation_version": 1,
		"peer_tags":           []string{"db.name", "db.system", "peer.service", "server.address"},
		"span_kinds_stats_computed": []string{
			"client", "consumer", "producer", "server",
		},
		"config": map[string]any{
			"default_env":       "none",
			"target_tps":        10,
			"max_eps":           200,
			"receiver_port":     8126,
			"receiver_timeout":  int(bodyTimeout / time.Second),
			"max_request_bytes": maxAgentBody,
			"statsd_port":       0,
		},
	}, "", "\t")
	if err != nil {
		panic(err) // these values always encode
	}
	return b
}

func (a *Agent) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Datadog-Agent-Version", agentVersion)
	w.Header().Set("Datadog-Agent-State", a.state)
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		http.Error(w, "cross-site request rejected", http.StatusForbidden)
		return
	}
	version := a.version(r.URL.Path)
	switch {
	case r.URL.Path == "/info":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.info)
	case version == "":
		http.NotFound(w, r)
	case r.Method != http.MethodPut && r.Method != http.MethodPost:
		http.Error(w, "want PUT or POST", http.StatusMethodNotAllowed)
	default:
		a.requests.Add(1)
		if status, err := a.take(w, r, version); err != nil {
			a.refused.Add(1)
			http.Error(w, err.Error(), status)
			return
		}
		a.accept(w, r)
	}
}

// version returns the protocol's version of a path, "" if the agent has none.
func (a *Agent) version(path string) string {
	switch {
	case path == "/v0.3/traces":
		return ddpayload.V03
	case path == "/v0.4/traces":
		return ddpayload.V04
	case path == "/v1.0/traces" && !a.opts.WithoutV1:
		return ddpayload.V10
	}
	return ""
}

var errTooLarge = errors.New("payload-too-large")

// take reads a payload and keeps its spans.
func (a *Agent) take(w http.ResponseWriter, r *http.Request, version string) (status int, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/msgpack" {
		return http.StatusUnsupportedMediaType, errors.New("want the Content-Type application/msgpack")
	}
	if r.ContentLength > maxAgentBody {
		return http.StatusRequestEntityTooLarge, errTooLarge
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout)) // for HTTP/1 connections it works
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAgentBody))
	_ = conn.SetReadDeadline(time.Time{})
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return http.StatusRequestEntityTooLarge, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, errors.New("timeout")
	case err != nil:
		return http.StatusBadRequest, err
	}
	spans, err := decode(version, body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	a.add(spans)
	if a.opts.OnTraces != nil {
		a.opts.OnTraces(slices.Clone(spans))
	}
	return 0, nil
}

func (a *Agent) accept(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v0.3/traces" {
		_, _ = io.WriteString(w, "OK\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(a.rates)
}
