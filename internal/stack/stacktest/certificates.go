package stacktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/internal/stack"
)

// Authority signs certificates for a test.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// PEM is its own certificate.
	PEM []byte
}

// NewAuthority is an authority that nobody else knows.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.PEM, _ = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, NotAfter: time.Now().Add(time.Hour)})
	return a
}

// Certificate is what an authority signed, and its key, in PEM.
type Certificate struct{ Cert, Key []byte }

// Server is a certificate for names and addresses, valid until then.
func (a *Authority) Server(until time.Time, hosts ...string) Certificate {
	a.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: until}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	cert, key := a.sign(c)
	return Certificate{cert, key}
}

// Client is a certificate for who is called name.
func (a *Authority) Client(name string) Certificate {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(time.Hour)})
	return Certificate{cert, key}
}

// sign completes a certificate. The authority's own is its first.
func (a *Authority) sign(c *x509.Certificate) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	a.must(err)
	c.NotBefore = time.Now().Add(-24 * time.Hour)
	if a.cert == nil {
		a.cert, a.key = c, private
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &private.PublicKey, a.key)
	a.must(err)
	if a.key == private {
		a.cert, err = x509.ParseCertificate(der)
		a.must(err)
	}
	hidden, err := x509.MarshalPKCS8PrivateKey(private)
	a.must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: hidden})
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// WriteFile writes a file of a test, in place of what it held.
func WriteFile(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Secured is a private stack of which RabbitMQ speaks TLS, and what its clients need.
type Secured struct {
	*stack.Stack
	// CA signed what RabbitMQ shows, and signs what it takes.
	CA *Authority
	// Files are those of a client, with the common name client.
	Files stack.RabbitMQTLS

	t      testing.TB
	server stack.RabbitMQTLS
}

// PrivateTLS is [Private] with a RabbitMQ that also listens for TLS, with a certificate for
// localhost and 127.0.0.1.
func PrivateTLS(t testing.TB) *Secured {
	t.Helper()
	s := &Secured{t: t, CA: NewAuthority(t, "the test's authority")}
	in := func(name string) string { return filepath.Join(t.TempDir(), name) }
	s.server = stack.RabbitMQTLS{CA: in("ca.pem"), Cert: in("server.pem"), Key: in("server.key")}
	s.Files = stack.RabbitMQTLS{CA: in("ca.pem"), Cert: in("client.pem"), Key: in("client.key")}
	s.write(s.server, s.CA, s.CA.Server(time.Now().Add(time.Hour), "localhost", "127.0.0.1"))
	s.WriteClient(s.CA, s.CA.Client("client"))
	s.Stack = private(t, stack.Options{RabbitMQTLS: &s.server})
	return s
}

// WriteClient writes the files of the client: whom it trusts, and what it shows.
func (s *Secured) WriteClient(trusted *Authority, c Certificate) { s.write(s.Files, trusted, c) }

// WriteServer writes the files of RabbitMQ, which counts for new connections.
func (s *Secured) WriteServer(trusted *Authority, c Certificate) {
	s.t.Helper()
	s.write(s.server, trusted, c)
	RabbitMQ(s.t, s.Stack, "rabbitmqctl", "eval", "ssl:clear_pem_cache().")
}

func (s *Secured) write(f stack.RabbitMQTLS, trusted *Authority, c Certificate) {
	s.t.Helper()
	WriteFile(s.t, f.CA, trusted.PEM)
	WriteFile(s.t, f.Cert, c.Cert)
	WriteFile(s.t, f.Key, c.Key)
}

// AddUser makes a user with all rights, whose name is that of a certificate.
func (s *Secured) AddUser(name string) {
	s.t.Helper()
	RabbitMQ(s.t, s.Stack, "rabbitmqctl", "add_user", name, "x")
	RabbitMQ(s.t, s.Stack, "rabbitmqctl", "clear_password", name)
	RabbitMQ(s.t, s.Stack, "rabbitmqctl", "set_permissions", name, ".*", ".*", ".*")
}

// private starts a stack for one test.
func private(t testing.TB, o stack.Options) *stack.Stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	o.IgnoreEnv, o.Out = true, logWriter{t}
	s, err := stack.Start(ctx, o)
	if err != nil {
		t.Fatalf("the private stack did not start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stopping the private stack: %v", err)
		}
	})
	return s
}

// WriteFiles writes the files of a client, for as long as the test runs.
func WriteFiles(t testing.TB, trusted *Authority, c Certificate) (f stack.RabbitMQTLS) {
	t.Helper()
	in := func(name string) string { return filepath.Join(t.TempDir(), name) }
	f = stack.RabbitMQTLS{CA: in("ca.pem"), Cert: in("client.pem"), Key: in("client.key")}
	WriteFile(t, f.CA, trusted.PEM)
	WriteFile(t, f.Cert, c.Cert)
	WriteFile(t, f.Key, c.Key)
	return f
}
