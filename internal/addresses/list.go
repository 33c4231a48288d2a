// Package addresses reads where RabbitMQ is: the URLs of AMQP_URL, the order in which a
// process tries them, and how it speaks TLS there. It connects to nothing.
package addresses

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	holdfast "github.com/holdfastmq/holdfast"
)

// Variable is the environment variable that names the addresses, for errors.
const Variable = "AMQP_URL"

// Address is one URL of RabbitMQ, with user and password: never print it, but Where.
type Address struct {
	URL string
	amqp.URI
}

// Where is the address as HOST:PORT, without credentials.
func (a Address) Where() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Encrypted reports whether TLS is spoken there.
func (a Address) Encrypted() bool { return a.Scheme == "amqps" }

// External reports whether the certificate alone says who the user is.
func (a Address) External() bool {
	return slices.ContainsFunc(a.AuthMechanism, func(m string) bool { return strings.EqualFold(m, "external") })
}

// List are the addresses of one RabbitMQ: of its nodes, or of ways to it.
type List []Address

// Where names all addresses, without credentials.
func (l List) Where() string {
	names := make([]string, len(l))
	for i, a := range l {
		names[i] = a.Where()
	}
	return strings.Join(names, ", ")
}

// Parse reads a URL, or several with commas between. Each is whole, with its own user and
// parameters; the virtual host is the same in all, and so is whether TLS is spoken. Errors
// wrap [holdfast.ErrInvalid] and hold no password.
func Parse(urls string) (List, error) {
	var l List
	raw := split(urls)
	for i, one := range raw {
		a, err := parse(one)
		switch {
		case err != nil && len(raw) == 1:
			return nil, fmt.Errorf("%w: %s %w", holdfast.ErrInvalid, Variable, err)
		case err != nil:
			return nil, fmt.Errorf("%w: address %d of %d in %s %w", holdfast.ErrInvalid, i+1, len(raw), Variable, err)
		}
		l = append(l, a)
	}
	for _, a := range l[1:] {
		if a.Vhost != l[0].Vhost {
			return nil, fmt.Errorf("%w: the addresses in %s have different virtual hosts, %q at %s and %q at %s: "+
				"all of them have to lead to the same RabbitMQ and the same virtual host",
				holdfast.ErrInvalid, Variable, l[0].Vhost, l[0].Where(), a.Vhost, a.Where())
		}
		if a.Encrypted() != l[0].Encrypted() {
			return nil, fmt.Errorf("%w: the addresses in %s are of amqp:// and of amqps://: who keeps the encrypted ones "+
				"from being reached would have passwords and messages sent in clear; use amqps:// for all, or for none",
				holdfast.ErrInvalid, Variable)
		}
	}
	return l, nil
}

// split cuts at the commas behind which a URL begins: a password may hold others.
func split(urls string) (out []string) {
	rest := urls
	for from := 0; ; {
		i := strings.IndexByte(rest[from:], ',')
		if i < 0 {
			return append(out, strings.TrimSpace(rest))
		}
		i += from
		next := strings.TrimSpace(rest[i+1:])
		if strings.HasPrefix(next, "amqp://") || strings.HasPrefix(next, "amqps://") {
			out, rest, from = append(out, strings.TrimSpace(rest[:i])), next, 0
			continue
		}
		from = i + 1
	}
}

// parse returns errors that end a sentence about the URL. The parsers' own errors quote it,
// and with it the password: they are not wrapped.
func parse(raw string) (Address, error) {
	u, err := amqp.ParseURI(raw)
	parts, err2 := url.Parse(raw)
	if err != nil || err2 != nil {
		return Address{}, errors.New("is no URL for RabbitMQ: want amqp://user:password@host:5672/vhost, with special " +
			"characters in user, password and vhost percent-encoded; several with commas between")
	}
	a := Address{URL: raw, URI: u}
	if strings.Contains(parts.Host+parts.EscapedPath()+parts.RawQuery, ",") {
		return Address{}, errors.New("has a comma behind which no URL begins: each address is a whole URL, " +
			"amqp://user:password@host1:5672/vhost,amqp://user:password@host2:5672/vhost; write %2C for a comma in a name")
	}
	for _, m := range u.AuthMechanism {
		switch strings.ToLower(m) {
		case "plain", "amqplain", "external":
		default:
			return Address{}, fmt.Errorf("has auth_mechanism=%s: want plain, amqplain or external", m)
		}
	}
	if a.External() && !a.Encrypted() {
		return Address{}, errors.New("has auth_mechanism=external without TLS: the certificate says who the user is, " +
			"so it has to begin with amqps://")
	}
	return a, nil
}
