package stack

import (
	"fmt"
	"net/url"
)

// RabbitMQTLS are the files, in PEM, with which RabbitMQ speaks TLS: whose clients it
// takes, and what it shows them. Each client has to show a certificate; with the mechanism
// EXTERNAL its common name is the user. RabbitMQ reads the files again where it is told to,
// by rabbitmqctl eval 'ssl:clear_pem_cache().'
type RabbitMQTLS struct{ CA, Cert, Key string }

// settings are the lines of RabbitMQ's configuration.
func (t RabbitMQTLS) settings(port int) string {
	return fmt.Sprintf(`listeners.ssl.1 = %s
num_acceptors.ssl = 4
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
`, address(port), t.CA, t.Cert, t.Key)
}

// tlsURL is the address for TLS.
func (r *rabbit) tlsURL() string {
	u := url.URL{Scheme: "amqps", User: url.UserPassword(rabbitUser, r.password), Host: address(r.ports["amqps"]),
		Path: "/"}
	return u.String()
}

// AMQPSURL is RabbitMQ's address for TLS, with its credentials; empty without
// Options.RabbitMQTLS.
func (s *Stack) AMQPSURL() string { return s.amqpsURL }
