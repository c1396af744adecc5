package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"go.opentelemetry.io/otel"

	"github.com/kumihimo/kumihimo/internal/redact"
	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

const (
	maxAnswer = 64 << 10 // bytes read of one
	maxQuote  = 200      // bytes shown of what it says
)

// A failure is why one request did not deliver all it had. The queues ask its
// methods what to do next.
type failure struct {
	text       string
	err        error // nil if there was an answer
	permanent  bool
	tooLarge   bool
	rejected   int // of a permanent one: how many were; the others were taken. 0: all
	retryAfter time.Duration
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// Permanent says that what was sent must not be sent again.
func (f *failure) Permanent() bool { return f.permanent }

// Rejected is how many of what was sent are lost, if not all.
func (f *failure) Rejected() int { return f.rejected }

// TooLarge says that less of it at a time may pass.
func (f *failure) TooLarge() bool { return f.tooLarge }

// RetryAfter is how long the receiver wants to be left alone.
func (f *failure) RetryAfter() time.Duration { return f.retryAfter }

// judge is an http.RoundTripper that lets through nothing but a delivery: all
// else is a *failure. The exporter above it would take an HTML page with the
// status 200 for one, and forgets the status of what it does not.
type judge struct {
	signal  signal
	host    string
	secrets map[string]string // headers that an answer may quote
	auth    *gcpauth.Transport
	base    http.RoundTripper

	datadog atomic.Pointer[bool]   // whether an agent listens there; nil: not known
	warning atomic.Pointer[string] // the last that came with a delivery
}

func (j *judge) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := j.base.RoundTrip(req)
	if err != nil {
		return nil, j.unanswered(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, j.unanswered(fmt.Errorf("the answer ended early: %w", err))
	}
	if resp.StatusCode/100 == 2 {
		err = j.delivered(resp, body)
		j.datadog.Store(nil)
	} else {
		err = j.refused(resp, body)
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Request: req,
	}, nil
}

func (j *judge) unanswered(err error) *failure {
	return &failure{err: err, text: hinted(fmt.Sprintf("otlp: %s: %s", j.host, clean(err.Error())), hintForError(err))}
}

// delivered judges an answer of 2xx.
func (j *judge) delivered(resp *http.Response, body []byte) error {
	rejected, message, ok := j.signal.readAnswer(mediaType(resp), body)
	switch {
	case !ok:
		return &failure{text: hinted(fmt.Sprintf("otlp: the answer of %s is not a receiver's: %s", j.host, j.say(resp, body)), hintForAnswer(resp, body))}
	case rejected > 0:
		return &failure{permanent: true, rejected: rejected,
			text: fmt.Sprintf("otlp: %s rejects %d %s of a batch: %s", j.host, rejected, j.signal.unit, j.quote(resp, message))}
	case message != "" && j.warns(message): // by the protocol
		otel.Handle(fmt.Errorf("otlp: %s takes the %s and says: %s", j.host, j.signal.unit, j.quote(resp, message)))
	}
	return nil
}

// warns reports whether message is another than the last.
func (j *judge) warns(message string) bool {
	last := j.warning.Swap(&message)
	return last == nil || *last != message
}

// refused judges any other. A server error is worth another attempt, though
// OTLP excepts 500: a front end answers with it for a receiver that has ended.
// So are those that only a person can help: the queue keeps what it has for a
// while.
func (j *judge) refused(resp *http.Response, body []byte) error {
	f := &failure{retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	switch code := resp.StatusCode; {
	case code == http.StatusRequestEntityTooLarge:
		f.tooLarge = true
	case code/100 == 3, code >= 500, code == http.StatusUnauthorized, code == http.StatusForbidden,
		code == http.StatusNotFound, code == http.StatusMethodNotAllowed,
		code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
	default:
		f.permanent = true
	}
	hint := hintForAnswer(resp, body)
	if resp.StatusCode == http.StatusNotFound && j.fromDatadog(resp) {
		hint = hintForDatadog
	}
	if hint == "" && j.auth != nil {
		hint = hintForRefusal(j.auth.Refusal())
	}
	f.text = hinted(fmt.Sprintf("otlp: %s answers %s: %s", j.host, clean(resp.Status), j.say(resp, body)), hint)
	return f
}

// readAnswer reads how many of the signal's items were rejected, and what the
// receiver says of it. It is not ok if the answer is none of OTLP's.
// See https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
func (s signal) readAnswer(mediaType string, body []byte) (rejected int, message string, ok bool) {
	switch {
	case len(body) > maxAnswer:
		return 0, "", false
	case len(body) == 0: // an empty message
		return 0, "", true
	case mediaType == "application/json":
		return readJSON(body)
	case mediaType != "application/x-protobuf":
		return 0, "", false
	}
	if s == traces() {
		var a coltrace.ExportTraceServiceResponse
		if proto.Unmarshal(body, &a) != nil {
			return 0, "", false
		}
		p := a.GetPartialSuccess()
		return int(p.GetRejectedSpans()), p.GetErrorMessage(), true
	}
	var a collogs.ExportLogsServiceResponse
	if proto.Unmarshal(body, &a) != nil {
		return 0, "", false
	}
	p := a.GetPartialSuccess()
	return int(p.GetRejectedLogRecords()), p.GetErrorMessage(), true
}

// readJSON reads an answer in OTLP's JSON: some receivers give it whatever they
// were asked in. Its 64-bit numbers are strings, or numbers.
func readJSON(body []byte) (rejected int, message string, ok bool) {
	var a struct {
		PartialSuccess struct {
			RejectedSpans, RejectedLogRecords json.RawMessage
			ErrorMessage                      string
		}
	}
	if json.Unmarshal(body, &a) != nil {
		return 0, "", false
	}
	p := a.PartialSuccess
	for _, n := range []json.RawMessage{p.RejectedSpans, p.RejectedLogRecords} {
		if text := strings.Trim(string(n), `"`); text != "" && text != "null" {
			count, err := strconv.Atoi(text)
			if err != nil {
				return 0, "", false
			}
			rejected += count
		}
	}
	return rejected, p.ErrorMessage, true
}

// say quotes what the body says, in whatever form.
func (j *judge) say(resp *http.Response, body []byte) string {
	switch media := mediaType(resp); {
	case isHTML(resp, body):
		return "an HTML page"
	case media == "application/x-protobuf":
		var s status.Status
		if proto.Unmarshal(body, &s) == nil && s.GetMessage() != "" {
			return j.quote(resp, s.GetMessage())
		}
		return fmt.Sprintf("%d bytes of protobuf", len(body))
	case media == "application/json":
		var s struct{ Message string }
		if json.Unmarshal(body, &s) == nil && s.Message != "" {
			return j.quote(resp, s.Message)
		}
	}
	return j.quote(resp, string(body))
}

// quote shows s without what the request had in its headers, which some
// servers repeat.
func (j *judge) quote(resp *http.Response, s string) string {
	for _, value := range j.secrets {
		s = without(s, value)
	}
	if resp.Request != nil { // as it was sent, with its token
		for _, name := range []string{"Authorization", "X-Serverless-Authorization"} {
			s = without(s, strings.TrimPrefix(resp.Request.Header.Get(name), "Bearer "))
		}
	}
	if s = clean(s); s == "" {
		return "nothing"
	}
	return strconv.Quote(s)
}

func without(s, secret string) string {
	if len(secret) < 4 { // no secret, and it may stand in any word
		return s
	}
	return strings.ReplaceAll(s, secret, redact.Placeholder)
}

// clean makes one short line of s.
func clean(s string) string {
	s = strings.ToValidUTF8((*redact.Redactor)(nil).Text(s), "�")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote], "") + "…"
	}
	return s
}

func hinted(text, hint string) string {
	if hint == "" {
		return text
	}
	return text + "; " + hint
}

func mediaType(resp *http.Response) string {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) //nolint:errcheck // what cannot be read is of no type
	return t
}

func isHTML(resp *http.Response, body []byte) bool {
	return mediaType(resp) == "text/html" || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3); what it
// cannot read is 0.
func retryAfter(s string) time.Duration {
	if seconds, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
