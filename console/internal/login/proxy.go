package login

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxy logs in whom a trusted proxy names in a header. Nil: no header counts.
type Proxy struct {
	// User and Groups are the headers' names; Groups has names with commas between.
	User, Groups string
	// From are the networks of the proxy, as it connects. Empty: Secret alone says that
	// it is the proxy.
	From []netip.Prefix
	// SecretHeader is the header that has to have Secret. Empty: From alone says that it is
	// the proxy.
	SecretHeader, Secret string
	Roles                Groups
}

// leastSecret is how many bytes a proxy's secret has at least.
const leastSecret = 16

// Check says what is wrong with it.
func (p *Proxy) Check() error {
	switch {
	case p.User == "" || p.Groups == "":
		return errors.New("name the headers with the user and with the groups")
	case len(p.From) == 0 && p.Secret == "":
		return errors.New("say who the proxy is, by its network or by a secret: anybody can send a header")
	case p.Secret == "" && slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Bits() == 0 }):
		return errors.New("the proxy's network is everybody's: name its own, or a secret")
	case (p.SecretHeader == "") != (p.Secret == ""):
		return errors.New("a secret and the name of its header go together")
	case p.Secret != "" && len(p.Secret) < leastSecret:
		return fmt.Errorf("the proxy's secret has less than %d bytes", leastSecret)
	}
	names := []string{http.CanonicalHeaderKey(p.User), http.CanonicalHeaderKey(p.Groups),
		http.CanonicalHeaderKey(p.SecretHeader)}
	for i, name := range names {
		if slices.Contains(names[:i], name) || name == "Cookie" || name == "X-Forwarded-For" || name == "Host" {
			return fmt.Errorf("the header %s cannot be used, or is named twice", name)
		}
	}
	return p.Roles.Check()
}

// ErrNoProxy refuses a header of the proxy from somebody else.
var ErrNoProxy = errors.New("a header that only the proxy may set came from somebody else")

// Login is who the proxy names. there says that the request has one of its headers: without
// any, the proxy says nothing. An error says why what it says does not count.
func (p *Proxy) Login(r *http.Request) (u User, there bool, err error) {
	if p == nil {
		return User{}, false, nil
	}
	users, groups, secrets := r.Header.Values(p.User), r.Header.Values(p.Groups), []string(nil)
	if p.SecretHeader != "" {
		secrets = r.Header.Values(p.SecretHeader)
	}
	if len(users)+len(groups)+len(secrets) == 0 {
		return User{}, false, nil
	}
	switch {
	case !p.connects(r) || p.Secret != "" && (len(secrets) != 1 ||
		subtle.ConstantTimeCompare([]byte(secrets[0]), []byte(p.Secret)) != 1):
		return User{}, true, ErrNoProxy
	case len(users) > 1 || len(groups) > 1:
		return User{}, true, errors.New("a header of the proxy is there twice: have it remove what browsers send")
	case len(users) == 0 || users[0] == "":
		if len(groups) > 0 {
			return User{}, true, errors.New("the proxy names groups, and no user")
		}
		return User{}, false, nil
	}
	name := strings.ToLower(users[0]) // proxies pass on what was typed
	if err := CheckForeignName(name); err != nil {
		return User{}, true, err
	}
	u = User{Name: name, By: ByProxy}
	if len(groups) > 0 {
		of := strings.Split(groups[0], ",")
		for i := range of {
			of[i] = strings.TrimSpace(of[i])
		}
		u.Role = p.Roles.Role(of)
	}
	return u, true, nil
}

// connects reports whether it is the proxy that has connected.
func (p *Proxy) connects(r *http.Request) bool {
	if len(p.From) == 0 {
		return true
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		host, _, wrong := net.SplitHostPort(r.RemoteAddr)
		addr, err := netip.ParseAddr(host)
		return wrong == nil && err == nil && in(p.From, addr)
	}
	return in(p.From, at.Addr())
}
