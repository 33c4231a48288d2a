package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/addresses"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// A connection that RabbitMQ closes over what was written there says nothing about its
// address; one that breaks, or that a node which stops closes, does.
func TestWhoseLossItIs(t *testing.T) {
	t.Parallel()
	require.True(t, addressFailed(amqp.ErrClosed))
	require.True(t, addressFailed(&amqp.Error{Code: amqp.FrameError, Reason: "EOF"}))
	require.True(t, addressFailed(&amqp.Error{Code: amqp.ConnectionForced, Server: true}))
	require.False(t, addressFailed(&amqp.Error{Code: amqp.InternalError, Server: true}))
	require.False(t, addressFailed(&amqp.Error{Code: amqp.FrameError, Server: true}))
}

// What wraps the errors of all addresses is believed to last only if each of them will.
func TestSeveralErrors(t *testing.T) {
	t.Parallel()
	list, err := addresses.Parse("amqp://ann:sesame@a/,amqp://bob:sesame@b/")
	require.NoError(t, err)
	l := &Connection{}
	refused := l.explain(t.Context(), list[0], amqp.ErrCredentials)
	away := l.explain(t.Context(), list[1], errors.New("connection refused"))
	for name, c := range map[string]struct {
		first, second error
		lasts         bool
	}{
		"both refuse":          {refused, refused, true},
		"the second may come":  {refused, away, false},
		"the first may come":   {away, refused, false},
		"the time was over":    {refused, l.explain(ended(t), list[1], amqp.ErrCredentials), false},
		"only one was reached": {refused, nil, true},
	} {
		var f tried
		f.add(list[0], c.first)
		if c.second != nil {
			f.add(list[1], c.second)
		}
		err := f.error(list)
		var u *holdfast.UnavailableError
		require.ErrorAs(t, err, &u, name)
		require.Equal(t, "a:5672, b:5672", u.Where, name)
		var refusal *amqp.Error
		require.Equal(t, c.lasts, errors.As(err, &refusal), name)
		if c.second == nil {
			require.ErrorContains(t, err, "1 not tried: no time was left", name)
		}
		require.NotContains(t, err.Error(), "sesame", name)
	}
	var one tried
	one.add(list[0], refused)
	require.Equal(t, refused, one.error(list[:1]), "alone it is the error itself")
}

// An address that says nothing leaves the others their share of the caller's time.
func TestShare(t *testing.T) {
	t.Parallel()
	require.Equal(t, dialTimeout, share(t.Context(), 3), "nobody waits")
	for most, left := range map[time.Duration]int{2 * time.Second: 2, 4 * time.Second: 1, time.Second: 4} {
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		require.LessOrEqual(t, share(ctx, left), most)
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	require.Equal(t, dialTimeout, share(ctx, 2), "there is time for more than one try")
}

func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// breaking is a connection whose writes fail from some moment on.
type breaking struct {
	net.Conn
	broken atomic.Bool
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.broken.Load() {
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

// A server may refuse a certificate, say why, and close, before its client has written all:
// what it said is heard, although writing fails first.
func TestLastWordsAreHeard(t *testing.T) {
	ca := stacktest.NewAuthority(t, "the test's authority")
	shown := ca.Server(time.Now().Add(time.Hour), "h")
	pair, err := tls.X509KeyPair(shown.Cert, shown.Key)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(ca.PEM))
	now := time.Now() // inside it is another
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12})
		go func() { _ = server.Handshake() }()
		below := &breaking{Conn: here}
		c, err := handshake(t.Context(), below, &tls.Config{RootCAs: trusted, ServerName: "h",
			Time: func() time.Time { return now }})
		require.NoError(t, err)
		require.NoError(t, c.refusal())
		go func() { _, _ = c.Read(make([]byte, 1)) }()
		below.broken.Store(true)
		written := make(chan error, 1)
		go func() {
			_, err := c.Write([]byte("AMQP"))
			select {
			case <-c.ended:
			default:
				err = errors.New("nobody heard why")
			}
			written <- err
		}()
		synctest.Wait()
		go func() { _ = server.Close() }()
		require.ErrorIs(t, <-written, net.ErrClosed)
		_ = c.Close()
	})
}
