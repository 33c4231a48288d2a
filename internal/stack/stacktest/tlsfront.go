package stacktest

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// TLSFront speaks TLS in front of a server that does not, until the test's end.
type TLSFront struct {
	t     testing.TB
	relay *Relay
	l     net.Listener
	shown atomic.Pointer[tls.Certificate]
	wg    sync.WaitGroup
}

// NewTLSFront leads to an address, HOST:PORT, and shows a certificate.
func NewTLSFront(t testing.TB, to string, c Certificate) *TLSFront {
	t.Helper()
	f := &TLSFront{t: t, relay: NewRelay(t, to)}
	f.Show(c)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.shown.Load(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	f.l = l
	f.wg.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		f.relay.Stop()
		f.wg.Wait()
	})
	return f
}

// Address is where it listens, HOST:PORT.
func (f *TLSFront) Address() string { return f.l.Addr().String() }

// Show has new connections see a certificate.
func (f *TLSFront) Show(c Certificate) {
	f.t.Helper()
	pair, err := tls.X509KeyPair(c.Cert, c.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.shown.Store(&pair)
}

func (f *TLSFront) accept() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.pass(c) })
	}
}

// pass goes over the relay, which ends it at the test's end.
func (f *TLSFront) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	server, err := net.Dial("tcp", f.relay.Address())
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	f.wg.Go(func() {
		_, _ = io.Copy(server, c)
		_ = server.Close()
	})
	_, _ = io.Copy(c, server)
}
