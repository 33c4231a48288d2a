package login

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Source is where a request comes from, as far as that can be told: the address that
// connected or, where that is one of the trusted proxies, the last one of X-Forwarded-For
// that is not. Of IPv6 it is the network of 64 bits: whoever has one address has all of it.
func Source(r *http.Request, trusted []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if !in(trusted, at) {
		return network(at)
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // nobody vouches for what is before it
		}
		if !in(trusted, hop) {
			return network(hop)
		}
	}
	return network(at)
}

func in(all []netip.Prefix, at netip.Addr) bool {
	at = at.Unmap().WithZone("")
	for _, p := range all {
		if p.Contains(at) {
			return true
		}
	}
	return false
}

func network(at netip.Addr) string {
	at = at.Unmap().WithZone("")
	if at.Is4() {
		return at.String()
	}
	p, _ := at.Prefix(64) // there are as many bits
	return p.String()
}
