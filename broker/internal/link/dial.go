package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

// dialled is a connection, and the number of its address.
type dialled struct {
	conn *amqp.Connection
	raw  net.Conn
	at   int
}

// Dial connects, and gives up when ctx is done.
func (l *Connection) Dial(ctx context.Context) (*amqp.Connection, net.Conn, error) {
	d, err := l.dial(ctx, nil)
	return d.conn, d.raw, err
}

// dial tries the addresses, one after the other, until one can be used. Each gets its share
// of the time that ctx leaves: one that says nothing keeps the others from nothing. onUp, if
// not nil, prepares the connection.
func (l *Connection) dial(ctx context.Context, onUp func(context.Context, *amqp.Connection) error) (dialled, error) {
	all, order := l.o.Addresses.All(), l.o.Addresses.Order(time.Now())
	var failed tried
	for n, i := range order {
		conn, raw, err := l.dialOne(ctx, all[i], share(ctx, len(order)-n))
		if err == nil && onUp != nil {
			if err = onUp(ctx, conn); err != nil {
				_ = raw.Close()
				err = l.explain(ctx, all[i], err)
			}
		}
		if err == nil {
			l.o.Addresses.Used(i)
			return dialled{conn, raw, i}, nil
		}
		failed.add(all[i], err)
		if ctx.Err() != nil {
			break // it is not the address that failed
		}
		l.o.Addresses.Failed(i, time.Now())
		if len(order) > 1 {
			l.log.Debug("an address of RabbitMQ cannot be used", "address", all[i].Where(), "error", err)
		}
	}
	return dialled{}, failed.error(all)
}

// share is how long the first of so many addresses may take.
func share(ctx context.Context, addresses int) time.Duration {
	until, ok := ctx.Deadline()
	if !ok {
		return dialTimeout
	}
	return min(dialTimeout, time.Until(until)/time.Duration(addresses))
}

// dialOne connects to one address.
func (l *Connection) dialOne(ctx context.Context, a addresses.Address,
	limit time.Duration) (*amqp.Connection, net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	secure, err := l.secure(a)
	if err != nil {
		return nil, nil, l.explain(ctx, a, err)
	}
	var raw net.Conn
	var heard *tlsConn
	var stop func() bool
	props := amqp.NewConnectionProperties()
	props.SetClientConnectionName(l.o.Name + " (" + l.role + ")")
	conn, err := amqp.DialConfig(plain(a), amqp.Config{
		Heartbeat:  heartbeat,
		Properties: props,
		FrameSize:  l.o.FrameMax,
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, a.Where())
			if err != nil {
				return nil, err
			}
			if secure != nil {
				if heard, err = handshake(ctx, c, secure); err != nil {
					return nil, err
				}
				c = heard
			}
			raw = NewBatchConn(c)
			stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
			return raw, nil
		},
	})
	if err == nil && stop != nil && !stop() {
		err = ctx.Err() // too late: the connection is closed already
	}
	if err != nil {
		if raw != nil {
			_ = raw.Close()
		}
		if refusal := heard.refusal(); refusal != nil {
			err = refusal // it says more than that the connection ended
		}
		return nil, nil, l.explain(ctx, a, err)
	}
	return conn, raw, nil
}

// plain is the URL for the client, which need not know of TLS: that is below it.
func plain(a addresses.Address) string {
	if a.Encrypted() {
		return "amqp" + strings.TrimPrefix(a.URL, "amqps")
	}
	return a.URL
}

// secure is the configuration of TLS for a new connection; nil: it is not spoken there.
func (l *Connection) secure(a addresses.Address) (*tls.Config, error) {
	if !a.Encrypted() {
		return nil, nil
	}
	return l.o.TLS.For(a)
}

// tlsConn is a connection over TLS. Its Close does not wait for the other side, as that of
// tls.Conn may: whoever wants a polite end has AMQP's.
type tlsConn struct {
	*tls.Conn
	below net.Conn

	once   sync.Once
	ended  chan struct{} // closed once Read fails
	failed error         // why it did; valid once ended is closed
}

// lastWords is how long a failed Write waits for what the other side said before it closed.
const lastWords = 200 * time.Millisecond

func handshake(ctx context.Context, below net.Conn, c *tls.Config) (*tlsConn, error) {
	t := &tlsConn{Conn: tls.Client(below, c), below: below, ended: make(chan struct{})}
	if err := t.HandshakeContext(ctx); err != nil {
		_ = below.Close()
		return nil, err
	}
	return t, nil
}

// Read notes why it fails: amqp091 does not pass that on.
func (t *tlsConn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if err != nil {
		t.once.Do(func() {
			t.failed = err
			close(t.ended)
		})
	}
	return n, err
}

// Write lets Read fail first: whoever sees that Write fails closes the connection, and then
// nobody would read why the other side did.
func (t *tlsConn) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		select {
		case <-t.ended:
		case <-time.After(lastWords):
		}
	}
	return n, err
}

// Close ends the connection at once.
func (t *tlsConn) Close() error { return t.below.Close() }

// refusal is the other side's word on why it ended the connection, if there was one: with
// TLS 1.3 a certificate is refused after the handshake.
func (t *tlsConn) refusal() error {
	if t == nil {
		return nil
	}
	select {
	case <-t.ended:
		if refusedByPeer(t.failed) {
			return t.failed
		}
	default:
	}
	return nil
}

// refusedByPeer reports whether the other side ended the handshake of TLS.
func refusedByPeer(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// Encryption is the version of TLS that the connection speaks, and when the first of the
// certificates that RabbitMQ showed expires; zero without TLS, or without a connection.
func (l *Connection) Encryption() (version string, expires time.Time) {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	b, _ := l.Raw.(*batchConn)
	if b == nil {
		return "", time.Time{}
	}
	t, secured := b.Conn.(*tlsConn)
	if !secured {
		return "", time.Time{}
	}
	state := t.ConnectionState()
	for _, c := range state.PeerCertificates {
		if expires.IsZero() || c.NotAfter.Before(expires) {
			expires = c.NotAfter
		}
	}
	return tls.VersionName(state.Version), expires
}

// Local reports whether the connection does not leave this machine.
func (l *Connection) Local() bool {
	l.Mu.Lock()
	defer l.Mu.Unlock()
	if l.Raw == nil {
		return false
	}
	to, ok := l.Raw.RemoteAddr().(*net.TCPAddr)
	return ok && to.IP.IsLoopback()
}

// addressFailed reports whether the loss of a connection says something about its address:
// RabbitMQ may also close one over what was written there.
func addressFailed(err error) bool {
	var e *amqp.Error
	return !errors.As(err, &e) || !about(e)
}

// tried are the addresses that could not be used, and why.
type tried struct {
	words []string
	errs  []error
}

func (t *tried) add(a addresses.Address, err error) {
	t.errs = append(t.errs, err)
	text := err.Error()
	var u *holdfast.UnavailableError
	if errors.As(err, &u) { // without its address and part
		text = u.Err.Error() + " (" + u.Remedy + ")"
	}
	t.words = append(t.words, a.Where()+": "+text)
}

// error is one for all addresses: what it wraps is what may pass, if anything may.
func (t *tried) error(all addresses.List) error {
	if len(all) == 1 {
		return t.errs[0]
	}
	words := t.words
	if n := len(all) - len(t.errs); n > 0 {
		words = append(words, fmt.Sprintf("%d not tried: no time was left", n))
	}
	lead := t.errs[len(t.errs)-1]
	for _, err := range t.errs {
		var e *amqp.Error
		if !errors.As(err, &e) || e.Code != amqp.AccessRefused && e.Code != amqp.NotAllowed {
			lead = err
		}
	}
	return &holdfast.UnavailableError{Part: "RabbitMQ", Where: all.Where(), Err: &severalError{words, lead},
		Remedy: "one of them is enough"}
}

// severalError says what each address said, and wraps the error of one.
type severalError struct {
	words []string
	lead  error
}

// Error names each address.
func (e *severalError) Error() string { return strings.Join(e.words, "; ") }

// Unwrap returns the error of an address that may be better later, if there is one.
func (e *severalError) Unwrap() error { return e.lead }

// explain makes of an error of dialling one that says what to do.
func (l *Connection) explain(ctx context.Context, a addresses.Address, err error) error {
	u := &holdfast.UnavailableError{Part: "RabbitMQ", Where: a.Where(), Err: err}
	var ae *amqp.Error
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		if !errors.Is(err, ctx.Err()) {
			// The client takes a connection that ends during the handshake for a refusal, although we closed it.
			u.Err = fmt.Errorf("%w: %s", ctx.Err(), err.Error())
		}
		u.Remedy = "no answer in time: check host and port in AMQP_URL, firewalls, and whether RabbitMQ is overloaded"
	case a.Encrypted() && remedyForTLS(err) != "":
		u.Remedy = remedyForTLS(err)
	case errors.Is(err, amqp.ErrSASL):
		u.Remedy = "RabbitMQ offers none of the mechanisms in auth_mechanism of AMQP_URL; for external enable its plugin " +
			"rabbitmq_auth_mechanism_ssl, and add auth_mechanisms.1 = EXTERNAL to its configuration"
	case errors.As(err, &ae) && ae.Code == amqp.NotAllowed && strings.Contains(ae.Reason, "not found"):
		u.Remedy = "the virtual host in AMQP_URL does not exist: create it with rabbitmqctl add_vhost, or correct " +
			"the URL; the default one is written as / or %2F"
	case errors.As(err, &ae) && ae.Code == amqp.NotAllowed:
		u.Remedy = "give the user access to the virtual host with rabbitmqctl set_permissions, or correct AMQP_URL"
	case errors.As(err, &ae) && ae.Code == amqp.AccessRefused && a.External():
		u.Remedy = "the user is the one that this process's certificate names: create it with rabbitmqctl add_user and " +
			"set_permissions; ssl_cert_login_from in RabbitMQ's configuration says which part of the certificate counts"
	case errors.As(err, &ae) && ae.Code == amqp.AccessRefused:
		u.Remedy = "check user and password in AMQP_URL; the user guest may only connect from localhost"
	case errors.As(err, &dns):
		u.Remedy = "check the host name in AMQP_URL"
	case strings.Contains(err.Error(), "refused"):
		u.Remedy = "nothing listens there: start RabbitMQ, or correct host and port in AMQP_URL"
	case a.Encrypted():
		u.Remedy = "check that AMQP_URL leads to a RabbitMQ that speaks TLS there; its log says whether it takes this " +
			"process's certificate"
	default:
		u.Remedy = "check that AMQP_URL leads to a RabbitMQ; where it speaks TLS, the URL begins with amqps://"
	}
	return u
}

// remedyForTLS says what to do about an error of TLS; empty: it is of another kind.
func remedyForTLS(err error) string {
	var file *addresses.FileError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &file):
		return file.Remedy
	case errors.As(err, &unknown):
		return "this process does not know the authority that signed RabbitMQ's certificate: have " + addresses.VariableCA +
			", or cacertfile in AMQP_URL, name the file with the certificate of that authority; see docs/tls.md"
	case errors.As(err, &name):
		return "RabbitMQ's certificate is for another host: write a name of the certificate as host in AMQP_URL, or as its " +
			"parameter server_name_indication, or give RabbitMQ a certificate for this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "RabbitMQ's certificate, or that of its authority, is no longer valid, or not yet: renew it, or set this " +
			"machine's clock right"
	case errors.As(err, &verification):
		return "RabbitMQ needs another certificate: see docs/tls.md"
	case errors.As(err, &record):
		return "no TLS is spoken there: correct the port, for TLS usually 5671, or begin AMQP_URL with amqp:// if " +
			"encryption is not wanted"
	case refusedByPeer(err):
		return "RabbitMQ does not take what this process shows it in TLS: set " + addresses.VariableCert + " and " +
			addresses.VariableKey + ", or certfile and keyfile in AMQP_URL, to a certificate that is valid, with an authority " +
			"that RabbitMQ trusts; see RabbitMQ's log"
	}
	return ""
}
