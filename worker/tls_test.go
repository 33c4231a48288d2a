package worker_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestOpenWithTLS: a worker takes the files that the environment names. A message goes
// through, also after a rotation that it lives through.
func TestOpenWithTLS(t *testing.T) {
	st := stacktest.PrivateTLS(t)
	s := newSiteOn(t, st.Stack)
	relay := stacktest.NewRelay(t, stacktest.HostOf(t, st.AMQPSURL()))
	for name, value := range map[string]string{"AMQP_URL": relay.Through(st.AMQPSURL()) + "?server_name_indication=localhost",
		"HOLDFAST_AMQP_CA": st.Files.CA, "HOLDFAST_AMQP_CERT": st.Files.Cert, "HOLDFAST_AMQP_KEY": st.Files.Key,
		"DATABASE_URL": s.at.OrdersURL, "HOLDFAST_PREFIX": s.at.Prefix, "TEMPORAL_ADDRESS": s.at.Temporal, "TEMPORAL_NAMESPACE": s.at.Namespace} {
		t.Setenv(name, value)
	}
	w, err := worker.Open(t.Context(), group)
	require.NoError(t, err)
	w.Consume(payments(s.effects))
	r := runWorker(t, w)
	s.oneEffect(s.sends(r, insert))

	next := stacktest.NewAuthority(t, "the next authority")
	st.WriteServer(next, next.Server(time.Now().Add(time.Hour), "localhost"))
	st.WriteClient(next, next.Client("client"))
	relay.Cut()
	s.oneEffect(s.sends(r, insert))
	r.stop()

	t.Setenv("AMQP_URL", s.at.AMQPURL)
	_, err = worker.Open(t.Context(), group)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "not encrypted: write amqps://")
}

// TestPostgreSQLWithTLS: what is wrong with a certificate is told, and a worker from Open
// takes the files as they are when it connects.
func TestPostgreSQLWithTLS(t *testing.T) {
	s := newSiteOn(t, stacktest.Private(t))
	ca := stacktest.NewAuthority(t, "the database's authority")
	files := stacktest.WriteFiles(t, ca, ca.Client("x"))
	secured := func(host, trusted string) string {
		u, err := url.Parse(s.at.OrdersURL)
		require.NoError(t, err)
		u.Host = host + ":" + u.Port()
		u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {trusted}, "application_name": {s.at.Prefix}}.Encode()
		return u.String()
	}
	// shows has PostgreSQL show a certificate, and waits until it does.
	shows := func(a *stacktest.Authority, expires time.Time) {
		t.Helper()
		c := a.Server(expires, "127.0.0.1")
		stacktest.PostgresTLS(t, s.orders, c)
		until(t, "it is shown", func() bool { return stacktest.Shows(secured("127.0.0.1", files.CA), c) })
	}
	asks := func(dsn string) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := barrier.Clock(ctx, openDB(t, dsn))
		require.NoError(t, ctx.Err(), "within the deadline: %v", err)
		return err
	}
	wrong := func(err error, says string) {
		t.Helper()
		var away *holdfast.UnavailableError
		require.ErrorAs(t, err, &away)
		require.Contains(t, away.Where, ":"+port(t, s.at.OrdersURL))
		require.ErrorContains(t, err, says)
		require.Contains(t, away.Remedy, "sslrootcert")
		require.Contains(t, away.Remedy, "docs/tls.md")
	}
	shows(ca, time.Now().Add(time.Hour))
	require.NoError(t, asks(secured("127.0.0.1", files.CA)))
	stranger := stacktest.NewAuthority(t, "nobody's authority")
	wrong(asks(secured("127.0.0.1", stacktest.WriteFiles(t, stranger, ca.Client("x")).CA)), "signed by unknown authority")
	wrong(asks(secured("localhost", files.CA)), "localhost")
	shows(ca, time.Now().Add(-time.Hour))
	wrong(asks(secured("127.0.0.1", files.CA)), "expired")
	shows(ca, time.Now().Add(time.Hour))

	t.Setenv("DATABASE_URL", secured("127.0.0.1", files.CA))
	t.Setenv("AMQP_URL", s.at.AMQPURL)
	t.Setenv("TEMPORAL_ADDRESS", s.at.Temporal)
	w, err := worker.Open(t.Context(), group)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	next := stacktest.NewAuthority(t, "the next authority")
	shows(next, time.Now().Add(time.Hour))
	stacktest.WriteFile(t, files.CA, []byte("half of a file"))
	require.NoError(t, s.orders.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?", s.at.Prefix).Error)
	until(t, "the old authority counts while the new one cannot be read", func() bool {
		_, err = barrier.Clock(t.Context(), w.DB())
		return err != nil && strings.Contains(err.Error(), "signed by unknown authority")
	})
	stacktest.WriteFile(t, files.CA, next.PEM)
	_, err = barrier.Clock(t.Context(), w.DB())
	require.NoError(t, err)
}

func port(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.Port()
}

// TestTemporalWithTLS: a worker from Open takes what Temporal's own variables say, and tells
// what is wrong with a certificate.
func TestTemporalWithTLS(t *testing.T) {
	s := newSite(t)
	ca, stranger := stacktest.NewAuthority(t, "Temporal's authority"), stacktest.NewAuthority(t, "nobody's authority")
	soon := time.Now().Add(time.Hour)
	front := stacktest.NewTLSFront(t, s.at.Temporal, ca.Server(soon, "127.0.0.1"))
	for name, value := range map[string]string{"AMQP_URL": s.at.AMQPURL, "DATABASE_URL": s.at.OrdersURL, "HOLDFAST_PREFIX": s.at.Prefix,
		"TEMPORAL_ADDRESS": front.Address(), "TEMPORAL_NAMESPACE": s.at.Namespace,
		"TEMPORAL_TLS_SERVER_CA_CERT_PATH": stacktest.WriteFiles(t, ca, ca.Client("x")).CA} {
		t.Setenv(name, value)
	}
	w, err := worker.Open(t.Context(), group)
	require.NoError(t, err)
	s.consuming(payments(s.effects))
	r := runWorker(t, w)
	s.oneEffect(s.sends(r, insert))
	r.stop()
	for says, shown := range map[string]stacktest.Certificate{
		"signed by unknown authority": stranger.Server(soon, "127.0.0.1"),
		"10.1.2.3, not 127.0.0.1":     ca.Server(soon, "10.1.2.3"),
		"has expired":                 ca.Server(time.Now().Add(-time.Hour), "127.0.0.1"),
	} {
		front.Show(shown)
		limit := time.Second
		until(t, says, func() bool { // a slow machine may not come so far
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			limit = min(2*limit, patience/4)
			_, err := worker.Open(ctx, group)
			var away *holdfast.UnavailableError
			require.ErrorAs(t, err, &away)
			return away.Part == "Temporal" && away.Where == front.Address() && strings.Contains(err.Error(), says) &&
				strings.Contains(away.Remedy, "TEMPORAL_TLS_SERVER_CA_CERT_PATH")
		})
	}
}
