package addresses

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	holdfast "github.com/holdfastmq/holdfast"
)

// The environment variables that name the files of [TLS], for errors.
const (
	VariableCA   = "HOLDFAST_AMQP_CA"
	VariableCert = "HOLDFAST_AMQP_CERT"
	VariableKey  = "HOLDFAST_AMQP_KEY"
)

// TLS is how a process speaks TLS with RabbitMQ. The zero value trusts the authorities that
// the system trusts, and shows no certificate.
type TLS struct {
	// Config, if not nil, counts in place of all files. It is not changed.
	Config *tls.Config
	// CA, Cert and Key are files in PEM: whom to trust, and the certificate to show with
	// its key. Empty: what the address says in cacertfile, certfile and keyfile, or none.
	CA, Cert, Key string
}

// FileError says that a file of [TLS] cannot be used, and what to do.
type FileError struct {
	Remedy string
	Err    error
}

// Error says which file it is, and what is wrong.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Validate says what cannot be meant; it reads no file. Its error wraps
// [holdfast.ErrInvalid].
func (t TLS) Validate(l List) error {
	for _, a := range l {
		f := t.files(a)
		switch {
		case !a.Encrypted() && (t.Config != nil || f != TLS{}):
			return fmt.Errorf("%w: there are certificates for TLS, but %s begins with amqp:// for %s, which is not "+
				"encrypted: write amqps://, with the port for TLS, usually 5671", holdfast.ErrInvalid, Variable, a.Where())
		case t.Config == nil && (f.Cert == "") != (f.Key == ""):
			return fmt.Errorf("%w: a certificate for RabbitMQ needs its key, and a key its certificate: set both %s and %s, "+
				"or certfile and keyfile in %s", holdfast.ErrInvalid, VariableCert, VariableKey, Variable)
		}
	}
	return nil
}

// files are those that count for an address: its own before those of the process.
func (t TLS) files(a Address) TLS {
	f := TLS{CA: cmp.Or(a.CACertFile, t.CA), Cert: a.CertFile, Key: a.KeyFile}
	if f.Cert == "" && f.Key == "" {
		f.Cert, f.Key = t.Cert, t.Key
	}
	return f
}

// For is the configuration for one new connection to an address: the files are read each
// time, so that new ones count without a restart. An error is a *[FileError].
func (t TLS) For(a Address) (*tls.Config, error) {
	c := t.Config.Clone() // nil of nil
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
		if err := t.files(a).read(c); err != nil {
			return nil, err
		}
	}
	c.ServerName = cmp.Or(a.ServerName, c.ServerName, a.Host)
	return c, nil
}

// read puts what the files hold into c.
func (t TLS) read(c *tls.Config) error {
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err == nil {
			if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New(t.CA + " holds no certificate")
			}
		}
		if err != nil {
			return &FileError{fmt.Sprintf("see that %s, or cacertfile in %s, names a file with certificates in PEM which this "+
				"process may read", VariableCA, Variable), fmt.Errorf("the certificates of the authorities to trust: %w", err)}
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return &FileError{fmt.Sprintf("see that %s and %s, or certfile and keyfile in %s, name a certificate in PEM and "+
				"its own key, which this process may read", VariableCert, VariableKey, Variable),
				fmt.Errorf("this process's certificate %s with the key %s: %w", t.Cert, t.Key, err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}
