package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/kumihimo/kumihimo/internal/redact"
)

const defaultTimeout = 10 * time.Second

// settings are those of one signal.
type settings struct {
	url     *url.URL // of the signal's requests
	headers map[string]string
	timeout time.Duration
	gzip    bool
	tls     *tls.Config // nil: the system's
}

// tokenHeader leaves Authorization to the receiver where that asks for one of
// its own.
func (s *settings) tokenHeader() string {
	for name := range s.headers {
		if http.CanonicalHeaderKey(name) == "Authorization" {
			return "X-Serverless-Authorization"
		}
	}
	return ""
}

// reader reads the variables of one signal, and gathers what is wrong with them.
//
// OpenTelemetry's exporters read the same ones, but go on with a default after a
// value they cannot understand, print the value, headers with their keys among
// them, and heed neither timeout nor certificates once they are given a client.
// So all are read here first, and they find none that they would complain of.
// See https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
type reader struct {
	lookup func(string) (string, bool)
	signal signal
	errs   []error
}

func (r *reader) fail(name, value, want string) {
	r.errs = append(r.errs, fmt.Errorf("otlp: %s=%q: want %s", name, value, want))
}

// names are those of the variables for a setting, the general one first.
func (r *reader) names(setting string) [2]string {
	return [2]string{"OTEL_EXPORTER_OTLP_" + setting, "OTEL_EXPORTER_OTLP_" + r.signal.name + "_" + setting}
}

// each calls f for the variables that are set, the one that counts last.
func (r *reader) each(setting string, f func(name, value string)) {
	for _, name := range r.names(setting) {
		if v, _ := r.lookup(name); strings.TrimSpace(v) != "" {
			f(name, strings.TrimSpace(v))
		}
	}
}

func resolve(o Options, sig signal, lookup func(string) (string, bool)) (settings, error) {
	r := &reader{lookup: lookup, signal: sig}
	s := settings{timeout: defaultTimeout}
	s.url = r.endpoint(o.Endpoint)
	s.headers = r.headers()
	s.tls = r.certificates()
	if s.tls != nil && s.url != nil && s.url.Scheme == "http" {
		r.fail(r.names("CERTIFICATE")[0], "…", "none for an http endpoint")
	}
	r.each("TIMEOUT", func(name, v string) {
		ms, err := strconv.ParseInt(v, 10, 32)
		if err != nil || ms <= 0 {
			r.fail(name, v, "a number of milliseconds above 0")
		}
		s.timeout = time.Duration(ms) * time.Millisecond
	})
	r.each("COMPRESSION", func(name, v string) {
		if v != "gzip" && v != "none" {
			r.fail(name, v, "gzip or none")
		}
		s.gzip = v == "gzip"
	})
	r.each("PROTOCOL", func(name, v string) {
		if v != "http/protobuf" {
			r.fail(name, v, "http/protobuf")
		}
	})
	switch {
	case o.Timeout < 0:
		r.fail("Options.Timeout", o.Timeout.String(), "a duration above 0, or 0 for the default")
	case o.Timeout > 0:
		s.timeout = o.Timeout
	case o.HTTPClient != nil && o.HTTPClient.Timeout > 0:
		s.timeout = o.HTTPClient.Timeout
	}
	if o.QueueBytes < 0 {
		r.fail("Options.QueueBytes", strconv.FormatInt(o.QueueBytes, 10), "a number of bytes above 0, or 0 for the default")
	}
	return s, errors.Join(r.errs...)
}

// endpoint finds the URL of the signal's requests. Those of the variables that
// do not count are looked at too: they would be printed elsewhere.
func (r *reader) endpoint(option string) *url.URL {
	u := &url.URL{Scheme: "http", Host: "localhost:4318", Path: r.signal.path}
	general := r.names("ENDPOINT")[0]
	r.each("ENDPOINT", func(name, v string) {
		if found := r.url(name, v); found == nil || name != general {
			u = found
		} else {
			u = found.JoinPath(r.signal.path)
		}
	})
	if option != "" {
		if u = r.url("Options.Endpoint", option); u != nil {
			u = u.JoinPath(r.signal.path)
		}
	}
	if u != nil && u.Path == "" {
		u.Path = "/"
	}
	return u
}

func (r *reader) url(name, raw string) *url.URL {
	u, err := url.Parse(raw)
	if err == nil && u.User != nil {
		r.fail(name, redact.Placeholder, "a URL without user or password: OTEL_EXPORTER_OTLP_HEADERS=authorization=… carries them")
		return nil
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		r.fail(name, (*redact.Redactor)(nil).URL(raw), "an http or https URL such as https://collector-xyz.a.run.app or http://localhost:4318")
		return nil
	}
	return u
}

// headers reads "key=value,key=value" with values as in a URL. No value is shown.
func (r *reader) headers() (headers map[string]string) {
	r.each("HEADERS", func(name, list string) {
		headers = make(map[string]string)
		for pair := range strings.SplitSeq(list, ",") {
			key, value, found := strings.Cut(pair, "=")
			key = strings.TrimSpace(key)
			value, err := url.PathUnescape(value)
			value = strings.TrimSpace(value)
			switch {
			case !found:
				r.fail(name, redact.Placeholder, "key=value,key=value")
			case !httpguts.ValidHeaderFieldName(key):
				r.fail(name, redact.Placeholder, "keys that are names of HTTP headers")
			case err != nil || !httpguts.ValidHeaderFieldValue(value):
				r.fail(name, key+"="+redact.Placeholder, "values escaped as in a URL")
			default:
				headers[key] = value
			}
		}
	})
	return headers
}

// certificates reads the files that the environment names.
func (r *reader) certificates() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	r.each("CERTIFICATE", func(name, file string) {
		pem, err := os.ReadFile(file)
		if err != nil {
			r.errs = append(r.errs, fmt.Errorf("otlp: %s: %w", name, err))
			return
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			r.fail(name, file, "a file of PEM certificates")
		}
	})
	keys := r.names("CLIENT_KEY")
	for i, name := range r.names("CLIENT_CERTIFICATE") {
		file, _ := r.lookup(name)
		key, _ := r.lookup(keys[i])
		if file == "" && key == "" {
			continue
		}
		pair, err := tls.LoadX509KeyPair(file, key)
		if err != nil {
			r.errs = append(r.errs, fmt.Errorf("otlp: %s and %s: %w", name, keys[i], err))
			continue
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if c.RootCAs == nil && c.Certificates == nil {
		return nil
	}
	return c
}
