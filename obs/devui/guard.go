package devui

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// refusal says why r is not answered, or "". Three kinds of others could ask:
// another machine, directly or through a proxy; a page of another site, in the
// browser of whoever develops here; and a page whose name has been pointed at
// this machine (DNS rebinding), whose requests a browser takes for its own.
func (v *Viewer) refusal(r *http.Request) string {
	switch {
	case !v.opts.AllowRemote && !isLocal(r):
		return "only this machine may look; devui.Options.AllowRemote lets others"
	case !v.knownHost(r.Host):
		return "the host is not one of this viewer's; devui.Options.Hosts names more"
	case !isOwn(r):
		return "the request comes from another site"
	}
	return ""
}

// isLocal reports whether r comes from this machine and was not passed on. A
// peer without an address is one of a unix socket.
func isLocal(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" {
			return false
		}
	}
	if r.RemoteAddr == "" || strings.HasPrefix(r.RemoteAddr, "@") {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// knownHost reports whether host, with or without a port, may address the
// viewer. Addresses cannot be rebound; which of them the peer may come from is
// isLocal's.
func (v *Viewer) knownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return v.opts.AllowRemote || addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(v.opts.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// isOwn reports whether no browser sends r on behalf of another origin's page.
// Another port of this machine is another origin, whose links to the page may
// be followed. https://www.w3.org/TR/fetch-metadata/
func isOwn(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	case "same-site":
		if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" {
			return false
		}
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// policy is what the page may do: run its own files and speak to its own
// server. Text cannot become markup even by mistake.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func setPolicy(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}
