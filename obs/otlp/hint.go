package otlp

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// hintForAnswer says what to set where the answer shows that somebody else
// listens there.
func hintForAnswer(resp *http.Response, body []byte) string {
	switch code := resp.StatusCode; {
	case code/100 == 3:
		return "redirects are not followed: give the receiver's own URL"
	case isHTML(resp, body) && code != http.StatusUnauthorized && code != http.StatusForbidden && code < 500:
		return "no OTLP receiver listens there: check OTEL_EXPORTER_OTLP_ENDPOINT or Options.Endpoint"
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return "no OTLP receiver listens at this path: Options.Endpoint and OTEL_EXPORTER_OTLP_ENDPOINT are a base to which the signal's path is added"
	case code == http.StatusUnsupportedMediaType:
		return "it takes no http/protobuf"
	}
	return ""
}

const hintForDatadog = "a Datadog Agent listens there for Datadog's own protocol: send OTLP to its port 4318 " +
	"(otlp_config.receiver.protocols.http), or leave out obs/otlp and set DD_TRACE_AGENT_URL"

// fromDatadog reports whether a Datadog Agent has given the answer 404. That is
// the same as any Go server's without the path, so the agent is asked, once, for
// the list of its paths.
func (j *judge) fromDatadog(resp *http.Response) bool {
	if known := j.datadog.Load(); known != nil {
		return *known
	}
	is := marked(resp.Header) || j.asksDatadog(resp)
	j.datadog.Store(&is)
	return is
}

func (j *judge) asksDatadog(resp *http.Response) bool {
	if resp.Request == nil {
		return false
	}
	u := *resp.Request.URL
	u.Path, u.RawPath = "/info", ""
	req, err := http.NewRequestWithContext(resp.Request.Context(), http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return false
	}
	info, err := j.base.RoundTrip(req)
	if err != nil {
		return false
	}
	defer info.Body.Close()
	body, err := io.ReadAll(io.LimitReader(info.Body, maxAnswer))
	return err == nil && info.StatusCode == http.StatusOK && (marked(info.Header) || bytes.Contains(body, []byte(`"/v0.4/traces"`)))
}

// marked reports whether h has headers that only an agent sets; it does not on
// every answer.
func marked(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "Datadog-Agent-") {
			return true
		}
	}
	return false
}

// hintForError says what to set where there was no answer.
func hintForError(err error) string {
	// The first frame of HTTP/2, which such a server sends unasked: net/http reads
	// it as an answer, or finds it before it has asked.
	if text := err.Error(); strings.Contains(text, `malformed HTTP response "\x00\x00`) || strings.Contains(text, "readLoopPeekFailLocked") {
		return "this is a port for gRPC (4317): OTLP over HTTP has another, 4318"
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
		return "the receiver speaks http, not https"
	}
	return ""
}

// hintForRefusal says what keeps a token from being let in.
func hintForRefusal(r gcpauth.Refusal) string {
	switch r.Status {
	case http.StatusForbidden:
		return fmt.Sprintf("%s lacks %s on the receiver's service", r.Identity, r.Role)
	case http.StatusUnauthorized:
		return fmt.Sprintf("the token of %s is for the audience %q", r.Identity, r.Audience)
	}
	return ""
}
