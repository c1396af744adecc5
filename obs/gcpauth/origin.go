package gcpauth

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// An origin is where tokens may go, as in RFC 6454; for a socket, scheme and
// host are what its requests must say.
type origin struct {
	scheme string
	host   string // canonical
	socket string
}

var errMalformedOrigin = errors.New("gcpauth: malformed origin: want a URL such as https://agent-xyz.a.run.app, http://localhost:8126 or unix:///path")

// parseOrigin takes an http, https or unix URL; its path is of no importance
// with the first two. The error shows no part of raw that could be a secret.
func parseOrigin(raw string) (origin, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return origin{}, errMalformedOrigin
	}
	if u.User != nil {
		return origin{}, errors.New("gcpauth: origin: want a URL without user or password, which would take the ID token's place")
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || u.Path == "" {
			return origin{}, errors.New("gcpauth: malformed origin: want unix:///path of a socket")
		}
		return origin{scheme: "http", host: "localhost", socket: u.Path}, nil
	case "http", "https":
		if u.Hostname() == "" || strings.HasSuffix(u.Host, ":") {
			return origin{}, errors.New("gcpauth: malformed origin: want a URL with a host")
		}
		return origin{scheme: u.Scheme, host: canonicalHost(u.Scheme, u.Host)}, nil
	}
	return origin{}, errMalformedOrigin
}

// canonicalHost is in lower case and without the scheme's default port.
func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

func (o origin) String() string {
	if o.socket != "" {
		return "unix://" + o.socket
	}
	return o.scheme + "://" + o.host
}

// private reports whether nobody outside this machine can read what goes there,
// or not without the key.
func (o origin) private() bool {
	return o.scheme == "https" || o.socket != "" || isLoopback(o.host)
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// matches reports whether r goes to o. A Host header of its own would lead it
// to another service behind the same front end.
func (o origin) matches(r *http.Request) bool {
	u := r.URL
	if u == nil || u.Scheme != o.scheme && !strings.EqualFold(u.Scheme, o.scheme) {
		return false
	}
	if u.Host != o.host && canonicalHost(o.scheme, u.Host) != o.host {
		return false
	}
	return r.Host == "" || r.Host == u.Host || canonicalHost(o.scheme, r.Host) == o.host
}
