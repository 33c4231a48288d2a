package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// files are those of a client of s.
func files(s *stacktest.Secured) TLS {
	return TLS{CA: s.Files.CA, Cert: s.Files.Cert, Key: s.Files.Key}
}

// with is s's address for TLS with parameters.
func with(t *testing.T, s *stacktest.Secured, parameters ...string) string {
	t.Helper()
	u, err := url.Parse(s.AMQPSURL())
	require.NoError(t, err)
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// withoutUser is an address that names nobody.
func withoutUser(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = nil
	return u.String()
}

// hasName has an address verified by the name localhost.
const hasName = "server_name_indication"

// TestTLS: RabbitMQ with TLS, which takes only clients with a certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := stacktest.PrivateTLS(t)
	prefix := stacktest.Prefix(t)
	pair, err := tls.LoadX509KeyPair(s.Files.Cert, s.Files.Key)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(s.CA.PEM))
	s.AddUser("client")
	s.AddUser("other")
	config := &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}}
	t.Run("reached", func(t *testing.T) {
		for name, o := range map[string]Options{
			"files":      {URL: s.AMQPSURL(), TLS: files(s)},
			"a name":     {URL: with(t, s, hasName, "localhost"), TLS: files(s)},
			"parameters": {URL: with(t, s, "cacertfile", s.Files.CA, "certfile", s.Files.Cert, "keyfile", s.Files.Key)},
			"parameters before files": {URL: with(t, s, "cacertfile", s.Files.CA, "certfile", s.Files.Cert, "keyfile", s.Files.Key),
				TLS: TLS{CA: "/nowhere", Cert: "/nowhere", Key: "/nowhere"}},
			"a configuration": {URL: s.AMQPSURL(), TLS: TLS{Config: config, CA: "/nowhere"}},
			"EXTERNAL": {URL: withoutUser(t, with(t, s, "auth_mechanism", "external")),
				TLS: files(s)},
			"several addresses": {URL: "amqps://u:p@" + closedPort(t) + "/," + s.AMQPSURL(), TLS: files(s)},
		} {
			o.Prefix, o.Name = prefix, name
			b, err := Open(testContext(t), o)
			require.NoError(t, err, name)
			require.NoError(t, b.DeclareConsumer(testContext(t), "c", []string{"order.#"}), name)
			tx := newTx()
			require.NoError(t, b.PublishMessages(testContext(t), "g", tx, messages(tx, "order.placed", 1)), name)
			require.NoError(t, b.Close(testContext(t)), name)
		}
		require.Empty(t, config.ServerName, "the caller's configuration is not changed")
	})
	t.Run("refused", func(t *testing.T) { refusedTLS(t, s) })
	t.Run("the certificate expires", func(t *testing.T) { expiringTLS(t, s, prefix) })
	t.Run("new authority, new certificates", func(t *testing.T) { rotatedTLS(t, s, prefix) })
}

// refusedTLS: what is wrong is told within the deadline, with where and what to do.
func refusedTLS(t *testing.T, s *stacktest.Secured) {
	where := stacktest.HostOf(t, s.AMQPSURL())
	stranger := stacktest.NewAuthority(t, "nobody's authority")
	strangers := stacktest.WriteFiles(t, s.CA, stranger.Client("client"))
	garbage := t.TempDir() + "/garbage.pem"
	stacktest.WriteFile(t, garbage, []byte("nothing"))
	unknown := stacktest.WriteFiles(t, s.CA, s.CA.Client("nobody"))
	for name, c := range map[string]struct {
		o    Options
		says []string
	}{
		"the system's authorities": {Options{URL: s.AMQPSURL(), TLS: TLS{Cert: s.Files.Cert, Key: s.Files.Key}},
			[]string{where, "signed by unknown authority", "HOLDFAST_AMQP_CA", "docs/tls.md"}},
		"another authority": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: stacktest.WriteFiles(t, stranger, stranger.Client("x")).CA}},
			[]string{where, "signed by unknown authority", "HOLDFAST_AMQP_CA"}},
		"another host": {Options{URL: with(t, s, hasName, "rabbit.example"), TLS: files(s)},
			[]string{where, "valid for localhost, not rabbit.example", "for another host"}},
		"no certificate": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: s.Files.CA}},
			[]string{where, "remote error: tls", "HOLDFAST_AMQP_CERT", "RabbitMQ's log"}},
		"a stranger's certificate": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: strangers.CA, Cert: strangers.Cert, Key: strangers.Key}},
			[]string{where, "remote error: tls", "HOLDFAST_AMQP_CERT"}},
		"EXTERNAL, an unknown user": {Options{URL: withoutUser(t, with(t, s, "auth_mechanism", "external")),
			TLS: TLS{CA: unknown.CA, Cert: unknown.Cert, Key: unknown.Key}},
			[]string{where, "the user is the one that this process's certificate names", "ssl_cert_login_from"}},
		"no file": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: "/nowhere/ca.pem"}},
			[]string{where, "open /nowhere/ca.pem: no such file", "see that HOLDFAST_AMQP_CA"}},
		"no certificate in the file": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: garbage}},
			[]string{where, garbage + " holds no certificate", "see that HOLDFAST_AMQP_CA"}},
		"another's key": {Options{URL: s.AMQPSURL(), TLS: TLS{CA: s.Files.CA, Cert: s.Files.Cert, Key: strangers.Key}},
			[]string{where, "private key does not match public key", "HOLDFAST_AMQP_KEY"}},
		"no TLS there": {Options{URL: "amqps" + s.AMQPURL()[len("amqp"):], TLS: files(s)},
			[]string{stacktest.HostOf(t, s.AMQPURL()), "does not look like a TLS handshake", "no TLS is spoken there"}},
		"TLS there": {Options{URL: "amqp" + s.AMQPSURL()[len("amqps"):]},
			[]string{where, "where it speaks TLS, the URL begins with amqps://"}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := Open(ctx, c.o)
		require.NoError(t, ctx.Err(), "%s: within the deadline: %v", name, err)
		cancel()
		var u *holdfast.UnavailableError
		require.ErrorAs(t, err, &u, name)
		require.Equal(t, "RabbitMQ", u.Part)
		for _, text := range c.says {
			require.ErrorContains(t, err, text, name)
		}
		if secret, _ := url.Parse(s.AMQPURL()); secret.User != nil {
			password, _ := secret.User.Password()
			require.NotContains(t, err.Error(), password, name)
		}
	}
}

// TestTLSOptionsAreChecked: what cannot be meant is refused at once.
func TestTLSOptionsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		says string
	}{
		"not encrypted":   {Options{URL: "amqp://u:sesame@h/", TLS: TLS{CA: "/ca"}}, "not encrypted: write amqps://"},
		"parameter":       {Options{URL: "amqp://u:sesame@h/?cacertfile=/ca"}, "not encrypted: write amqps://"},
		"configuration":   {Options{URL: "amqp://u:sesame@h/", TLS: TLS{Config: &tls.Config{}}}, "write amqps://"},
		"no key":          {Options{URL: "amqps://u:sesame@h/", TLS: TLS{Cert: "/cert"}}, "needs its key"},
		"no certificate":  {Options{URL: "amqps://u:sesame@h/?keyfile=/key"}, "a key its certificate"},
		"one without TLS": {Options{URL: "amqps://u:sesame@h/,amqp://u:sesame@i/"}, "in clear"},
	} {
		_, err := Open(t.Context(), c.o)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "sesame", name)
	}
}

// relayed opens a Broker over a relay, with a group and a consumer that tells what it got.
func relayed(t *testing.T, s *stacktest.Secured, prefix string) (b *Broker, r *stacktest.Relay, got chan string) {
	t.Helper()
	r = stacktest.NewRelay(t, stacktest.HostOf(t, s.AMQPSURL()))
	b = open(t, s.AMQPURL(), prefix, func(o *Options) { o.URL, o.TLS = r.Through(with(t, s, hasName, "localhost")), files(s) })
	got = make(chan string, 1000)
	sub := Subscription{Name: "rotating", Topics: []string{"rotate.#"}, Handle: func(_ context.Context, d Delivery) error {
		got <- d.Message.ID
		return nil
	}}
	require.NoError(t, b.DeclareConsumer(testContext(t), sub.Name, sub.Topics))
	background(t, func(ctx context.Context) error { return b.Consume(ctx, sub) })
	return b, r, got
}

// arrives waits for a message; what was in hand when a connection was cut comes again.
func arrives(t *testing.T, got <-chan string, id string) {
	t.Helper()
	for next(t, got) != id {
	}
}

// contains reports whether a text has all of these.
func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// send publishes in the background; the error comes once it is stored.
func send(t *testing.T, b *Broker, tx string) <-chan error {
	t.Helper()
	sent := make(chan error, 1)
	ctx := testContext(t)
	go func() { sent <- b.PublishMessages(ctx, "g", tx, messages(tx, "rotate.it", 1)) }()
	return sent
}

// expiringTLS: while RabbitMQ's certificate has expired, a process that lost its connection
// says so, and goes on once it is mended: what was to be published then is.
func expiringTLS(t *testing.T, s *stacktest.Secured, prefix string) {
	b, r, got := relayed(t, s, prefix)
	require.NoError(t, next(t, send(t, b, "before")))
	arrives(t, got, "before")

	s.WriteServer(s.CA, s.CA.Server(time.Now().Add(-time.Hour), "localhost"))
	r.Cut()
	eventually(t, "the reason is told", func() bool {
		err := b.Reached()
		return err != nil && contains(err.Error(), r.Address(), "certificate has expired", "renew it")
	})
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	err := b.PublishMessages(ctx, "g", "late", messages("late", "rotate.it", 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "certificate has expired")
	sent := send(t, b, "after")

	s.WriteServer(s.CA, s.CA.Server(time.Now().Add(time.Hour), "localhost", "127.0.0.1"))
	require.NoError(t, next(t, sent))
	arrives(t, got, "after")
}

// rotatedTLS: the authority, RabbitMQ's certificate and the client's are replaced on disk.
// The process goes on with its connections, and takes the new ones for the next.
func rotatedTLS(t *testing.T, s *stacktest.Secured, prefix string) {
	b, r, got := relayed(t, s, prefix)
	other := stacktest.NewAuthority(t, "the next authority")
	s.WriteServer(other, other.Server(time.Now().Add(time.Hour), "localhost", "127.0.0.1"))
	require.NoError(t, next(t, send(t, b, "old")), "a connection stays")
	arrives(t, got, "old")

	r.Cut()
	eventually(t, "the old files do not do", func() bool {
		err := b.Reached()
		return err != nil && contains(err.Error(), "signed by unknown authority")
	})
	sent := send(t, b, "new")
	s.WriteClient(other, other.Client("client"))
	require.NoError(t, next(t, sent))
	arrives(t, got, "new")
}
