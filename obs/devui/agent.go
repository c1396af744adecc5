package devui

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/internal/ddpayload"
)

const (
	agentVersion = "7.80.0"
	bodyTimeout  = 5 * time.Second // the agent's receiver_timeout
)

// versions are those of the trace protocol.
var versions = []string{ddpayload.V03, ddpayload.V04, ddpayload.V05, ddpayload.V07, ddpayload.V10}

// Agent returns a handler that takes the place of a Datadog Agent's trace
// endpoints, v0.3 to v1.0, as MessagePack: tracers of any language send to it
// if their agent is at its address, 127.0.0.1:8126 by default. It asks them to
// keep all traces, and is guarded as the viewer is.
func (v *Viewer) Agent() http.Handler {
	a := &agent{viewer: v, info: agentInfo()}
	sum := sha256.Sum256(a.info)
	a.state = hex.EncodeToString(sum[:])
	return a
}

type agent struct {
	viewer *Viewer
	info   []byte
	state  string // of info
}

// agentInfo is the answer to GET /info, by which tracers choose a version.
// Statistics and the like are not offered, so none are sent.
func agentInfo() []byte {
	endpoints := make([]string, len(versions))
	for i, version := range versions {
		endpoints[i] = "/" + version + "/traces"
	}
	b, err := json.MarshalIndent(map[string]any{
		"version":            agentVersion,
		"endpoints":          endpoints,
		"client_drop_p0s":    false,
		"span_meta_structs":  true,
		"long_running_spans": true,
		"span_events":        true,
		"config":             map[string]any{"max_request_bytes": ddpayload.MaxBody, "receiver_timeout": int(bodyTimeout / time.Second)},
	}, "", "\t")
	if err != nil {
		panic(err) // these values always encode
	}
	return b
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setPolicy(w.Header())
	w.Header().Set("Datadog-Agent-Version", agentVersion)
	w.Header().Set("Datadog-Agent-State", a.state)
	if why := a.viewer.refusal(r); why != "" {
		http.Error(w, "refused: "+why, http.StatusForbidden)
		return
	}
	version := versionOf(r.URL.Path)
	switch {
	case r.URL.Path == "/info":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.info) // a tracer that is gone
	case version == "":
		http.NotFound(w, r)
	case r.Method != http.MethodPut && r.Method != http.MethodPost:
		w.Header().Set("Allow", "PUT, POST")
		http.Error(w, "want PUT or POST", http.StatusMethodNotAllowed)
	default:
		if status, err := a.take(w, r, version); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		accept(w, version)
	}
}

func versionOf(path string) string {
	for _, version := range versions {
		if strings.TrimSuffix(path, "/") == "/"+version+"/traces" {
			return version
		}
	}
	return ""
}

var errTooLarge = errors.New("payload-too-large")

// take reads a payload and puts its spans into the store: all of them or, if
// it does not decode, none.
func (a *agent) take(w http.ResponseWriter, r *http.Request, version string) (status int, err error) {
	// A page of any site may send text or forms; only a preflight, which is not
	// answered, would let it send this type.
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/msgpack" {
		return http.StatusUnsupportedMediaType, errors.New("want the Content-Type application/msgpack")
	}
	if r.ContentLength > ddpayload.MaxBody {
		return http.StatusRequestEntityTooLarge, errTooLarge
	}
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout)) // for HTTP/1 connections it works
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ddpayload.MaxBody))
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
	spans, err := ddpayload.Decode(version, body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	c := cleaner(*a.viewer.redactors.Load())
	additions := make([]addition, len(spans))
	for i := range spans {
		additions[i] = c.foreign(&spans[i])
	}
	a.viewer.store.add(additions, nil)
	return 0, nil
}

func accept(w http.ResponseWriter, version string) {
	if version == ddpayload.V03 {
		_, _ = io.WriteString(w, "OK\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"rate_by_service":{"service:,env:":1}}`)
}
