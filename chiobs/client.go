package chiobs

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// peer splits an http.Request's RemoteAddr, which some middlewares leave
// without a port. There may be no address in it.
func peer(remote string) (ip string, port uint16) {
	if host, port, err := net.SplitHostPort(remote); err == nil {
		return host, portOf(port)
	}
	if _, err := netip.ParseAddr(remote); err == nil {
		return remote, 0
	}
	return "", 0
}

// portOf is 0 for what is no port.
func portOf(s string) uint16 {
	if s == "" {
		return 0 // spares ParseUint's error
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// maxForwarded bounds the proxies that are looked behind.
const maxForwarded = 32

// client returns the address of who made the request, and whether a trusted
// proxy says so. peer is the other end of the connection.
func (s *settings) client(peer string, h http.Header) (ip string, proxied bool) {
	if len(s.TrustedProxies) == 0 || peer != "" && !s.trusts(peer) {
		return peer, false
	}
	ip = peer
	lines := h["X-Forwarded-For"]
	for n := 0; len(lines) > 0 && n < maxForwarded; {
		// From the end, where the nearest proxy writes.
		last := lines[len(lines)-1]
		lines = lines[:len(lines)-1]
		for more := true; more && n < maxForwarded; n++ {
			var entry string
			if i := strings.LastIndexByte(last, ','); i >= 0 {
				last, entry = last[:i], last[i+1:]
			} else {
				entry, more = last, false
			}
			addr, ok := forwardedAddr(strings.TrimSpace(entry))
			if !ok {
				return ip, true // what stands before it is anyone's invention
			}
			ip = addr.String()
			if !s.trustsAddr(addr) {
				return ip, true
			}
		}
	}
	return ip, true
}

// forwardedAddr reads an entry of X-Forwarded-For, which some proxies write
// with a port.
func forwardedAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

func (s *settings) trusts(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && s.trustsAddr(a.Unmap())
}

func (s *settings) trustsAddr(a netip.Addr) bool {
	for _, p := range s.TrustedProxies {
		if p.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}
